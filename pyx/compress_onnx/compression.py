"""compression - a trained model file in, a compressed .onnx out, with a report of what was found on the way."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import readers
from .ensemble import join
from .judgement import basis
from .making import Made, Progress, made
from .model import ModelError
from .tabulate import is_tabulated
from .validate import Validation, allowed_error, compared, precision_of

PRECISIONS = ("same", "float64", "float32", "mixed")
INTERFACES = ("cell", "pairs", "openmm")
CHECKS = ("none", "quick", "full")


@dataclass(frozen=True)
class Report:
    """What one compression found out. Lengths in Å, energies in eV."""

    input: str | list[str]  # of an ensemble, one of each model, as `source`
    output: str
    source: dict | list[dict]
    models: int  # more than one: an ensemble, whose errors are those of its worst model
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
    force_estimate: float  # eV/Å, the same if they erred there as much as they may anywhere
    by: str  # what this rests on: certified bounds where they are close, else dense samples
    force_bound: float | None  # eV/Å, what tables off by all of their bounds could add; None: only with check "full"
    fold: dict | None  # by descriptor channels and rank by centre type (0: none), what it adds; None: not folded
    validation: Validation | None  # of the file as written, None: not asked for
    warnings: tuple[str, ...]
    bytes: int  # of the file and its external data
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the tables keep to the accuracy, and the file to its precision's tolerance."""
        return self.force_estimate <= self.accuracy and (self.validation is None or self.validation.ok)

    def to_json(self) -> dict:
        """Plain data."""
        return asdict(self) | {"validation": self.validation and self.validation.to_json(), "ok": self.ok}


