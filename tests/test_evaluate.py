"""Errors on data: numbers and files of the peer, layouts that mean the same, sums over systems, and wrong data."""

import shutil
from pathlib import Path

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS
from compress_onnx.cli import main
from compress_onnx.evaluate import Error, evaluate, total
from compress_onnx.model import ModelError
from compress_onnx.system import LABELS
from systems import PEER, assert_same, write, write_systems


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate") / "water.onnx"
    co.compress(MODELS / "water.pth", path, check="none")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with systems."""
    monkeypatch.chdir(tmp_path)
    write_systems(tmp_path / "systems")
    return tmp_path


def lines_with_numbers(text):
    return [line.strip() for line in text.splitlines() if " : " in line]


@pytest.mark.parametrize(
    ("file", "arguments"), [("test.txt", ["-s", "systems/a"]), ("test_mixed.txt", ["-s", "systems/mixed", "-n", "1"])]
)
def test_numbers_of_the_peer(model, here, capsys, file, arguments):
    assert main(["test", "-m", str(model), *arguments]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert_same(*("\n".join(lines_with_numbers(text)) for text in (out, (PEER / file).read_text())), 1e-8)


def test_files_of_the_peer(model, here):
    evaluate(model, ["systems/a"], details="details.old")
    written = {file.name.removeprefix("details"): file.read_text() for file in here.glob("details*")}
    expected = {file.name.removeprefix("test"): file.read_text() for file in PEER.glob("test.*.out")}
    assert written.keys() == expected.keys() and len(written) == 6
    for suffix, text in written.items():
        assert_same(text, expected[suffix], 1e-8)


@pytest.mark.parametrize("name", ["spin", "dos", "dipole", "polar"])
def test_other_kinds_of_models(here, capsys, name):
    """Lines and files of the peer: forces on spins, densities of states, tensors."""
    co.compress(next(path for path in MODELS.glob(f"{name}.*") if path.suffix != ".npz"), "model.onnx", check="none")
    for group, sets in (("cluster", (1,)), ("triclinic", (1, 1))):
        write(here / "kinds" / group, group, sets, order=(1, 0), model=name)
    assert main(["test", "-m", "model.onnx", "-s", "kinds", "-d", "details"]) == 0
    expected = (PEER / f"{name}.txt").read_text()
    assert_same("\n".join(lines_with_numbers(capsys.readouterr().out)), "\n".join(lines_with_numbers(expected)), 1e-8)
    written = {file.name.removeprefix("details"): file.read_text() for file in here.glob("details*")}
    files = {file.name.removeprefix(name): file.read_text() for file in PEER.glob(f"{name}.*") if file.suffix != ".txt"}
    assert written.keys() == files.keys() and len(written) > 1
    for suffix, text in written.items():
        assert_same(text, files[suffix], 1e-8)


def test_properties_have_no_name(here):
    co.compress(MODELS / "property.pth", "model.onnx", check="none")
    with pytest.raises(ModelError, match="model.onnx: is of kind property, whose data have no name that its file says"):
        evaluate("model.onnx", ["systems"])


def test_raw_files_are_a_set(model, here):
    for name in ("triclinic", "cluster", "mixed"):
        folder = here / "systems/mixed" if name == "mixed" else here / "systems/a" / name
        raw = here / "raw" / name
        raw.mkdir(parents=True)
        for file in folder.iterdir():
            if file.is_file():
                shutil.copy(file, raw)
        for file in (folder / "set.000").iterdir():
            sets = [np.load(part / file.name) for part in sorted(folder.glob("set.*"))]
            np.savetxt(raw / f"{file.stem}.raw", np.concatenate(sets))
        assert one(model, raw) == one(model, folder)


def one(model, folder, **keywords):
    (found,) = evaluate(model, [folder], **keywords).values()
    return found


def test_formulas_without_atoms_and_with(model, here):
    """mixed: the error of a virtual atom's force is that of no force, and it counts in Natoms."""
    part = here / "systems/mixed/set.000"
    coord, box, energy, force, virial = (np.load(part / f"{name}.npy") for name in ("coord", "box", *LABELS))
    types = 1 - np.load(part / "real_atom_types.npy")[0, :-1]
    found = one(model, here / "systems/mixed").errors
    e, f, v = co.DeepPot(model).eval(coord.reshape(2, 12, 3)[:, :-1], box, types)
    difference = np.concatenate([f.reshape(2, -1), np.zeros((2, 3))], axis=1) - force
    volume = np.linalg.det(box.reshape(2, 3, 3))[:, None]
    expected = {
        "energy": e - energy,
        "energy_per_atom": (e - energy) / 12,
        "force": difference,
        "virial": v - virial,
        "virial_per_atom": (v - virial) / 12,
        "stress": (v - virial) / volume,
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].mae == pytest.approx(np.abs(values).mean(), rel=1e-10), name
        assert found[name].rmse == pytest.approx(np.sqrt((values**2).mean()), rel=1e-10), name
        assert found[name].count == values.size


