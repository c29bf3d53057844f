"""test_symmetries - every kind of model: turned, moved and renumbered atoms have the same energy and turned results."""

from dataclasses import replace

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx.engine import open_engine

FILES = sorted(file for file in MODELS.iterdir() if file.suffix in (".pb", ".pth", ".dp") and "f32" not in file.stem)
RESULTS = {"energy", "force", "virial", "atom_energy", "atom_virial", "force_mag", "tensor", "atom_tensor"}
BY_ATOM = {"force": -2, "atom_energy": 0, "atom_tensor": 0, "atom_virial": -3, "force_mag": 0}  # and their axis


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.name)
def model(request, tmp_path_factory):
    """What evaluates the compressed file, one of its frames, and the results there."""
    output = tmp_path_factory.mktemp("symmetries") / "model.onnx"
    co.compress(request.param, output, check="none")
    engine = open_engine(output)
    frame = next(frame for frame in frames_of_model(request.param) if frame.cell.any())
    return engine, frame, evaluate(engine, frame)


def evaluate(engine, frame):
    given = {"coord": frame.coord, "types": frame.atype, "cell": frame.cell, "spin": frame.spin}
    results = engine.evaluate(**given, fparam=frame.fparam, aparam=frame.aparam, atomic=True)
    return {name: np.asarray(value) for name, value in results.items() if name in RESULTS}


def same(found, expected):
    for name, value in expected.items():
        scale = max(1.0, np.abs(value).max(initial=0))
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-10 * scale, err_msg=name)


def test_moved_atoms_and_other_images(model):
    engine, frame, base = model
    images = np.random.default_rng(8).integers(-2, 3, frame.coord.shape)
    same(evaluate(engine, replace(frame, coord=frame.coord + [3.1, -40.7, 9.9] + images @ frame.cell)), base)


def test_renumbered_atoms(model):
    engine, frame, base = model
    order = np.random.default_rng(9).permutation(len(frame.coord))
    parts = {name: getattr(frame, name) for name in ("coord", "atype", "aparam", "spin")}
    found = evaluate(engine, replace(frame, **{name: part[order] for name, part in parts.items() if part is not None}))
    same(found, {name: np.take(v, order, BY_ATOM[name]) if name in BY_ATOM else v for name, v in base.items()})


def test_turned_atoms(model):
    engine, frame, base = model
    turn, _ = np.linalg.qr(np.random.default_rng(10).normal(size=(3, 3)))
    spin = None if frame.spin is None else frame.spin @ turn
    found = evaluate(engine, replace(frame, coord=frame.coord @ turn, cell=frame.cell @ turn, spin=spin))
    same(found, {name: turned(name, value, engine, turn) for name, value in base.items()})


def turned(name, value, engine, turn):
    """The result of turned atoms: vectors x become x @ turn, in each component of what they are derivatives of too."""
    own = {"force": 1, "force_mag": 1, "virial": 2, "atom_virial": 2}.get(name, 0)
    axes = list(range(value.ndim - own, value.ndim))
    shape = value.shape
    if engine.kind in ("dipole", "polar"):  # their components: of derivatives the first axis, else the last
        of_tensor = [3] if engine.kind == "dipole" else [3, 3]
        shape = (*of_tensor, *shape[1:]) if own else (*shape[:-1], *of_tensor)
        axes = [axis + len(of_tensor) - 1 for axis in axes] if own else list(range(len(shape)))[-len(of_tensor) :]
        axes += range(len(of_tensor)) if own else []
    out = value.reshape(shape)
    for axis in axes:
        out = np.moveaxis(np.moveaxis(out, axis, -1) @ turn, -1, axis)
    return out.reshape(value.shape)
