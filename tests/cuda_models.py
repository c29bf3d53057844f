"""cuda_models - every kind of model on "cuda:0" against the CPU, whatever that device is; prints what differs.

python tests/cuda_models.py [--sample] [NAME ...]      names of cases, all by default

With DPC_CUDA_LIBRARY it may be the host itself (cudahost.py); tests/gpu runs the same on a GPU.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cases
import coremodels
import ensembles
import numpy as np
import randommodels
import test_wrappers
from compress_onnx import _core, compress, digest, graph
from compress_onnx.readers import read
from compress_onnx.tabulate import make, model_grids, model_nets

STEP = 0.05  # of tables, whose accuracy is not looked at
FOLDED = ("water.pth", "hybrid.pth")
# Relative to the largest number of a result. In single precision the CPU's own instruction sets differ by 1e-4, and by
# 1e-3 in the forces of `angles`, which nearly cancel.
TOLERANCE = {"float64": 1e-12, "float32": 5e-4, "mixed": 5e-4}
CANCELLING = {"float64": 1e-12, "float32": 2e-3, "mixed": 2e-3}
MOST_ATOMS = 12  # of a frame in a sample
SAMPLE = (  # one of each kind
    *("water.pth float64 folded", "radial.pb float64", "typed.pth float64", "angles_typed.dp float64"),
    *("polar.dp mixed", "spin.pth float32"),
    *(
        "zbl.pth float64",
        "ensemble float64",
        "random mask float64",
        "random hybrid float64",
        "random too many, some ignored float64",
        "random linear float64",
    ),
)


Case = tuple[str, Callable[[], _core.Model], list[dict]]  # its name, how to load it, what it is evaluated with


def trained() -> Iterator[Case]:
    """What of models/ libdpc evaluates."""
    for case in cases.models():
        if case.attentive or case.file.suffix == ".yaml":
            continue
        model = read(case.file)
        tables = [
            make(net, grid) for net, grid in zip(model_nets(model), model_grids(model, 0.8, 5.0, STEP), strict=True)
        ]
        frames = list(map(arguments, case.frames()))
        for precision in coremodels.PRECISIONS:
            yield f"{case.file.name} {precision}", partial(loaded, model, tables, precision), frames
        if case.file.name in FOLDED:
            yield f"{case.file.name} float64 folded", partial(folded, case.file), frames


def loaded(model, tables, precision) -> _core.Model:
    return _core.Model(digest.serialise(graph.compressed(model, tables, precision=precision)))


def folded(file) -> _core.Model:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compress(file, Path(folder, "model.onnx"), step=STEP, check="none")
        return _core.Model(Path(folder, "model.onnx"))


def arguments(frame: cases.Frame) -> dict:
    given = {name: getattr(frame, name) for name in ("fparam", "aparam", "spin") if getattr(frame, name) is not None}
    return dict(coord=frame.coord, atype=frame.atype, cell=frame.cell if frame.cell.any() else None, **given)


def invented() -> Iterator[Case]:
    """Random models of every form, with inputs below, in and beyond their tables; no atoms, one, some that are none."""
    for name in coremodels.VARIANTS:
        frames = []
        for cell, count in (("small", 3), ("triclinic", 20), ("open", 9), ("open", 1), ("open", 0)):
            coord, atype = randommodels.atoms(randommodels.CELLS[cell], count, len(coremodels.variant(name).type_map))
            atype[1::7] = -1
            box = randommodels.CELLS[cell]
            given = coremodels.parameters(name, count)
            frames.append(dict(coord=coord, atype=atype, cell=box if np.any(box) else None, **given))
        for precision, grid in (("float64", coremodels.SHORT), ("mixed", coremodels.COARSE)):
            yield f"random {name} {precision}", partial(coremodels.loaded, name, precision, grid), frames


def combined() -> Iterator[Case]:
    """Ensembles, folded; and what has spins, pair tables and masks, invented."""
    frames = [arguments(frame) for frame in cases.frames_of_model(cases.MODELS / "water.pth") if len(frame.coord) < 30]
    yield "ensemble float64", ensemble, frames
    for name in test_wrappers.NAMES:
        systems = [test_wrappers.system(name, cell, count) for cell, count in (("triclinic", 11), ("open", 5))]
        for one in systems:
            one["cell"] = one["cell"] if one["cell"].any() and not name.startswith("mask") else None
        for precision in ("float64", "mixed"):
            yield f"random {name} {precision}", partial(wrapped, name, precision), systems


def ensemble() -> _core.Model:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ensembles.compress_all(Path(folder), step=STEP)
        return _core.Model(Path(folder, "ensemble.onnx"))


def wrapped(name: str, precision: str) -> _core.Model:
    return _core.Model(digest.serialise(test_wrappers.written(name, precision)))


def tolerance_of(name: str) -> float:
    precision = next(word for word in name.split() if word in TOLERANCE)
    return (CANCELLING if name.startswith("angles.") else TOLERANCE)[precision]


def compare(model: _core.Model, frames: list[dict], tolerance: float) -> list[str]:
    """What differs; in the first frame also when atoms have moved with the same list, and from one time to the next."""
    there, here, faults = _core.Workspace(model, "cuda:0"), _core.Workspace(model), []
    for number, given in enumerate(frames):
        shaken = given | {"coord": given["coord"] + np.random.default_rng(1).uniform(-0.02, 0.02, given["coord"].shape)}
        for step, one in enumerate((given, shaken)[: 1 if number else 2]):
            ours, theirs = (space.compute(**one, skin=0.3, atomic=True) for space in (there, here))
            faults += [f"frame {number}, step {step}: {fault}" for fault in differences(ours, theirs, tolerance)]
    again, and_again = (there.compute(**frames[0], skin=0.3, counted=False) for _ in range(2))
    faults += [f"{name} has other bits" for name in again if not np.array_equal(again[name], and_again[name])]
    faults += [
        f"not counted: {fault}" for fault in differences(again, here.compute(**frames[0], counted=False), tolerance)
    ]
    return faults


def differences(ours: dict, theirs: dict, tolerance: float) -> Iterator[str]:
    if set(ours) != set(theirs):
        yield f"{sorted(ours)} instead of {sorted(theirs)}"
    for name, expected in theirs.items():
        scale = max(np.abs(expected).max(initial=0), 1e-2)
        off = np.abs(np.subtract(ours[name], expected, dtype=float)).max(initial=0)
        # in single precision an input may lie on either side of an end
        allowed = {"range": 0 if tolerance < 1e-9 else 4, "range_worst": np.inf}.get(name, tolerance * scale)
        if tolerance < 1e-9 and name == "range_worst":
            allowed = tolerance * scale
        if not off <= allowed:
            yield f"{name} is off by {off:.1e} of {scale:.1e}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", action="store_true", help="one model of each kind, small frames")
    options = parser.parse_args(argv)
    wanted = SAMPLE if options.sample else options.names
    found = faulty = 0
    for source in (trained, invented, combined):
        for name, load, frames in source():
            if wanted and name not in wanted:
                continue
            if options.sample:
                frames = [one for one in frames if len(one["coord"]) <= MOST_ATOMS]
            faults = compare(load(), frames, tolerance_of(name))
            found += 1
            faulty += bool(faults)
            for fault in faults:
                print(f"{name}: {fault}")
    print(f"{found} models, {faulty} differ")
    return faulty or found < (len(wanted) or 100)


if __name__ == "__main__":
    sys.exit(main())
