"""making - the tables and folds of one model, and what they err by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .distance import script_distance
from .fold import TermFold
from .judgement import Judgement
from .kinks import linear_table
from .model import Model, ModelError, Net
from .nets import is_piecewise_linear
from .probe import VIRTUAL
from .strides import Choice, choose
from .tabulate import Grid, Table, make, model_grids, model_nets, taken_over
from .validate import FORCE_TOLERANCE, Reference

# eV/Å; slopes of float32 tables are uncertain by rounding / stride, so finer strides would not make those better
ACCURACY = {"float64": 1e-9, "float32": 1e-5, "mixed": 1e-5}
FOLD = {"float64": 1e-9, "float32": 1e-6, "mixed": 1e-6}  # eV/Å
FALLBACK_DISTANCE = 0.5  # Å
SEED_STEP = 0.01

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What a file needs of a model, and what is known of its errors."""

    reference: Reference
    accuracy: float  # eV/Å, asked for
    choice: Choice  # of tables
    folds: list[TermFold | None]  # of each term
    fold_tolerance: float  # eV/Å
    fold_effect: dict | None  # force_error and energy_error; None: nothing is folded
    force_bound: float | None  # eV/Å, what tables off by all of their bounds could add; None: unknown
    notes: tuple[str, ...]

    @property
    def model(self) -> Model:
        return self.reference.model

    @property
    def tables(self) -> list[dict]:
        """As metadata and report tell of them."""
        return list(map(_describe, self.choice.tables, self.choice.judgements))

    @property
    def ranks(self) -> list[list[int]]:
        """Of each descriptor's fold, by centre type; 0: none."""
        found = []
        for term, fold in zip(self.model.terms, self.folds, strict=True):
            found += fold.ranks if fold else [[0] * len(term.fitting.net)] * len(term.descriptors)
        return found


def made(
    model: Model,
    *,
    accuracy: float | None,
    step: float | None,
    extrapolate: float,
    training_script: str | Path | None,
    min_distance: float | None,
    precision: str,
    fold: float | bool | None,
    portable: bool,
    bounded: bool,
    progress: Progress,
) -> Made:
    """Tables and folds of `model`; arguments as of compression.compress, bounded: whether force_bound is asked for."""
    notes = taken_over(model)
    model = replace(model, min_distance=_distance(model, min_distance, training_script, progress, notes))
    accuracy = accuracy or (ACCURACY if step is None else FORCE_TOLERANCE)[precision]

    progress("evaluating the original")
    reference = Reference.generated(model, model.min_distance)
    progress("tabulating")
    choice = _tabulate(model, reference, accuracy, step, extrapolate, precision)
    error = max(choice.estimates)
    if error > accuracy:
        notes.append(f"the tables add a force error of {error:.1e} eV/Å, more than {accuracy:g}, at the strides taken")

    progress("folding")
    tolerance = FOLD[precision] if fold is None else float(fold)
    folds, effect = _fold(reference, choice.tables, tolerance, portable)
    bounds = [judgement.bound for judgement in choice.judgements]
    force_bound = reference.force_bound(choice.tables, bounds) if bounded and all(bounds) else None
    return Made(reference, accuracy, choice, folds, tolerance, effect, force_bound, tuple(notes))


def _distance(
    model: Model, given: float | None, script: str | Path | None, progress: Progress, notes: list[str]
) -> float:
    """The smallest distance in Å that first sub-tables must cover: given, the model's, or that of its training data."""
    distance = given or model.min_distance
    if distance is None and script is not None:
        distance = script_distance(script, lambda folder: progress(f"smallest distance in {folder}"))
    if distance is None:
        distance = FALLBACK_DISTANCE
        notes.append(
            f"the model does not say the smallest distance of its training data, {distance} Å is taken: "
            "give --min-distance, or the training script with -t"
        )
    cutoff = min(descriptor.switch.cutoff for descriptor in model.descriptors)
    if distance >= cutoff:
        raise ModelError(f"the smallest distance, {distance:g} Å, is beyond the cutoff of {cutoff:g} Å.")
    return float(distance)


def _tabulate(
    model: Model, reference: Reference, accuracy: float, step: float | None, extrapolate: float, precision: str
) -> Choice:
    """Tables of all embedding nets, and what they err by."""
    distance = model.min_distance if model.spin is None else min(model.min_distance, VIRTUAL[0])
    grids = model_grids(model, distance, extrapolate, step or SEED_STEP)
    if step is None:
        return choose(model, grids, accuracy, reference.force_errors, precision)
    tables = list(map(_fixed_table, model_nets(model), grids))
    return Choice.of(model, tables, reference.force_errors(tables), precision)


def _fixed_table(net: Net, grid: Grid) -> Table:
    """With the grid's own strides, except where a net is piecewise linear, whose table is exact without any."""
    return linear_table(net, grid) if is_piecewise_linear(net) else make(net, grid)


def _fold(
    reference: Reference, tables: list[Table], tolerance: float, portable: bool
) -> tuple[list[TermFold | None], dict | None]:
    """Folds of each term and what they add to errors; None: nothing is folded, as in files that libdpc does not evaluate."""
    if tolerance and not portable and not reference.model.attentive:
        folds, effect = reference.fold(tables, tolerance)
        if any(folds):
            return folds, effect
    return [None] * len(reference.model.terms), None


def _describe(table: Table, judgement: Judgement) -> dict:
    """A table as metadata and report tell of it."""
    grid = asdict(table.grid)
    rows = [grid.pop("rows0"), grid.pop("rows1")]
    bounds = {"upper": table.upper, "max": table.maximum, "rows": rows}
    found = {"error": asdict(judgement.seen), "bound": judgement.bound and asdict(judgement.bound)}
    return grid | bounds | found | {"by": judgement.by}
