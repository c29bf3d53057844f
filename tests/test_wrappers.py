"""Models with spin, with a pair potential, and with a mask: every route against the reference, and that against differences."""

from dataclasses import replace
from functools import cache

import compress_onnx as co
import numpy as np
import pytest
import randommodels
import reference
from compress_onnx import _core, graph, onnxfile, ort, readers
from compress_onnx.model import Model
from compress_onnx.tabulate import Grid, make

FINE = Grid("fine", -2.0, 0.005, 1400, 0.0125, 8000)  # up to a virtual atom in its atom's place
COARSE = Grid("coarse", -2.0, 0.0625, 112, 0.125, 800)
CELLS = randommodels.CELLS
DERIVATIVES = ("force", "virial", "force_mag")
TOLERANCE = {"float64": 3e-11, "float32": 2e-4, "mixed": 2e-4}


@cache
def model(name: str) -> Model:
    protected = {"protection": 0.01}
    return {
        "spin": lambda: randommodels.magnetic(seed=1, **protected),
        "spin, by type": lambda: randommodels.magnetic(seed=2, scale=(0.3, 0.2), total=0, sel=(20, 30), **protected),
        "spin, shared": lambda: randommodels.magnetic("se_atten_v2", 3, scale=(0.0, 0.4, 0.0), sel=(60,), **protected),
        "spin, too many": lambda: randommodels.magnetic("se_atten_v2", 4, sel=(9,), **protected),
        "spin, hybrid": lambda: randommodels.magnetic("se_e2_a+se_e2_r", 5, **protected),
        "pairs": lambda: randommodels.with_pairs(randommodels.random_model("se_atten_v2", 6)),
        "pairs, too many": lambda: randommodels.with_pairs(
            randommodels.random_model("se_e2_a", 7, unfitted=(1,)), sel=5
        ),
        "mask": lambda: randommodels.masked(randommodels.random_model("se_e2_a", 8, one_side=True)),
    }[name]()


NAMES = ("spin", "spin, by type", "spin, shared", "spin, too many", "spin, hybrid", "pairs", "pairs, too many", "mask")


def system(name: str, cell: str, count: int = 11) -> dict[str, np.ndarray]:
    """What `reference.evaluate` and the files take."""
    made, rng = model(name), np.random.default_rng(count)
    if cell == "small":
        cell, count = ("triclinic" if "many" in name else cell), 4  # images at equal distances compete for slots
    box = CELLS["open" if name == "mask" else cell]
    coord, atype = randommodels.atoms(box, count, len(made.type_map), seed=3)
    inputs = {"coord": coord, "atype": atype, "cell": box}
    if made.spin is not None:
        inputs["spin"] = rng.normal(size=coord.shape)
    if made.masked:
        inputs["aparam"] = (np.arange(count) % 4 != 1)[:, None] * 1.0
    return inputs


@cache
def written(name: str, precision: str = "float64", interface: str = "cell"):
    made, grid = model(name), FINE if precision == "float64" else COARSE
    tables = [make(net, grid) for descriptor in made.descriptors for net in descriptor.nets]
    return graph.compressed(made, tables, precision=precision, interface=interface)


def difference(result: dict, expected: dict) -> float:
    """The largest of any result, relative to that result's largest."""
    return max(np.abs(result[n] - expected[n]).max() / max(1, np.abs(expected[n]).max()) for n in expected)


def run(proto, inputs: dict, *, library: bool) -> dict:
    session = ort.session(proto.SerializeToString(), library=library)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


def native(name: str, inputs: dict, precision: str = "float64", **how) -> dict:
    workspace = _core.Workspace(_core.Model(written(name, precision).SerializeToString()))
    return workspace.compute(**inputs, atomic=True, **how)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", NAMES)
