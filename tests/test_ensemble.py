"""Ensembles: each model as in a file of its own, to the bit; means and deviations by every way to run them; refusals."""

import json
from dataclasses import replace
from functools import cache

import compress_onnx as co
import ensembles
import numpy as np
import onnx
import pytest
import randommodels
from ase import Atoms
from cases import MODELS
from compress_onnx import _core, digest, graph, onnxfile, ort, readers
from compress_onnx.calculator import DP
from compress_onnx.cli import main
from compress_onnx.ensemble import join
from compress_onnx.model import ModelError
from compress_onnx.onnxfile import read_metadata
from coremodels import PRECISIONS, SHORT, file_of
from randommodels import random_model
from systems import write_systems

EACH = {"energies": "energy", "forces": "force", "virials": "virial"}


def like(model, other):
    """`model` with the environment's statistics of `other`, as models trained on the same data have them."""
    terms = []
    for term, source in zip(model.terms, other.terms, strict=True):
        pairs = zip(term.descriptors, source.descriptors, strict=True)
        terms.append(replace(term, descriptors=tuple(replace(a, mean=b.mean, std=b.std) for a, b in pairs)))
    return replace(model, terms=tuple(terms))


def seeds(make, count=3):
    """The second shares its environment with the first, the third its neighbours alone."""
    models = [make(seed) for seed in range(count)]
    return [models[0], like(models[1], models[0]), *models[2:]]


KINDS = {
    "plain": lambda seed: random_model(seed=seed),
    "excluded": lambda seed: random_model(seed=seed, exclude=((0, 1),), unfitted=(1,)),
    "too many": lambda seed: random_model(seed=seed, sel=(3, 4), ignored=((0, 1),)),
    "radial": lambda seed: random_model("se_e2_r", seed, exclude=((0, 1),), one_side=True, mean=0.0),
    "gated": lambda seed: random_model("se_atten_v2", seed, fparam=1, aparam=2),
    "three bodies": lambda seed: random_model("se_e3_tebd_smooth", seed),
    "hybrid": lambda seed: random_model("se_e2_a+se_e2_r+se_e3", seed, mixed=True, mean=0.0),
    "two terms": lambda seed: randommodels.linear(random_model(seed=seed), random_model("se_atten", 10 + seed)),
    "pair table": lambda seed: randommodels.with_pairs(random_model(seed=seed), seed),
    "spin": lambda seed: randommodels.magnetic(seed=seed),
    "mask": lambda seed: randommodels.masked(random_model(seed=seed)),
}


@cache
def loaded(kind, precision, grid=None):
    """The models, each in a file of its own, and all in one."""
    models = seeds(KINDS[kind])
    files = [file_of(model, precision, grid) for model in models]
    return [_core.Model(file) for file in files], _core.Model(file_of(join(models), precision, grid))


def system(model, cell, count):
    """Positions, types, cell and parameters for `model`."""
    rng, box = np.random.default_rng(5), randommodels.CELLS[cell]
    coord, atype = randommodels.atoms(box, count)
    given = {"fparam": rng.normal(size=model.fparams), "aparam": rng.normal(size=(count, model.aparams))}
    if model.masked:
        given["aparam"] = np.ones((count, 1))
    given = {name: value for name, value in given.items() if value.size}
    if model.spin_scale is not None:
        given["spin"] = rng.normal(size=(count, 3))
    return (coord, atype, None if model.masked else box), given


def compute(model, place, given, **how):
    return _core.Workspace(model).compute(*place, atomic=True, **given, **how)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", [None, SHORT], ids=["fine", "short"])
def test_each_model_is_as_in_a_file_of_its_own(kind, precision, grid):
    apart, together = loaded(kind, precision, grid)
    for cell, count in {"open": 40, "triclinic": 14}.items():
        place, given = system(together, cell, count)
        alone = [compute(model, place, given) for model in apart]
        for threads in (1, 3):
            found = compute(together, place, given, threads=threads)
            for name, single in EACH.items():
                np.testing.assert_array_equal(found[name], [result[single] for result in alone])
            for name in ("range", "range_worst"):
                np.testing.assert_array_equal(found[name], np.concatenate([result[name] for result in alone]))
            for name in set(alone[0]) - {"range", "range_worst", "dropped"}:
                expected = np.mean([result[name] for result in alone], axis=0)
                np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12)
            spread = found["forces"] - found["force"]
            expected = np.sqrt((spread**2).sum(axis=2).mean(axis=0))
            np.testing.assert_allclose(found["force_devi"], expected, rtol=1e-12)
            assert (found["dropped"] > 0) == (alone[0]["dropped"] > 0)


