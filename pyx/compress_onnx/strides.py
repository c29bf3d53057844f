"""strides - the coarsest tables that add no more than a given force error.

Two numbers decide all strides: the error that values and slopes may have in sampled points of the first and of
the second sub-tables. What forces make of them depends on the model, so it is measured on probe geometries,
those without and those with contacts, and scaled.
"""

from __future__ import annotations

from collections.abc import Callable

from .model import Model
from .tabulate import Grid, Table, refine

FIRST_TARGET = 30  # times the accuracy: coarse and quick, to learn how errors of tables become errors of forces
MARGIN = 0.5  # of the accuracy is aimed at
TRIES = 8

ForceErrors = Callable[[list[Table]], tuple[float, float]]


def choose(
    model: Model, grids: list[Grid], accuracy: float, force_errors: ForceErrors
) -> tuple[list[Table], tuple[float, float]]:
    """Tables over the ranges of `grids` whose force_errors(tables), in eV/Å, are both at most `accuracy`; and these.

    Returns the best found where strides cannot do it.
    """
    targets, found = [FIRST_TARGET * accuracy] * 2, []
    for attempt in range(TRIES):
        fitted = [refine(net, grid, targets) for net, grid in zip(model.descriptor.nets, grids, strict=True)]
        tables = [table for table, _ in fitted]
        errors = force_errors(tables)
        found.append((tables, errors))
        if attempt and max(errors) <= accuracy:
            break
        if attempt:  # contacts also have neighbours in the first sub-tables, which may be what is left
            errors = max(errors), errors[1]
        for part, error in enumerate(errors):
            reached = min(targets[part], max(sampled.worst(part) for _, sampled in fitted))
            change = MARGIN * accuracy / max(error, 1e-300)
            if attempt == 0:
                targets[part] = reached * min(change, FIRST_TARGET)
            elif error > accuracy:
                targets[part] = reached * min(change, 0.7)
    return min(found, key=lambda pair: max(pair[1]))