def test_every_route_gives_what_the_reference_does(name, cell):
    inputs = system(name, cell)
    expected = reference.evaluate(model(name), **inputs)
    assert ("force_mag" in expected) == (model(name).spin is not None)
    assert difference(run(graph.uncompressed(model(name)), inputs, library=False), expected) < 1e-12
    for library in (False, True):
        assert difference(run(written(name), inputs, library=library), expected) < 1e-10
    for precision, tolerance in TOLERANCE.items():
        assert difference(native(name, inputs, precision), expected) < tolerance, precision


@pytest.mark.parametrize("name", ["spin, shared", "pairs", "mask"])
def test_the_pairs_interface_takes_longer_lists(name):
    inputs = system(name, "triclinic")
    cell = None if name == "mask" else inputs["cell"]
    reach = 30.0 if name == "mask" else model(name).cutoff + 2.0
    pairs = _core.Neighbours().build(inputs["coord"], cell, reach).arrays()
    given = inputs | dict(zip(("pair_first", "pair_index", "pair_shift"), pairs, strict=True))
    expected = native(name, inputs)
    for library in (False, True):
        result = run(written(name, interface="pairs"), given, library=library)
        assert max(np.abs(result[key] - expected[key]).max() for key in ("force", "virial", "atom_virial")) < 1e-11


@pytest.mark.parametrize("name", ["spin", "spin, hybrid", "pairs", "pairs, too many"])
def test_derivatives_are_those_of_the_energy(name):
    inputs, rng, step = system(name, "triclinic"), np.random.default_rng(4), 1e-6
    strain = rng.normal(size=(3, 3))

    def slope(**changes) -> float:
        energies = []
        for sign in (1, -1):
            moved = {key: inputs[key] + sign * step * change for key, change in changes.items()}
            energies.append(reference.evaluate(model(name), **inputs | moved)["energy"])
        return (energies[0] - energies[1]) / (2 * step)

    result = reference.evaluate(model(name), **inputs)
    direction = rng.normal(size=inputs["coord"].shape)
    assert slope(coord=direction) == pytest.approx(-np.sum(result["force"] * direction), abs=2e-7)
    stretched = {"coord": inputs["coord"] @ strain.T, "cell": inputs["cell"] @ strain.T}
    assert slope(**stretched) == pytest.approx(-np.sum(result["virial"] * strain), abs=2e-7)
    if "spin" in inputs:
        assert np.abs(result["force_mag"]).max() > 1e-3
        assert slope(spin=direction) == pytest.approx(-np.sum(result["force_mag"] * direction), abs=2e-7)


def test_near_atoms_have_the_pair_potential_alone():
    made = model("pairs")
    bias = made.terms[0].fitting.bias
    other = replace(made, terms=(replace(made.terms[0], fitting=replace(made.terms[0].fitting, bias=bias + 7)),))
    near, far = ({"coord": [[0.0, 0, 0], [r, 0, 0]], "atype": [0, 1]} for r in (1.1, 2.7))
    assert reference.evaluate(other, **near)["energy"] == reference.evaluate(made, **near)["energy"]
    assert reference.evaluate(other, **far)["energy"] == pytest.approx(reference.evaluate(made, **far)["energy"] + 14)
    for atoms in (near, far):
        given = {key: np.array(value, np.int32 if key == "atype" else float) for key, value in atoms.items()}
        assert difference(native("pairs", given), reference.evaluate(made, **given)) < 3e-11


@pytest.mark.parametrize("name", ["spin", "spin, shared"])
def test_a_spin_of_zero_leaves_the_virtual_atom_in_its_atoms_place(name):
    inputs = system(name, "triclinic")
    inputs["spin"][::2] = 0
    expected = reference.evaluate(model(name), **inputs)
    assert np.isfinite(expected["force_mag"]).all()
    assert difference(run(written(name), inputs, library=False), expected) < 1e-10
    assert difference(native(name, inputs), expected) < 1e-10