def test_systems_of_any_size_in_one_workspace():
    apart, together = loaded("plain", "float64")
    workspace = _core.Workspace(together)
    for count in (40, 1, 0):
        coord, atype = randommodels.atoms(randommodels.CELLS["open"], count)
        found = workspace.compute(coord, atype)
        for k, model in enumerate(apart):
            alone = _core.Workspace(model).compute(coord, atype)
            np.testing.assert_array_equal(found["forces"][k], alone["force"])
            assert found["energies"][k] == alone["energy"]


# ---- what is refused -----------------------------------------------------------------------------


def named(model, path):
    return replace(model, source=replace(model.source, path=path))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (random_model(seed=1, types=3), "its type map is A B C, that of a.pb is A B"),
        (random_model(seed=1, cutoff=3.0), "its cutoff in Å is 3.0, that of a.pb is 4.0"),
        (random_model("se_atten", seed=1), "its descriptor is se_atten, that of a.pb is se_e2_a"),
        (random_model(seed=1, fitting="dipole"), "its kind is dipole, that of a.pb is ener"),
        (random_model(seed=1, precision="float32"), "its precision is float32"),
        (random_model(seed=1, width=16), "the number of its channels is 16"),
        (random_model(seed=1, axis=4), "its axis is 4"),
        (random_model(seed=1, sel=(5, 6)), "its sel is 5 6"),
        (random_model(seed=1, fparam=2), "the number of its fparam is 2"),
        (random_model("se_e2_a+se_e2_r", seed=1), "the number of its descriptors is 2"),
        (KINDS["two terms"](1), "the number of its terms is 2"),
        (KINDS["pair table"](1), "whether it has a pair table is True"),
    ],
)
def test_models_of_another_architecture_are_named(other, words):
    with pytest.raises(ModelError, match="^b.pb: ") as raised:
        join([named(random_model(), "a.pb"), named(other, "b.pb")])
    assert words in str(raised.value)


def test_only_energies_make_an_ensemble():
    dipole = named(random_model(fitting="dipole"), "a.pb")
    with pytest.raises(ModelError, match="a.pb: is a model of kind dipole"):
        join([dipole, dipole])


def test_one_model_is_no_ensemble():
    model = random_model()
    assert join([model]) is model


@pytest.mark.parametrize("numbers", [(0, 2, 2), (0, 1, 0), (0, -1, 1)])
def test_models_out_of_order_are_refused(numbers):
    proto = onnx.load_from_string(file_of(join(seeds(KINDS["plain"]))))
    nodes = [node for node in proto.graph.node if node.op_type == "EnergyForce"]
    for node, number in zip(nodes, numbers, strict=True):
        (layout,) = node.attribute
        layout.s = json.dumps(json.loads(layout.s) | {"model": number}).encode()
    with pytest.raises(ModelError, match="the models of the ensemble are out of order"):
        _core.Model(digest.serialise(proto))


def test_an_uncompressed_ensemble_is_no_input(tmp_path):
    model = join(seeds(KINDS["plain"]))
    onnxfile.write(graph.uncompressed(model), tmp_path / "all.onnx")
    with pytest.raises(ModelError, match=r"all.onnx: is an ensemble: give the trained models"):
        readers.read(tmp_path / "all.onnx")


# ---- onnxruntime ---------------------------------------------------------------------------------


