"""strides - the coarsest tables that add no more than a given force error.

Two numbers decide all strides: the error that values and slopes may have in sampled points of the first and of
the second sub-tables. What forces make of them depends on the model, so it is measured on probe geometries,
those without and those with contacts, and scaled. The result counts with what the tables may err by elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .judgement import Judgement, force_estimates, judge
from .kinks import linear_table
from .model import Model, Net, TabulatedNet
from .nets import is_piecewise_linear
from .tabulate import Grid, SampledError, Table, make, model_nets, refine, sampled_error

FIRST_TARGET = 30  # times the accuracy: coarse and quick, to learn how errors of tables become errors of forces
MARGIN = 0.5  # of the accuracy is aimed at
TRIES = 8

ForceErrors = Callable[[list[Table]], tuple[float, float]]


@dataclass(frozen=True)
class Choice:
    """Tables of all nets, what is known of their errors, and the forces' errors without and with contacts in eV/Å."""

    tables: list[Table]
    judgements: list[Judgement]
    measured: tuple[float, float]  # on the probe geometries
    estimates: tuple[float, float]  # judgement.force_estimates

    @classmethod
    def of(cls, model: Model, tables: list[Table], measured: tuple[float, float], precision: str) -> Choice:
        judgements = [judge(net, table, precision) for net, table in zip(model_nets(model), tables, strict=True)]
        return cls(tables, judgements, measured, force_estimates(judgements, measured))


def _table(net: Net | TabulatedNet, grid: Grid, targets: list[float]) -> tuple[Table, SampledError]:
    """The coarsest table whose sampled errors meet the targets; an exact one of what is piecewise linear, or a table."""
    if is_piecewise_linear(net) or isinstance(net, TabulatedNet):
        table = linear_table(net, grid) if is_piecewise_linear(net) else make(net, grid)
        return table, sampled_error(net, table)
    return refine(net, grid, targets)


def choose(model: Model, grids: list[Grid], accuracy: float, force_errors: ForceErrors, precision: str) -> Choice:
    """Tables over the ranges of `grids` whose estimates from force_errors(tables) are both at most `accuracy`, in eV/Å.

    Of those tried, and where strides cannot do it, the best. precision: of the file, for the bounds.
    """
    targets, found = [FIRST_TARGET * accuracy] * 2, []
    for attempt in range(TRIES):
        fitted = [_table(net, grid, targets) for net, grid in zip(model_nets(model), grids, strict=True)]
        tables, choice = [table for table, _ in fitted], None
        measured = errors = force_errors(tables)
        if attempt and max(measured) <= accuracy:
            choice = Choice.of(model, tables, measured, precision)
            errors = choice.estimates
        found.append((max(errors), tables, measured, choice))
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
    _, tables, measured, choice = min(found, key=lambda one: one[0])
    return choice or Choice.of(model, tables, measured, precision)  # which takes long, as bounds do
