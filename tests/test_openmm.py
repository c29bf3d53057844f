"""test_openmm - --interface openmm: what OnnxForce of openmm-onnx asks of a file, run in onnxruntime as it runs it.

OnnxForce gives `positions` and, if periodic, `box` as float32, then its extra inputs, int32 or float32, and asks for `energy`
and `forces`, whose memory it reads as float32.
"""

import json

import compress_onnx as co
import numpy as np
import onnx
import onnxruntime
import pytest
from cases import MODELS, Case, Frame, frames_of_model, models
from compress_onnx import ort
from compress_onnx.cli import main
from compress_onnx.model import ModelError
from compress_onnx.onnxfile import read_metadata

ENERGY, LENGTH = 96.48533212331, 0.1  # kJ/mol per eV and nm per Å
ROUNDING = 2e-7  # of float32, relative to the largest number
SUITED = [case for case in models() if case.file.stem not in ("dipole", "polar", "dos", "property", "spin")]

WATER = list(frames_of_model(MODELS / "water.pth"))


def on_force(path, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Energy in eV and forces in eV/Å, by OnnxForce's calls."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"positions": (frame.coord * LENGTH).astype(np.float32), "atype": frame.atype}
    if frame.cell.any():
        feed["box"] = (frame.cell * LENGTH).astype(np.float32)
    feed |= {name: value.astype(np.float32) for name, value in frame.parameters.items()}
    energy, forces = session.run(["energy", "forces"], feed)
    assert (energy.dtype, energy.shape) == (np.float32, ())
    assert (forces.dtype, forces.shape) == (np.float32, frame.coord.shape)
    return energy.astype(float) / ENERGY, forces.astype(float) / (ENERGY / LENGTH)


def rounded(frame: Frame) -> dict[str, np.ndarray]:
    """Inputs of interface `cell`, as float32 in nm leaves them."""
    lengths = {
        name: (getattr(frame, name) * LENGTH).astype(np.float32).astype(float) * 10 for name in ("coord", "cell")
    }
    parameters = {name: value.astype(np.float32).astype(float) for name, value in frame.parameters.items()}
    return frame.inputs | lengths | parameters


@pytest.mark.parametrize("case", SUITED, ids=lambda case: case.name)
def test_energies_and_forces(case: Case, tmp_path):
    for interface in ("openmm", "cell"):
        co.convert(case.file, tmp_path / f"{interface}.onnx", interface=interface)
    session = ort.session(tmp_path / "cell.onnx", library=False)
    for frame in case.frames():
        energy, force = on_force(tmp_path / "openmm.onnx", frame)
        (expected,), forces = session.run(["energy", "force"], rounded(frame))
        rounding = 1e-5 if case.float32 else ROUNDING
        assert abs(energy - expected) <= rounding * max(1, abs(expected))
        assert np.abs(force - forces).max() <= rounding * max(1, np.abs(forces).max())


def test_the_file_is_as_onnxforce_wants_it(tmp_path):
    path = tmp_path / "openmm.onnx"
    co.convert(MODELS / "parameters.pth", path, interface="openmm")
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert not proto.functions and {node.domain for node in proto.graph.node} == {""}

    def described(values):
        kinds = [value.type.tensor_type for value in values]
        shapes = [[dim.dim_value or dim.dim_param for dim in kind.shape.dim] for kind in kinds]
        return {v.name: (k.elem_type, shape) for v, k, shape in zip(values, kinds, shapes, strict=True)}

    real, integer = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    assert described(proto.graph.input) == {
        "positions": (real, ["natoms", 3]),
        "atype": (integer, ["natoms"]),
        "box": (real, [3, 3]),
        "fparam": (real, [2]),
        "aparam": (real, ["natoms", 1]),
    }
    assert described(proto.graph.output) == {"energy": (real, []), "forces": (real, ["natoms", 3])}
    facts = read_metadata(path)
    assert facts["interface"] == "openmm"
    assert json.loads(facts["units"]) == {"length": "nanometer", "energy": "kilojoule/mole"}


def test_atoms_may_have_left_the_box(tmp_path):
    path = tmp_path / "openmm.onnx"
    co.convert(MODELS / "water.pth", path, interface="openmm")
    frame = next(frame for frame in WATER if frame.cell.any())
    away = np.rint(np.random.default_rng(0).normal(size=frame.coord.shape) * 2) @ frame.cell
    (energy, force), (there, forces) = on_force(path, frame), on_force(path, moved(frame, away))
    assert there == pytest.approx(energy, abs=1e-4) and np.abs(forces - force).max() < 2e-4


def moved(frame: Frame, by: np.ndarray) -> Frame:
    return Frame(frame.group, frame.coord + by, frame.cell, frame.atype, frame.expected)


def test_compress_and_validate(tmp_path, capsys):
    path = tmp_path / "openmm.onnx"
    given = ["-i", str(MODELS / "water.pth")]
    assert main([*given, "-o", str(path), "--interface", "openmm", "--report", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] and report["interface"] == "openmm" and report["fold"] is None
    assert 1e-7 < report["validation"]["error"]  # float32: it is the file itself that was looked at
    assert main(["validate", *given, "-m", str(path), "--check", "full"]) == 0
    assert "within" in capsys.readouterr().out
    for frame in WATER:
        energy, force = on_force(path, frame)
        assert abs(energy - frame.energy) < 1e-6 * len(force) and np.abs(force - frame.force).max() < 5e-5


@pytest.mark.parametrize("name, reason", [("dipole.pth", "a model of kind dipole"), ("spin.pth", "has spins")])
def test_what_onnxforce_cannot_take(name, reason, tmp_path):
    with pytest.raises(ModelError, match=f"{reason}.*use cell"):
        co.convert(MODELS / name, tmp_path / "model.onnx", interface="openmm")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("runtime", ["auto", "native", "onnxruntime"])
def test_other_programs_are_told(runtime, tmp_path):
    path = tmp_path / "openmm.onnx"
    co.compress(MODELS / "water.pth", path, interface="openmm", step=0.01, check="none")
    with pytest.raises(ModelError, match="OnnxForce alone" if runtime != "native" else "portable|EnergyForce"):
        co.DeepPot(path, runtime=runtime)