@pytest.mark.parametrize("interface", ["cell", "pairs"])
@pytest.mark.parametrize("kind", ["plain", "hybrid", "two terms", "pair table", "spin"])
def test_onnxruntime_with_our_library_and_without(kind, interface):
    file = file_of(join(seeds(KINDS[kind])), interface=interface)
    native = _core.Model(file)
    (coord, atype, cell), given = system(native, "triclinic", 10)
    expected = compute(native, (coord, atype, cell), given)
    feed = {"coord": coord, "atype": atype, "cell": cell, **given}
    if interface == "pairs":
        reach = native.cutoff + 3 * float(native.spin_scale is not None)
        arrays = _core.Neighbours().build(coord, cell, reach).arrays()
        feed |= dict(zip(("pair_first", "pair_index", "pair_shift"), arrays, strict=True))
    for library in (True, False):
        session = ort.session(file, library=library)
        names = [output.name for output in session.get_outputs()]
        assert set(names) == set(expected) - {"dropped"}
        for name, value in zip(names, session.run(names, feed), strict=True):
            scale = max(1, np.abs(expected[name]).max())
            np.testing.assert_allclose(np.squeeze(value), np.squeeze(expected[name]), rtol=0, atol=1e-10 * scale)


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """NAME.onnx of each model, ensemble.onnx of all, and systems."""
    folder = tmp_path_factory.mktemp("ensemble")
    ensembles.compress_all(folder)
    write_systems(folder / "systems")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def frame(here):
    """Coordinates [2, 36], boxes [2, 9] and types [12]."""
    part = here / "systems/a/triclinic"
    coord, box = (np.load(part / f"set.000/{name}.npy") for name in ("coord", "box"))
    return coord, box, np.loadtxt(part / "type.raw", dtype=int)


SINGLE = [f"{name}.onnx" for name in ensembles.NAMES]


@pytest.mark.parametrize("runtime", ["native", "onnxruntime"])
def test_means_and_each_model_from_python(here, runtime):
    ensemble = co.DeepPot("ensemble.onnx", runtime=runtime)
    results = [co.DeepPot(name, runtime=runtime).eval(*frame(here), atomic=True) for name in SINGLE]
    assert ensemble.models == 3
    found = ensemble.eval_models(*frame(here), atomic=True)
    for name, values in zip(("energies", "forces", "virials"), zip(*results, strict=True), strict=False):
        np.testing.assert_array_equal(found[name], np.stack(values, axis=1))
    for values, each in zip(ensemble.eval(*frame(here), atomic=True), zip(*results, strict=True), strict=True):
        np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=0, atol=1e-13 * np.abs(values).max())
    forces = found["forces"]
    spread = np.linalg.norm(forces - forces.mean(axis=1, keepdims=True), axis=-1)
    np.testing.assert_allclose(found["force_devi"], np.sqrt((spread**2).mean(axis=1)), rtol=1e-11)
    assert found["force_devi"].min() > 1e-3  # the models differ


@pytest.mark.parametrize("size", [1.0, 0.8])
def test_folded_models_where_some_atoms_leave_the_fold(here, size):
    coord, box, types = frame(here)
    place = size * coord[0].reshape(-1, 3), types, size * box[0].reshape(3, 3)
    alone = [compute(_core.Model(name), place, {}) for name in SINGLE]
    close = [result["range"][:, 2].sum() for result in alone]
    assert all(close) if size < 1 else not any(close)
    for threads in (1, 2):
        found = compute(_core.Model("ensemble.onnx"), place, {}, threads=threads)
        for name, single in EACH.items():
            np.testing.assert_array_equal(found[name], [result[single] for result in alone])


def test_a_single_model_is_one_of_one(here):
    potential = co.DeepPot("second.onnx")
    found, expected = potential.eval_models(*frame(here)), potential.eval(*frame(here))
    assert potential.models == 1
    for name, values in zip(("energies", "forces", "virials"), expected, strict=True):
        np.testing.assert_array_equal(found[name][:, 0], values)
    assert not found["force_devi"].any()


def test_model_deviation_of_the_one_file_is_that_of_the_separate_ones(here, capsys):
    for models, out in ((SINGLE, "apart.out"), (["ensemble.onnx"], "together.out")):
        options = ["-s", "systems", "--atomic", "--relative", "0.1", "-o", out]
        assert main(["model-devi", "-m", *models, *options]) == 0
    assert (here / "apart.out").read_text() == (here / "together.out").read_text()
    models = [co.DeepPot(name) for name in SINGLE]
    apart = co.calc_model_devi(*frame(here), models, atomic=True)
    for given in ([co.DeepPot("ensemble.onnx")], [co.DeepPot("ensemble.onnx", runtime="onnxruntime")]):
        np.testing.assert_array_equal(co.calc_model_devi(*frame(here), given, atomic=True), apart)
    mixed = co.calc_model_devi(*frame(here), [co.DeepPot("ensemble.onnx"), *models], atomic=True)
    np.testing.assert_allclose(mixed, apart, rtol=1e-9)  # each model twice


