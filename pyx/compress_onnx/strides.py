"""strides - the coarsest tables that add no more than a given force error.

Two numbers decide all strides: the error that values and slopes may have in sampled points of the first and of
the second sub-tables. What forces make of them depends on the model, so it is measured on probe geometries,
those without and those with contacts, and scaled.
"""

from __future__ import annotations

from collections.abc import Callable

from .model import Model
from .tabulate import COARSEST_STEP, Grid, Table, divide, refine

FIRST_TARGET = 30  # times the accuracy: coarse and quick, to learn how errors of tables become errors of forces
MARGIN = 0.5  # of the accuracy is aimed at
TRIES = 6

ForceErrors = Callable[[list[Table]], tuple[float, float]]


def choose(
    model: Model, grids: list[Grid], accuracy: float, force_errors: ForceErrors
) -> tuple[list[Table], tuple[float, float]]:
    """Tables over the ranges of `grids` whose force_errors(tables), in eV/Å, are both at most `accuracy`; and these.

    Returns the best found where strides cannot do it.
    """
    start = [divide(grid, COARSEST_STEP, COARSEST_STEP) for grid in grids]
    targets, best = [FIRST_TARGET * accuracy] * 2, None
    for attempt in range(TRIES):
        tables = [refine(net, grid, targets) for net, grid in zip(model.descriptor.nets, start, strict=True)]
        errors = force_errors(tables)
        if best is None or max(errors) < max(best[1]):
            best = tables, errors
        if attempt and max(errors) <= accuracy:
            break
        for part, error in enumerate(errors):
            change = MARGIN * accuracy / max(error, 1e-300)
            if attempt == 0:
                targets[part] *= min(change, FIRST_TARGET)
            elif error > accuracy or attempt > 1:  # contacts also have neighbours in the first sub-tables
                targets[part] *= min(change, 0.5)
    return best
