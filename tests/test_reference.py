"""test_reference - the slow numpy definition, against the originals' own results and against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import tiny
from cases import oracle
from compress_onnx.model import Model
from compress_onnx.readers import read
from conftest import SHARED

LARGE = 100  # atoms; such frames take seconds and are left to -m oracle

# How far from the definition the original itself is, in eV/Å for forces up to 1 eV/Å.
OWN_ERROR = {
    "se_a_softplus_pt/model.pth": 1e-10,  # torch takes softplus(x) = x beyond 20
    "se_a_gelu_tf_tf/model.pb": 1e-7,  # TensorFlow rounds the coefficient 0.044715 to float32
}


def parameters():
    cases = oracle(SHARED / "oracle")
    for case in cases:
        yield pytest.param(case, False, id=case.name, marks=[pytest.mark.sample] if case.sample else [])
        yield pytest.param(case, True, id=f"{case.name}-large")
    if not cases:
        yield pytest.param(None, False, id="none", marks=pytest.mark.skip(reason=f"{SHARED / 'oracle'} is missing"))


@pytest.mark.oracle
@pytest.mark.parametrize(("case", "large"), list(parameters()))
def test_equals_the_original(case, large):
    model = read(case.file)
    for frame in case.frames():
        if (len(frame.coord) > LARGE) != large:
            continue
        result = reference.evaluate(model, frame.coord, frame.atype, frame.cell)
        force = 5e-5 if case.float32 else OWN_ERROR.get(case.name, 3e-13)
        force *= max(1.0, np.abs(frame.force).max())
        energy = 1e-5 if case.float32 else max(force, 1e-12)  # eV per atom; totals are known to 2e-12 eV
        for name, error in {
            "energy": energy * len(frame.coord),
            "force": force,
            "virial": force * len(frame.coord),
            "atom_energy": energy,
            "atom_virial": 3 * force,
        }.items():
            np.testing.assert_allclose(result[name], getattr(frame, name), rtol=0, atol=error, err_msg=name)


@pytest.fixture(params=["native", "native-protected", "native-excluded", "tensorflow"])
def model(request, tmp_path) -> Model:
    """A random model whose sel is too small for its atoms; the TensorFlow rule keeps other neighbours."""
    tree = tiny.tree(1)
    if request.param == "native-protected":
        tree = tiny.changed(tree, "model.descriptor.env_protection", 0.1)
    if request.param == "native-excluded":
        tree = tiny.changed(tree, "model.descriptor.exclude_types", [[0, 1]])
    model = read(tiny.write_json(tree, tmp_path / "model.json"))
    if request.param == "tensorflow":
        model = with_tensorflow_rule(model)
    return model


def with_tensorflow_rule(model: Model) -> Model:
    return replace(model, descriptor=replace(model.descriptor, total_first=False))


def atoms():
    random = np.random.default_rng(2)
    cell = np.array([[4.0, 0, 0], [0.7, 4.2, 0], [-0.3, 0.5, 3.8]])
    return random.uniform(0, 1, (7, 3)) @ cell, np.array([0, 1, 1, 0, -1, 1, 0]), cell


def test_forces_are_the_derivative_of_the_energy(model):
    coord, atype, cell = atoms()
    force = reference.evaluate(model, coord, atype, cell)["force"]
    step, direction = 1e-6, np.random.default_rng(3).normal(size=coord.shape)
    up, down = (reference.evaluate(model, coord + s * step * direction, atype, cell)["energy"] for s in (1, -1))
    assert abs(force).max() > 0.1
    assert (up - down) / (2 * step) == pytest.approx(-np.sum(force * direction), abs=2e-8)


def test_virial_is_the_derivative_by_strain(model):
    coord, atype, cell = atoms()
    virial = reference.evaluate(model, coord, atype, cell)["virial"]
    step, strain = 1e-6, np.random.default_rng(4).normal(size=(3, 3))

    def energy(sign):
        deformed = np.eye(3) + sign * step * strain
        return reference.evaluate(model, coord @ deformed.T, atype, cell @ deformed.T)["energy"]

    assert (energy(1) - energy(-1)) / (2 * step) == pytest.approx(-np.sum(virial * strain), abs=2e-8)


def test_results_do_not_depend_on_the_image_or_the_order(model):
    coord, atype, cell = atoms()
    random = np.random.default_rng(5)
    order = random.permutation(len(coord))
    expected = reference.evaluate(model, coord, atype, cell)
    result = reference.evaluate(model, (coord + random.integers(-2, 3, coord.shape) @ cell)[order], atype[order], cell)
    for name in ("force", "atom_energy", "atom_virial"):
        np.testing.assert_allclose(result[name], expected[name][order], rtol=0, atol=1e-13)


def test_too_many_neighbours_hide_those_behind_them_in_native_models_only(tmp_path):
    model = read(tiny.write_json(tiny.tree(1), tmp_path / "model.json"))
    near = np.eye(3)[[0, 0, 1, 1, 2, 2]] * np.array([[1], [-1], [1], [-1], [1], [-1]])
    coord = np.concatenate([np.zeros((1, 3)), near, [[0.8, 0.8, 0.8]], [[1.2, 1.2, -1.2]]])
    atype = np.array([0] + [1] * 7 + [0])  # the eighth neighbour is the first of its type
    without = slice(0, -1)
    for rule, seen in ((model, False), (with_tensorflow_rule(model), True)):
        full, rest = (
            reference.evaluate(rule, coord[part], atype[part])["atom_energy"][0] for part in (slice(None), without)
        )
        assert (abs(full - rest) > 1e-6) == seen


def test_an_atom_alone_and_no_atom(model):
    alone = reference.evaluate(model, [[1.0, 2.0, 3.0]], [1], None)
    assert np.isfinite(alone["energy"]) and not alone["force"].any() and not alone["virial"].any()
    assert reference.evaluate(model, np.zeros((0, 3)), np.zeros(0, int))["energy"] == 0
