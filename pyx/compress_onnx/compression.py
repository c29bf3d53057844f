"""compression - a trained model file in, a compressed .onnx out, with a report of what was found on the way."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import readers
from .bound import Bound, certify
from .distance import script_distance
from .fold import TermFold
from .kinks import linear_table
from .model import Model, ModelError, Net
from .nets import is_piecewise_linear
from .probe import VIRTUAL
from .strides import choose
from .tabulate import Grid, Table, is_tabulated, make, model_grids, model_nets, sampled_error, taken_over
from .validate import FORCE_TOLERANCE, Reference, Validation, allowed_error, validate

PRECISIONS = ("same", "float64", "float32", "mixed")
INTERFACES = ("cell", "pairs")
CHECKS = ("none", "quick", "full")
# eV/Å; slopes of float32 tables are uncertain by rounding / stride, so finer strides would not make those better
ACCURACY = {"float64": 1e-9, "float32": 1e-5, "mixed": 1e-5}
FOLD = {"float64": 1e-9, "float32": 1e-6, "mixed": 1e-6}  # eV/Å
FALLBACK_DISTANCE = 0.5  # Å
SEED_STEP = 0.01

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What one compression found out. Lengths in Å, energies in eV."""

    input: str
    output: str
    source: dict
    type_map: tuple[str, ...]
    descriptor: str
    fitting: str
    precision: str
    interface: str
    min_distance: float
    extrapolate: float
    frequency: int
    tables: list[dict]  # as in the file's metadata, docs/format.md
    accuracy: float  # eV/Å, the force error that tables may add on the probe geometries
    force_error: float  # eV/Å, what they do add
    force_bound: float | None  # eV/Å, what tables off by all of their bounds could add; None: only with check "full"
    fold: dict | None  # by descriptor channels and rank by centre type (0: none), what it adds; None: not folded
    validation: Validation | None  # of the file as written, None: not asked for
    warnings: tuple[str, ...]
    bytes: int  # of the file and its external data
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the tables keep to the accuracy, and the file to its precision's tolerance."""
        return self.force_error <= self.accuracy and (self.validation is None or self.validation.ok)

    def to_json(self) -> dict:
        """Plain data."""
        return asdict(self) | {"validation": self.validation and self.validation.to_json(), "ok": self.ok}