def compress(
    input: str | Path | Sequence[str | Path],
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

    input: several files make an ensemble, whose results are means over the models and deviations.
    accuracy: force error in eV/Å that the tables may add, 1e-9 by default (1e-5 for float32 and mixed); or
    step: the seed's fixed strides, step and 10 step. extrapolate: second sub-tables reach to this times the end of the
    first, which is at the smallest distance of the training data: min_distance in Å, else the model's own, else that of
    the data which training_script names. precision: "same", "float64", "float32" or "mixed". interface: "cell",
    "pairs", or "openmm", for OnnxForce of openmm-onnx, which is portable in any case. check: of the written file, "none",
    "quick" or "full". portable: standard ONNX operators only.
    frequency: evaluations between looks at how far inputs lie outside the tables, -1 never.
    fold: force error in eV/Å that low-rank folding may add, 1e-9 by default (1e-6 for float32 and mixed); False: none.
    head: which of the models of a file of several. report: file for Report.to_json(). progress: called with what is being done.
    Raises ModelError for a model that cannot be compressed and ValueError for an option; nothing is written then.
    """
    start = time.perf_counter()
    progress = progress or (lambda message: None)
    paths = [input] if isinstance(input, (str, os.PathLike)) else list(input)
    _check_options(accuracy, step, extrapolate, min_distance, precision, interface, check, fold)
    _check_paths(paths, output, interface)
    if report is not None and not Path(report).parent.is_dir():
        raise ValueError(f"{report}: there is no folder {Path(report).parent} for the report, make it first")
    progress("reading the model")
    models = [readers.read(path, head) for path in paths]
    precision = join(models).precision if precision == "same" else precision
    portable = portable or interface == "openmm"  # which knows no operators of ours
    options = {
        "accuracy": accuracy,
        "step": step,
        "extrapolate": extrapolate,
        "training_script": training_script,
        "min_distance": min_distance,
        "precision": precision,
        "fold": fold,
        "portable": portable,
        "bounded": check == "full",
    }
    before = [f"{path}: " * (len(paths) > 1) for path in paths]
    parts = [
        made(model, **options, progress=lambda message, before=before: progress(before + message))
        for model, before in zip(models, before, strict=True)
    ]
    notes = [before + note for part, before in zip(parts, before, strict=True) for note in part.notes]

    progress("writing")
    model = join([part.model for part in parts])
    facts = _facts(parts)
    metadata = {name: json.dumps(fact) for name, fact in facts.items()}
    metadata |= {"frequency": str(frequency)}
    tables = [table for part in parts for table in part.choice.tables]
    folds = [fold for part in parts for fold in part.folds]
    options = {"precision": precision, "interface": interface, "metadata": metadata}
    size = _write(output, portable, "compressed", model, tables, folds=folds, **options)

    validation = None
    if check != "none":
        progress("checking")
        validation = _checked(paths, parts, output, check, precision_of(precision, interface), progress)
        if not validation.ok:
            notes.append(f"the file errs by {validation.error:.1e} eV/Å, more than {validation.tolerance:g}")
    sources = [asdict(part.model.source) for part in parts]
    inputs = [os.fspath(path) for path in paths]
    how = facts["accuracy"]
    found = Report(
        input=inputs if len(paths) > 1 else inputs[0],
        output=os.fspath(output),
        source=sources if len(paths) > 1 else sources[0],
        models=len(paths),
        type_map=model.type_map,
        descriptor=" + ".join(descriptor.kind for descriptor in models[0].descriptors),
        fitting=model.kind,
        precision=precision,
        interface=interface,
        min_distance=model.min_distance,
        extrapolate=extrapolate,
        frequency=frequency,
        tables=facts["tables"],
        accuracy=how["tolerance"],
        force_error=how["force_error"],
        force_estimate=how["force_estimate"],
        by=how["by"],
        force_bound=how["force_bound"],
        fold=facts["fold"],
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


def _facts(parts: Sequence[Made]) -> dict[str, object]:
    """What metadata say of tables, folds and errors: of an ensemble all models' tables, and the largest errors."""
    first, bounds = parts[0], [part.force_bound for part in parts]
    effects = [part.fold_effect for part in parts if part.fold_effect]
    fold = effects and {
        "tolerance": first.fold_tolerance,
        "channels": [descriptor.channels for part in parts for descriptor in part.model.descriptors],
        "ranks": [rank for part in parts for rank in part.ranks],
        **{name: max(effect[name] for effect in effects) for name in effects[0]},
    }
    return {
        "tables": [table for part in parts for table in part.tables],
        "accuracy": {
            "tolerance": first.accuracy,
            "force_error": max(max(part.choice.measured) for part in parts),
            "force_estimate": max(max(part.choice.estimates) for part in parts),
            "by": basis([judgement for part in parts for judgement in part.choice.judgements]),
            "force_bound": None if None in bounds else max(bounds),
            "how": f"{first.reference.atoms} atoms in generated geometries",
        },
        "fold": fold or None,
        "self_test": first.reference.self_test(*(part.reference for part in parts[1:])),
    }


def _checked(
    paths: Sequence[str | Path],
    parts: Sequence[Made],
    output: str | Path,
    check: str,
    precision: str,
    progress: Progress,
) -> Validation:
    """The written file against its original, or that of an ensemble's models which errs most."""
    found = []
    for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
        if check == "quick":
            tolerance = allowed_error(precision, part.accuracy)
            found.append(part.reference.compared(output, tolerance, model=number).validation)
        else:
            found.append(compared(path, output, check=check, model=number, progress=progress).validation)
    return max(found, key=lambda validation: (not validation.ok, validation.error))


def convert(
    input: str | Path, output: str | Path, *, interface: str = "cell", portable: bool = False, head: str | None = None
) -> int:
    """Write `input`, or its model `head`, as it is, uncompressed, to the .onnx file `output`; its size in bytes."""
    _check_choice("interface", interface, INTERFACES)
    _check_paths([input], output, interface)
    model = readers.read(input, head)
    if is_tabulated(model):
        raise ModelError(f"{input}: dp compress has compressed it, there is no uncompressed form: compress it instead")
    return _write(output, portable or interface == "openmm", "uncompressed", model, interface=interface)


def _check_paths(inputs: Sequence[str | Path], output: str | Path, interface: str) -> None:
    if not inputs:
        raise ValueError("there is no model to compress, name one")
    if len(inputs) > 1 and interface == "openmm":
        raise ValueError("OnnxForce takes one energy, and an ensemble gives several; choose another interface")
    if Path(output).exists() and any(Path(path).exists() and os.path.samefile(path, output) for path in inputs):
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


def _write(output: str | Path, portable: bool, kind: str, *parts, **options) -> int:
    """Write graph.KIND(*parts, **options), in standard operators if `portable`; returns the bytes written."""
    from . import graph, onnxfile

    proto = getattr(graph, kind)(*parts, **options)
    return onnxfile.write(onnxfile.inline(proto) if portable else proto, output)
