"""Model deviation: numbers and files of the peer, formulas against numpy's, and every way to ask wrongly."""

from pathlib import Path

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx.cli import main
from compress_onnx.deviation import model_devi
from systems import PEER, assert_same, write, write_systems


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two compressed models and systems."""
    folder = tmp_path_factory.mktemp("deviation")
    for name in ("water.pth", "water_tf.pb"):
        co.compress(MODELS / name, folder / f"{name.split('.')[0]}.onnx", check="none")
    write_systems(folder / "systems")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for file in folder.glob("*.out"):
        file.unlink()
    return folder


TWO = ["-m", "water.onnx", "water_tf.onnx"]


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("devi.out", [[*TWO, "-s", "systems/a", "-f", "10"]]),
        ("devi_atomic.out", [[*TWO, "-s", "systems/a/cluster", "--atomic"]]),
        ("devi_mixed.out", [["-m", "water.onnx", "-s", "systems/mixed", "--real_error", "--atomic"]]),
        (
            "devi_relative.out",
            [[*TWO, "-s", "systems/a/cluster", "--relative", "0.5", *more] for more in ([], ["--real_error"])],
        ),
    ],
)
def test_files_of_the_peer(here, file, runs, capsys):
    for arguments in runs:
        assert main(["model-devi", *arguments, "-o", file]) == 0
    assert not capsys.readouterr().err
    assert_same((here / file).read_text(), (PEER / file).read_text(), 1e-8)


def triclinic(here):
    part = here / "systems/a/triclinic"
    coord, box = (np.load(part / f"set.000/{name}.npy") for name in ("coord", "box"))
    return coord, box, np.loadtxt(part / "type.raw", dtype=int)


def models(here):
    return [co.DeepPot(here / name) for name in ("water.onnx", "water_tf.onnx")]


def test_from_python_as_the_peer(here):
    coord, box, types = triclinic(here)
    found = co.calc_model_devi(coord[:1], box[:1], types, models(here), "v.out", 3, relative=0.5, relative_v=0.1)
    assert found.shape == (1, 8)
    assert_same((here / "v.out").read_text(), (PEER / "devi_relative_v.out").read_text(), 1e-8)


@pytest.mark.parametrize("real", [False, True])
def test_formulas(here, real):
    coord, box, types = triclinic(here)
    rng = np.random.default_rng(1)
    data = {"energy": rng.normal(size=(2, 1)), "force": rng.normal(size=(2, 12, 3)), "virial": rng.normal(size=(2, 9))}
    found = co.calc_model_devi(
        coord, box, types, models(here), None, 5, real_data=data if real else None, atomic=True, relative_v=0.3
    )
    for k in range(2):
        results = [model.eval(coord[k : k + 1], box[k : k + 1], types) for model in models(here)]
        energy, force, virial = (np.array([result[i][0] for result in results]) for i in range(3))
        parts = {"energy": energy / 12, "force": force, "virial": virial / 12}
        centre = {name: data[name][k] if real else values.mean(axis=0) for name, values in parts.items()}
        spread = {name: np.sqrt(((values - centre[name]) ** 2).mean(axis=0)) for name, values in parts.items()}
        v = spread["virial"] / (np.sqrt((centre["virial"] ** 2).sum()) + 0.3)
        f = np.sqrt((spread["force"] ** 2).sum(axis=1))
        expected = [5 * k, v.max(), v.min(), np.sqrt((v**2).mean()), f.max(), f.min(), f.mean(), *spread["energy"], *f]
        np.testing.assert_allclose(found[k], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["spin.pth", "parameters.pth"])
def test_what_else_models_take_is_in_the_data(here, name):
    """The same model twice, with what its frames have beside coordinates, from .raw files."""
    frame = next(frame for frame in frames_of_model(MODELS / name) if frame.group == "periodic")
    co.compress(MODELS / name, "other.onnx", check="none")
    folder = here / "raw" / Path(name).stem
    folder.mkdir(parents=True)
    np.savetxt(folder / "type.raw", frame.atype, fmt="%d")
    given = {"coord": frame.coord, "box": frame.cell, "force": frame.force, "virial": frame.virial}
    given |= {"energy": frame.energy, "spin": frame.spin, "fparam": frame.fparam, "aparam": frame.aparam}
    for key, values in given.items():
        if values is not None:
            np.savetxt(folder / f"{key}.raw", np.ravel(values)[None])
    ((_, found),) = model_devi(["other.onnx"], folder, "raw.out", real_error=True).items()
    assert found[:, 1:].max() < 1e-8
    ((_, found),) = model_devi(["other.onnx"] * 2, folder, "raw.out").items()
    assert not found.any()


def test_the_same_model_twice_does_not_deviate(here):
    coord, box, types = triclinic(here)
    assert not co.calc_model_devi(coord, box, types, models(here)[:1] * 2)[:, 1:].any()


def test_systems_below_and_frames_of_several_sets(here):
    assert main(["model-devi", *TWO, "-s", "systems", "-f", "4", "-o", "all.out"]) == 0
    lines = (here / "all.out").read_text().splitlines()
    assert lines[::4] == ["# systems/a/cluster", "# systems/a/triclinic", "# systems/mixed"]
    assert [line.split()[0] for line in lines if line[0] == " "] == ["0", "4"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "water.onnx"], "a single model deviates from nothing"),
        ([*TWO, "-s", "empty"], "empty: no system folder"),
        ([*TWO, "-s", "nothing"], "nothing: no system folder"),
        (["-m", "water.onnx", "alloy.onnx"], "alloy.onnx: its types are not those of water.onnx"),
        (["-m", "water.onnx", "missing.onnx"], "missing.onnx"),
        ([*TWO, "-s", "bare", "--real_error"], "bare: real errors need energy and virial in every set"),
        ([*TWO, "-s", "unnumbered"], "unnumbered: type.raw has types beyond the 2 known ones"),
    ],
)
def test_errors_are_one_sentence_and_write_nothing(here, capsys, arguments, message):
    (here / "empty").mkdir(exist_ok=True)
    if not (here / "alloy.onnx").exists():
        co.compress(MODELS / "alloy.pth", "alloy.onnx", check="none")
        for name in ("bare", "unnumbered"):
            write(here / name, "cluster", sets=(1,))
        for name in ("energy", "virial"):
            (here / f"bare/set.000/{name}.npy").unlink()
        (here / "unnumbered/type.raw").write_text("2\n" * 27)
    system = [] if "-s" in arguments else ["-s", "systems"]
    assert main(["model-devi", *arguments, *system, "-o", "x.out"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (here / "x.out").exists()
