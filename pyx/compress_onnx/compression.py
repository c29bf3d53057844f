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
from .distance import script_distance
from .fold import Fold
from .model import Model, ModelError, Net
from .nets import is_kinked
from .strides import choose
from .tabulate import Table, make, model_grids, sampled_error
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
    kinked: bool  # an embedding net is not smooth; the probes may miss where its table errs
    fold: dict | None  # channels, rank by centre type (0: not folded), what it adds; None: not folded
    validation: Validation | None  # of the file as written, None: not asked for
    warnings: tuple[str, ...]
    bytes: int  # of the file and its external data
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the tables keep to the accuracy everywhere, and the file to its precision's tolerance."""
        within = self.force_error <= self.accuracy and not self.kinked
        return within and (self.validation is None or self.validation.ok)

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
    report: file for Report.to_json(). progress: called with what is being done.
    Raises ModelError for a model that cannot be compressed and ValueError for an option; nothing is written then.
    """
    start = time.perf_counter()
    progress = progress or (lambda message: None)
    _check_options(accuracy, step, extrapolate, min_distance, precision, interface, check, fold)
    _check_output(input, output)
    if report is not None and not Path(report).parent.is_dir():
        raise ValueError(f"{report}: there is no folder {Path(report).parent} for the report, make it first")
    notes: list[str] = []

    progress("reading the model")
    model = readers.read(input)
    precision = model.precision if precision == "same" else precision
    model = replace(model, min_distance=_distance(model, min_distance, training_script, progress, notes))
    accuracy = accuracy or (ACCURACY if step is None else FORCE_TOLERANCE)[precision]

    progress("evaluating the original")
    reference = Reference.generated(model, model.min_distance)
    progress("tabulating")
    tables, error = _tabulate(model, reference, accuracy, step, extrapolate)
    kinked = _kinked(model)
    notes += filter(None, [_error_note(error, accuracy, kinked)])

    progress("folding")
    folds, folded = _fold(reference, tables, FOLD[precision] if fold is None else fold, portable)
    described = [_describe(net, table) for net, table in zip(model.descriptor.nets, tables, strict=True)]
    progress("writing")
    how = {"tolerance": accuracy, "force_error": error, "how": f"{reference.atoms} atoms in generated geometries"}
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
    if validation and not validation.ok and not kinked:
        notes.append(f"the file errs by {validation.error:.1e} eV/Å, more than {validation.tolerance:g}")
    found = Report(
        input=os.fspath(input),
        output=os.fspath(output),
        source=asdict(model.source),
        type_map=model.type_map,
        descriptor=model.descriptor.kind,
        fitting=model.fitting.kind,
        precision=precision,
        interface=interface,
        min_distance=model.min_distance,
        extrapolate=extrapolate,
        frequency=frequency,
        tables=described,
        accuracy=accuracy,
        force_error=error,
        kinked=kinked,
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


def convert(input: str | Path, output: str | Path, *, interface: str = "cell", portable: bool = False) -> int:
    """Write `input` as it is, uncompressed, to the .onnx file `output`; returns its size in bytes."""
    _check_choice("interface", interface, INTERFACES)
    _check_output(input, output)
    return _write(output, portable, "uncompressed", readers.read(input), interface=interface)


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
    if distance >= model.descriptor.switch.cutoff:
        raise ModelError(
            f"the smallest distance, {distance:g} Å, is beyond the cutoff of {model.descriptor.switch.cutoff:g} Å."
        )
    return float(distance)


def _tabulate(
    model: Model, reference: Reference, accuracy: float, step: float | None, extrapolate: float
) -> tuple[list[Table], float]:
    """Tables of all embedding nets, and the force error that they add; fixed strides where none resolves the nets."""
    grids = model_grids(model, model.min_distance, extrapolate, step or SEED_STEP)
    if step is None and not _kinked(model):
        tables, errors = choose(model, grids, accuracy, reference.force_errors)
        return tables, max(errors)
    tables = [make(net, grid) for net, grid in zip(model.descriptor.nets, grids, strict=True)]
    return tables, max(reference.force_errors(tables))


def _fold(
    reference: Reference, tables: list[Table], tolerance: float, portable: bool
) -> tuple[list[Fold | None], dict | None]:
    """Folds by centre type, and what report and metadata say of them; none for a file of standard operators."""
    if not tolerance or portable:
        return [], None
    folds, effect = reference.fold(tables, tolerance)
    if not any(folds):
        return [], None
    ranks = [fold.rank if fold else 0 for fold in folds]
    return folds, {"tolerance": tolerance, "channels": tables[0].nodes.shape[2], "ranks": ranks, **effect}


def _kinked(model: Model) -> bool:
    return any(is_kinked(net) for net in model.descriptor.nets)


def _error_note(error: float, accuracy: float, kinked: bool) -> str:
    """What a user must know about the tables' errors, if anything."""
    if kinked:
        return (
            "an embedding net has the activation function relu or relu6, whose kinks a smooth table cannot follow: "
            f"errors beyond {accuracy:g} eV/Å are to be expected (on generated geometries: {error:.1e})"
        )
    if error > accuracy:
        return f"the tables add a force error of {error:.1e} eV/Å, more than {accuracy:g}, at the strides taken"
    return ""


def _describe(net: Net, table: Table) -> dict:
    """A table as metadata and report tell of it."""
    grid = asdict(table.grid)
    rows = [grid.pop("rows0"), grid.pop("rows1")]
    return grid | {"upper": table.upper, "max": table.maximum, "rows": rows, "error": asdict(sampled_error(net, table))}


def _write(output: str | Path, portable: bool, kind: str, *parts, **options) -> int:
    """Write graph.KIND(*parts, **options), in standard operators if `portable`; returns the bytes written."""
    from . import graph, onnxfile

    proto = getattr(graph, kind)(*parts, **options)
    return onnxfile.write(onnxfile.inline(proto) if portable else proto, output)
