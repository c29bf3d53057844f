"""test_reference - the slow numpy definition, against the originals' own results and against finite differences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
import tiny
from cases import Frame, frame_of, oracle
from compress_onnx.model import Model
from compress_onnx.readers import read
from conftest import SHARED

LARGE = 100  # atoms; such frames take seconds and are left to -m oracle
LARGE_WITH_MESSAGES = 15

KINDS = Path(__file__).parent / "data/kinds"

# How far from the definition the original itself is, in eV/Å for forces up to 1 eV/Å.
OWN_ERROR = {
    "se_a_softplus_pt/model.pth": 1e-10,  # torch takes softplus(x) = x beyond 20
    "se_a_gelu_tf_tf/model.pb": 1e-7,  # TensorFlow rounds the coefficient 0.044715 to float32
}


def parameters():
    cases = oracle(SHARED / "oracle")
    for case in cases:
        yield pytest.param(case, False, id=case.name, marks=[pytest.mark.sample] if case.sample else [])
        if not case.attentive:  # for which that would take minutes
            yield pytest.param(case, True, id=f"{case.name}-large")
    if not cases:
        yield pytest.param(None, False, id="none", marks=pytest.mark.skip(reason=f"{SHARED / 'oracle'} is missing"))


@pytest.mark.oracle
@pytest.mark.parametrize(("case", "large"), list(parameters()))
def test_equals_the_original(case, large):
    model = read(case.file)
    limit = LARGE_WITH_MESSAGES if case.messages else LARGE
    for frame in case.frames():
        if (len(frame.coord) > limit) != large:
            continue
        force = 5e-5 if case.float32 else OWN_ERROR.get(case.name, 3e-13)
        force *= max(1.0, np.abs(frame.expected.get("force", 0.0)).max())
        energy = 1e-5 if case.float32 else max(force, 1e-12)  # eV per atom; totals are known to 2e-12 eV
        assert_same(model, frame, energy, force)


def assert_same(model: Model, frame: Frame, energy: float, force: float) -> None:
    """What is known of the frame, within `energy` (or what else is fitted) per atom and `force`."""
    n = len(frame.coord)
    errors = {
        "energy": energy * n,
        "force": force,
        "force_mag": force,
        "virial": force * n,
        "atom_energy": energy,
        "atom_virial": 3 * force,
    }
    errors |= {"tensor": energy * n, "atom_tensor": energy}
    result = reference.evaluate(model, frame.coord, frame.atype, frame.cell, frame.fparam, frame.aparam, frame.spin)
    assert frame.expected
    for name, value in frame.expected.items():
        np.testing.assert_allclose(result[name].reshape(value.shape), value, rtol=0, atol=errors[name], err_msg=name)


@pytest.mark.parametrize("file", sorted(KINDS.glob("*.dp")), ids=lambda file: file.stem)
def test_other_rules_equal_the_original(file):
    """Random models, see data/kinds/make.py."""
    with np.load(file.with_suffix(".npz")) as arrays:
        frame = frame_of(file.stem, dict(arrays))
    assert_same(read(file), frame, 3e-13, 3e-13)


DESCRIPTORS = {
    "angles": tiny.angles(),
    "angles-protected": tiny.angles(env_protection=0.1),
    "angles-excluded": tiny.angles(exclude_types=[[0, 1]]),
    "radial": tiny.radial(exclude_types=[[0, 0]]),
    "triples": tiny.triples(exclude_types=[[0, 1]]),
    "typed triples": tiny.typed_triples(),
    "dpa1": tiny.dpa1(),
    "hybrid": tiny.hybrid(tiny.angles(), tiny.radial(), tiny.dpa1(), tiny.typed_triples()),
}


@pytest.fixture(params=[*DESCRIPTORS, "tensorflow", "surrogate", "linear"])
def model(request, tmp_path) -> Model:
    """A random energy model whose sel is too small for its atoms; the TensorFlow rule keeps other neighbours."""
    if request.param == "linear":
        tree = tiny.linear(tiny.tree(descriptor=tiny.dpa1()), tiny.tree(1, descriptor=tiny.typed_triples()))
    else:
        tree = tiny.tree(1, descriptor=DESCRIPTORS.get(request.param, tiny.dpa1()))
    model = read(tiny.write_json(tree, tmp_path / "model.json"))
    if request.param == "tensorflow":
        return with_changes(read(tiny.write_json(tiny.tree(1), tmp_path / "model.json")), total=0)
    return with_changes(model, gate="surrogate", gate_smooth=0.5) if request.param == "surrogate" else model


def with_changes(model: Model, **changes) -> Model:
    """Another rule in every descriptor."""
    terms = tuple(
        replace(term, descriptors=tuple(replace(one, **changes) for one in term.descriptors)) for term in model.terms
    )
    return replace(model, terms=terms)


def atoms():
    random = np.random.default_rng(2)
    cell = np.array([[4.0, 0, 0], [0.7, 4.2, 0], [-0.3, 0.5, 3.8]])
    return random.uniform(0, 1, (7, 3)) @ cell, np.array([0, 1, 1, 0, -1, 1, 0]), cell


def test_forces_are_the_derivative_of_the_energy(model):
    coord, atype, cell = atoms()
    force = reference.evaluate(model, coord, atype, cell)["force"]
    step, direction = 1e-6, np.random.default_rng(3).normal(size=coord.shape)
    up, down = (reference.evaluate(model, coord + s * step * direction, atype, cell)["energy"] for s in (1, -1))
    assert abs(force).max() > 0.01
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
    for rule, seen in ((model, False), (with_changes(model, total=0), True)):
        full, rest = (
            reference.evaluate(rule, coord[part], atype[part])["atom_energy"][0] for part in (slice(None), without)
        )
        assert (abs(full - rest) > 1e-6) == seen


def test_an_atom_alone_and_no_atom(model):
    alone = reference.evaluate(model, [[1.0, 2.0, 3.0]], [1], None)
    assert np.isfinite(alone["energy"]) and not alone["force"].any() and not alone["virial"].any()
    assert reference.evaluate(model, np.zeros((0, 3)), np.zeros(0, int))["energy"] == 0


@pytest.mark.parametrize(
    ("fitting", "outputs"),
    [
        (tiny.fitting("dipole", mixed_types=True), 3),
        (tiny.fitting("polar", fit_diag=True, shift_diag=True), 9),
        (tiny.fitting("polar", fit_diag=False, shift_diag=True, mixed_types=True), 9),
        (tiny.fitting("dos"), 3),
        (tiny.fitting("property", intensive=True, distinguish_types=True, mixed_types=True), 3),
    ],
    ids=["dipole", "polar-diagonal", "polar", "dos", "property"],
)
def test_each_output_has_its_own_derivatives(tmp_path, fitting, outputs):
    descriptor = tiny.hybrid(tiny.angles(), tiny.dpa1())
    model = read(tiny.write_json(tiny.tree(1, descriptor=descriptor, fitting=fitting), tmp_path / "model.json"))
    coord, atype, cell = atoms()
    result = reference.evaluate(model, coord, atype, cell)
    assert result["tensor"].shape == (outputs,) and result["atom_tensor"].shape == (len(coord), outputs)
    step, random = 1e-6, np.random.default_rng(3)
    direction, strain = random.normal(size=coord.shape), random.normal(size=(3, 3))
    moved, deformed = (
        np.subtract(*(reference.evaluate(model, *change(s * step))["tensor"] for s in (1, -1))) / (2 * step)
        for change in (
            lambda h: (coord + h * direction, atype, cell),
            lambda h: (coord @ (np.eye(3) + h * strain).T, atype, cell @ (np.eye(3) + h * strain).T),
        )
    )
    np.testing.assert_allclose(moved, -np.einsum("knx,nx->k", result["force"], direction), rtol=0, atol=2e-8)
    np.testing.assert_allclose(deformed, -np.einsum("kxy,xy->k", result["virial"], strain), rtol=0, atol=2e-8)


def test_tensors_turn_with_the_atoms(tmp_path):
    coord, atype, cell = atoms()
    turn = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]
    for kind, shape in (("dipole", (3,)), ("polar", (3, 3))):
        fitting = tiny.fitting(kind, fit_diag=False, shift_diag=True)
        tree = tiny.tree(1, fitting=fitting)
        statistics = tree["model"]["descriptor"]["@variables"]
        statistics["davg"][..., 1:], statistics["dstd"][..., 1:] = 0, 1  # as training leaves them
        model = read(tiny.write_json(tree, tmp_path / "model.json"))
        here = reference.evaluate(model, coord, atype, cell)["tensor"].reshape(shape)
        there = reference.evaluate(model, coord @ turn.T, atype, cell @ turn.T)["tensor"].reshape(shape)
        expected = turn @ here if kind == "dipole" else turn @ here @ turn.T
        np.testing.assert_allclose(there, expected, rtol=0, atol=1e-12)