def test_a_sum_is_the_error_of_everything_together():
    values = np.random.default_rng(0).normal(size=50)
    added, whole = Error.of(values[:7]) + Error.of(values[7:]), Error.of(values)
    assert added.count == 50
    np.testing.assert_allclose([added.mae, added.rmse], [whole.mae, whole.rmse], rtol=1e-14)


def test_first_frames(model, here):
    assert one(model, here / "systems/a/cluster", frames=1).frames == 1
    assert one(model, here / "systems/a/cluster", frames=5).frames == 2
    shutil.rmtree(here / "systems/a/cluster/set.001")
    assert one(model, here / "systems/a/cluster") == one(model, here / "systems/a/cluster", frames=1)


def test_what_is_missing_is_left_out(model, here):
    write(here / "bare", "triclinic", sets=(1,))
    (here / "bare/set.000/energy.npy").unlink()
    (here / "bare/set.000/virial.npy").unlink()
    found = evaluate(model, ["bare", "systems/a/triclinic"], details="d")
    assert found[Path("bare")].errors.keys() == {"force"}
    both = total(found.values())
    assert both.frames == 3 and both.errors["energy"].count == 2 and both.errors["force"].count == 3 * 36
    assert np.loadtxt("d.e.out")[:, 0].tolist()[0] == 0
    assert np.loadtxt("d.s.out").shape == (2, 18)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "type.raw").unlink(), "no system folder, which has a file type.raw"),
        (lambda folder: shutil.rmtree(folder / "set.001"), None),
        (lambda folder: (folder / "set.001/force.npy").unlink(), "its sets do not all have the same of energy, force"),
        (lambda folder: [file.unlink() for name in LABELS for file in folder.glob(f"*/{name}.npy")], "nothing to compare"),
        (lambda folder: np.save(folder / "set.000/force.npy", np.zeros((1, 80))), "set.000: not a readable set of frames"),
        (lambda folder: (folder / "type_map.raw").write_text("O N"), "the model has no types N"),
        (lambda folder: [shutil.rmtree(part) for part in folder.glob("set.*")], "neither a folder set.* nor coord.raw"),
    ],
)  # fmt: skip
def test_wrong_data_is_named(model, here, spoil, message):
    folder = here / "systems/a/cluster"
    spoil(folder)
    if message is None:
        assert one(model, folder).frames == 1
        return
    with pytest.raises(ModelError, match=message.replace("*", r"\*")) as error:
        evaluate(model, [folder], details="details")
    assert str(folder) in str(error.value) and str(error.value).count(". ") == 0
    assert not list(here.glob("details*"))


def test_command_tells_close_atoms_and_wrong_arguments(model, here, capsys):
    for file in here.glob("systems/a/cluster/set.*/coord.npy"):
        coord = np.load(file).reshape(1, -1, 3)
        coord[0, 1] = coord[0, 0] + 0.01
        np.save(file, coord)
    assert main(["test", "-m", str(model), "-s", "systems/a"]) == 0
    first, more = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: ") and "outside the tables" in first and more == "warning: 1 more of this kind"
    with pytest.raises(SystemExit):
        main(["test", "-m", str(model), "-n", "-1"])
    assert "-1 is not a number of frames" in capsys.readouterr().err
    assert main(["test", "-m", "missing.onnx", "-s", "systems"]) == 2
    assert "missing.onnx" in capsys.readouterr().err