def compress(
    input: str | Path,
    output: str | Path,
    *,
    accuracy: float | None = None,
    step: float | None = None,
    extrapolate: float = 5.0,
    frequency: int = -1,
    training_script: str | Path | None = None,
    min_distance: float | None = None,
    precision: str = "same",
    interface: str = "cell",
    fold: float | bool | None = None,
    check: str = "quick",
    portable: bool = False,
    head: str | None = None,
    report: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write the compressed form of the model file `input` to the .onnx file `output`.

    accuracy: force error in eV/Å that the tables may add, 1e-9 by default (1e-5 for float32 and mixed); or
    step: the seed's fixed strides, step and 10 step. extrapolate: second sub-tables reach to this times the end of the
    first, which is at the smallest distance of the training data: min_distance in Å, else the model's own, else that of
    the data which training_script names. precision: "same", "float64", "float32" or "mixed". interface: "cell" or
    "pairs". check: of the written file, "none", "quick" or "full". portable: standard ONNX operators only.
    frequency: evaluations between looks at how far inputs lie outside the tables, -1 never.
    fold: force error in eV/Å that low-rank folding may add, 1e-9 by default (1e-6 for float32 and mixed); False: none.
    head: which of the models of a file of several. report: file for Report.to_json(). progress: called with what is being done.
    Raises ModelError for a model that cannot be compressed and ValueError for an option; nothing is written then.
    """
    start = time.perf_counter()
    progress = progress or (lambda message: None)
    _check_options(accuracy, step, extrapolate, min_distance, precision, interface, check, fold)
    _check_output(input, output)
    if report is not None and not Path(report).parent.is_dir():
        raise ValueError(f"{report}: there is no folder {Path(report).parent} for the report, make it first")
    progress("reading the model")
    model = readers.read(input, head)
    notes = taken_over(model)
    precision = model.precision if precision == "same" else precision
    model = replace(model, min_distance=_distance(model, min_distance, training_script, progress, notes))
    accuracy = accuracy or (ACCURACY if step is None else FORCE_TOLERANCE)[precision]

    progress("evaluating the original")
    reference = Reference.generated(model, model.min_distance)
    progress("tabulating")
    tables, error = _tabulate(model, reference, accuracy, step, extrapolate)
    if error > accuracy:
        notes.append(f"the tables add a force error of {error:.1e} eV/Å, more than {accuracy:g}, at the strides taken")

    progress("folding")
    folds, folded = _fold(reference, tables, FOLD[precision] if fold is None else fold, portable)
    progress("bounding the errors")
    nets = model_nets(model)
    bounds = [certify(net, table, precision) for net, table in zip(nets, tables, strict=True)]
    described = list(map(_describe, nets, tables, bounds))
    force_bound = reference.force_bound(tables, bounds) if check == "full" and all(bounds) else None
    progress("writing")
    how = {
        "tolerance": accuracy,
        "force_error": error,
        "force_bound": force_bound,
        "how": f"{reference.atoms} atoms in generated geometries",
    }
    metadata = {
        "tables": json.dumps(described),
        "accuracy": json.dumps(how),
        "fold": json.dumps(folded),
        "frequency": str(frequency),
        "self_test": json.dumps(reference.self_test()),
    }
    options = {"precision": precision, "interface": interface, "metadata": metadata}
    size = _write(output, portable, "compressed", model, tables, folds=folds, **options)

    validation = None
    if check == "quick":
        progress("checking")
        validation = reference.validate(output, allowed_error(precision, accuracy))
    elif check == "full":
        validation = validate(input, output, check=check, progress=progress)
    if validation and not validation.ok:
        notes.append(f"the file errs by {validation.error:.1e} eV/Å, more than {validation.tolerance:g}")
    found = Report(
        input=os.fspath(input),
        output=os.fspath(output),
        source=asdict(model.source),
        type_map=model.type_map,
        descriptor=" + ".join(descriptor.kind for descriptor in model.descriptors),
        fitting=model.kind,
        precision=precision,
        interface=interface,
        min_distance=model.min_distance,
        extrapolate=extrapolate,
        frequency=frequency,
        tables=described,
        accuracy=accuracy,
        force_error=error,
        force_bound=force_bound,
        fold=folded,
        validation=validation,
        warnings=tuple(notes),
        bytes=size,
        seconds=time.perf_counter() - start,
    )
    for note in notes:
        warnings.warn(note, RuntimeWarning, stacklevel=2)
    if report is not None:
        Path(report).write_text(json.dumps(found.to_json(), indent=1) + "\n")
    return found


def convert(
    input: str | Path, output: str | Path, *, interface: str = "cell", portable: bool = False, head: str | None = None
) -> int:
    """Write `input`, or its model `head`, as it is, uncompressed, to the .onnx file `output`; its size in bytes."""
    _check_choice("interface", interface, INTERFACES)
    _check_output(input, output)
    model = readers.read(input, head)
    if is_tabulated(model):
        raise ModelError(f"{input}: dp compress has compressed it, there is no uncompressed form: compress it instead")
    return _write(output, portable, "uncompressed", model, interface=interface)


def _check_output(input: str | Path, output: str | Path) -> None:
    if Path(output).exists() and Path(input).exists() and os.path.samefile(input, output):
        raise ValueError(f"{output}: the output is the input, give another name")


def _check_options(accuracy, step, extrapolate, min_distance, precision, interface, check, fold) -> None:
    if accuracy is not None and step is not None:
        raise ValueError("accuracy and step exclude each other, give one")
    positive = {"accuracy": accuracy, "step": step, "min_distance": min_distance, "fold": fold or None}
    for name, value in positive.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive, not {value:g}")
    if not 1 <= extrapolate < float("inf"):
        raise ValueError(f"extrapolate must be at least 1, not {extrapolate:g}")
    _check_choice("precision", precision, PRECISIONS)
    _check_choice("interface", interface, INTERFACES)
    _check_choice("check", check, CHECKS)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


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
    model: Model, reference: Reference, accuracy: float, step: float | None, extrapolate: float
) -> tuple[list[Table], float]:
    """Tables of all embedding nets, and the force error that they add."""
    distance = model.min_distance if model.spin is None else min(model.min_distance, VIRTUAL[0])
    grids = model_grids(model, distance, extrapolate, step or SEED_STEP)
    if step is None:
        tables, errors = choose(model, grids, accuracy, reference.force_errors)
        return tables, max(errors)
    tables = list(map(_fixed_table, model_nets(model), grids))
    return tables, max(reference.force_errors(tables))


def _fixed_table(net: Net, grid: Grid) -> Table:
    """With the grid's own strides, except where a net is piecewise linear, whose table is exact without any."""
    return linear_table(net, grid) if is_piecewise_linear(net) else make(net, grid)


def _fold(
    reference: Reference, tables: list[Table], tolerance: float, portable: bool
) -> tuple[list[TermFold | None], dict | None]:
    """Folds by centre type, and what report and metadata say of them; none for a file that libdpc does not evaluate."""
    if not tolerance or portable or reference.model.attentive:
        return [], None
    folds, effect = reference.fold(tables, tolerance)
    if not any(folds):
        return [], None
    members, ranks = [], []
    for term, termfold in zip(reference.model.terms, folds, strict=True):
        members += term.descriptors
        ranks += termfold.ranks if termfold else [[0] * len(term.fitting.net)] * len(term.descriptors)
    channels = [descriptor.channels for descriptor in members]
    return folds, {"tolerance": tolerance, "channels": channels, "ranks": ranks, **effect}


def _describe(net: Net, table: Table, bound: Bound | None) -> dict:
    """A table as metadata and report tell of it."""
    grid = asdict(table.grid)
    rows = [grid.pop("rows0"), grid.pop("rows1")]
    bounds = {"upper": table.upper, "max": table.maximum, "rows": rows}
    return grid | bounds | {"error": asdict(sampled_error(net, table)), "bound": bound and asdict(bound)}


def _write(output: str | Path, portable: bool, kind: str, *parts, **options) -> int:
    """Write graph.KIND(*parts, **options), in standard operators if `portable`; returns the bytes written."""
    from . import graph, onnxfile

    proto = getattr(graph, kind)(*parts, **options)
    return onnxfile.write(onnxfile.inline(proto) if portable else proto, output)