def test_the_calculator_says_how_far_forces_differ(here):
    coord, box, types = frame(here)
    atoms = Atoms(np.array(["O", "H"])[types], coord[0].reshape(-1, 3), cell=box[0].reshape(3, 3), pbc=True)
    atoms.calc = DP("ensemble.onnx")
    expected = co.DeepPot("ensemble.onnx").eval_models(*frame(here))
    np.testing.assert_allclose(atoms.get_forces(), expected["force"][0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(atoms.calc.results["forces_deviation"], expected["force_devi"][0], rtol=1e-9)
    atoms.calc = DP("first.onnx")
    atoms.get_forces()
    assert "forces_deviation" not in atoms.calc.results


def test_compressed_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    originals = list(map(str, ensembles.write_originals(tmp_path)))
    assert main(["-i", *originals, "-o", "model", "--report", "report.json"]) == 0
    assert "model.onnx: " in (told := capsys.readouterr().out)
    assert "3 models, float64" in told
    facts, report = read_metadata("model.onnx"), json.loads((tmp_path / "report.json").read_text())
    assert facts["models"] == "3"
    assert [source["format"] for source in json.loads(facts["source"])] == ["pytorch .pth", "onnx", "onnx"]
    names = [table["name"] for table in json.loads(facts["tables"])]
    assert names == 3 * names[: len(names) // 3] == [table["name"] for table in report["tables"]]
    assert report["input"] == originals
    assert report["models"] == 3
    assert report["ok"]
    assert report["validation"]["error"] < 1e-8
    test = json.loads(facts["self_test"])
    energy, *_ = co.DeepPot("model.onnx").eval(np.array(test["coord"])[None], None, test["atype"])
    assert abs(energy.item() - test["energy"]) < 1e-8
    assert main(["inspect", "model.onnx"]) == 0
    assert "3, an ensemble: results are means" in capsys.readouterr().out
    assert main(["validate", "-i", *originals, "-m", "model.onnx"]) == 0
    assert capsys.readouterr().out.count("within the tolerance") == 3
    assert main(["validate", "-i", *originals[::-1], "-m", "model.onnx"]) == 1  # each with another's original
    assert main(["validate", "-i", originals[0], "-m", "model.onnx"]) == 2
    assert "holds 3 models, and 1 originals are given" in capsys.readouterr().err
    assert main(["validate", "-i", *originals, "-m", "model.onnx", "--html", "page.html"]) == 2
    assert "only single models are drawn" in capsys.readouterr().err
    assert main(["bench", "-m", "model.onnx", "--atoms", "96", "--seconds", "0.01"]) == 0


def test_compressed_and_checked_in_full(tmp_path):
    originals = ensembles.write_originals(tmp_path)[:2]
    report = co.compress(originals, tmp_path / "model.onnx", check="full", precision="mixed", step=0.02, fold=False)
    assert report.ok
    assert report.models == 2
    assert report.fold is None
    assert report.force_bound > report.force_error


def test_refusals_write_nothing(tmp_path):
    with pytest.raises(ModelError, match=r"water_f32.pb: its precision is float32, that of .*water.pth is float64"):
        co.compress([MODELS / "water.pth", MODELS / "water_f32.pb"], tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"alloy.pth: its type map is"):
        co.compress([MODELS / "water.pth", MODELS / "alloy.pth"], tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="there is no model to compress"):
        co.compress([], tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="an ensemble gives several"):
        co.compress([MODELS / "water.pth"] * 2, tmp_path / "a.onnx", interface="openmm")
    (tmp_path / "a.onnx").write_bytes((MODELS / "water.pth").read_bytes())
    with pytest.raises(ValueError, match="the output is the input"):
        co.compress([MODELS / "water.pth", tmp_path / "a.onnx"], tmp_path / "a.onnx")