def test_without_protection_no_spin_may_be_zero():
    unprotected = randommodels.magnetic(seed=1)
    proto = graph.compressed(unprotected, [make(n, FINE) for n in unprotected.descriptors[0].nets], precision="float64")
    coord, atype = np.array([[0.0, 0, 0], [1.5, 0, 0]]), np.array([0, 1], np.int32)
    workspace = _core.Workspace(_core.Model(proto.SerializeToString()))
    with pytest.raises(ValueError, match="atom 0 and the virtual atom of atom 0 are in the same place"):
        workspace.compute(coord, atype, spin=np.zeros((2, 3)))
    pairs = _core.Neighbours().build(coord, None, 6.0)
    with pytest.raises(ValueError, match="spin of atom 1 is not finite"):
        workspace.compute(coord, atype, spin=np.array([[0.0, 0, 1], [0, np.nan, 0]]), pairs=pairs)
    with pytest.raises(ValueError, match="needs the spin"):
        workspace.compute(coord, atype)


def test_masked_atoms_are_seen_by_nobody():
    inputs = system("mask", "open")
    away = np.where(inputs["aparam"] == 0, 50.0, 0.0)
    one, other = native("mask", inputs), native("mask", inputs | {"coord": inputs["coord"] + away})
    here = inputs["aparam"][:, 0] != 0
    assert one["energy"] == other["energy"] and not one["virial"].any()
    np.testing.assert_array_equal(one["force"][here], other["force"][here])
    assert not one["force"][~here].any() and one["force"][here].any()


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_threads(name):
    inputs = system(name, "triclinic", 70)
    one, three = native(name, inputs), native(name, inputs, threads=3)
    assert all(np.array_equal(one[key], three[key]) for key in one)


@pytest.mark.parametrize("name", ["spin", "spin, shared", "pairs, too many", "mask"])
def test_uncompressed_files_are_read_back(name, tmp_path):
    path = tmp_path / "model.onnx"
    onnxfile.write(graph.uncompressed(model(name)), path)
    found, inputs = readers.read(path), system(name, "triclinic")
    assert (found.type_map, found.masked) == (model(name).type_map, model(name).masked)
    assert difference(reference.evaluate(found, **inputs), reference.evaluate(model(name), **inputs)) == 0


@pytest.mark.parametrize("runtime", ["native", "onnxruntime"])
def test_deep_pot_takes_spins(runtime, tmp_path):
    path = tmp_path / "model.onnx"
    onnxfile.write(written("spin"), path)
    potential, inputs = co.DeepPot(path, runtime=runtime), system("spin", "triclinic")
    assert potential.has_spin and potential.use_spin == [True, False] and potential.get_ntypes_spin() == 0
    frames = np.stack([inputs["coord"], inputs["coord"] + 0.1]), np.stack([inputs["cell"]] * 2), inputs["atype"]
    spins = np.stack([inputs["spin"], -inputs["spin"]])
    *results, mask = potential.eval(*frames, atomic=True, spin=spins)
    expected = native("spin", inputs)
    for name, values in zip(
        ("energy", "force", "virial", "atom_energy", "atom_virial", "force_mag"), results, strict=True
    ):
        np.testing.assert_allclose(values[0].ravel(), np.ravel(expected[name]), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(mask[:, :, 0], np.tile(inputs["atype"] == 0, (2, 1)))
    assert len(potential.eval(*frames, spin=spins)) == 5
    for wrong, message in ((None, "needs spin"), (spins[0], "spin must have shape"), (spins * np.nan, "not finite")):
        with pytest.raises(ValueError, match=message):
            potential.eval(*frames, spin=wrong)


def test_a_list_with_skin_follows_the_spins(tmp_path):
    path = tmp_path / "model.onnx"
    onnxfile.write(written("spin"), path)
    kept, fresh = co.DeepPot(path, skin=0.5), co.DeepPot(path)
    inputs = system("spin", "triclinic")
    for factor in (1.0, 3.0, 0.5):
        given = inputs["coord"], inputs["cell"][None], inputs["atype"]
        results = [each.eval(*given, spin=factor * inputs["spin"])[1] for each in (kept, fresh)]
        np.testing.assert_allclose(*results, rtol=0, atol=1e-12)
