"""The command: its jobs, its defaults, what it prints where, and one sentence for everything that can go wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from compress_onnx.cli import main
from test_compress import smooth_tree
from test_distance import write_system


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A folder with model.dp and, compressed, model.onnx."""
    folder = tmp_path_factory.mktemp("cli")
    tiny.write_dp(smooth_tree(), str(folder / "model.dp"))
    assert main(["-i", str(folder / "model.dp"), "-o", str(folder / "model.onnx")]) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, ready):
    """The current folder, holding model.dp alone."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ready / "model.dp", tmp_path)
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_compress_says_what_it_made(here, capsys):
    assert main(["-i", "model.dp", "-o", "out.onnx", "--report", "report.json"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("out.onnx: ") and out.count("\n") == 1 and not err
    assert json.loads((here / "report.json").read_text())["ok"]
    assert files(here) == ["model.dp", "out.onnx", "report.json"]


def test_names_as_the_peer_has_them(here, capsys):
    """Without names, frozen_model.SUFFIX becomes frozen_model_compressed.onnx."""
    (here / "model.dp").rename("frozen_model.dp")
    assert main(["--check", "none"]) == 0
    assert files(here) == ["frozen_model.dp", "frozen_model_compressed.onnx"]
    assert main(["-i", "frozen_model", "-o", "other", "-s", "0.01", "-e", "4", "-f", "10", "-c", "unused"]) == 0
    assert "other.onnx" in files(here)
    capsys.readouterr()


def test_flags_reach_the_compression(here):
    arguments = ["--precision", "mixed", "--interface", "pairs", "--accuracy", "1e-4", "--min-distance", "0.6"]
    assert main(["-i", "model.dp", "-o", "out", "--report", "r.json", "--check", "none", "--no-fold", *arguments]) == 0
    report = json.loads((here / "r.json").read_text())
    expected = {"precision": "mixed", "interface": "pairs", "accuracy": 1e-4, "min_distance": 0.6, "validation": None}
    assert {key: report[key] for key in expected} == expected


def test_warnings_go_to_stderr(here, capsys):
    assert main(["-i", "model.dp", "-o", "out.onnx", "--step", "1"]) == 0
    assert capsys.readouterr().err.startswith("warning: the tables add a force error")


def test_training_script(here, capsys):
    tiny.write_dp(tiny.changed(smooth_tree(), "@variables.min_nbor_dist", KeyError), "model.dp")
    write_system(here / "data", np.array([[[0, 0, 0], [0.8, 0, 0]]]))
    (here / "input.yaml").write_text("training: {training_data: {systems: [data]}}\n")
    assert main(["-i", "model.dp", "-t", "input.yaml", "-o", "out", "--check", "none", "--report", "r.json"]) == 0
    assert json.loads((here / "r.json").read_text())["min_distance"] == pytest.approx(0.8)
    assert not capsys.readouterr().err


def test_inspect_an_original_and_a_file_of_ours(ready, here, capsys):
    assert main(["inspect", "model"]) == 0
    original = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    assert original["types"] == "A B" and original["cutoff"].startswith("3 Å") and original["compresses"] == "yes"
    assert main(["inspect", str(ready / "model.onnx")]) == 0
    ours = capsys.readouterr().out
    assert "compressed, written by" in ours and "filter_0_net_1" in ours and "measured" in ours


def test_convert_and_inspect(here, capsys):
    assert main(["convert", "-i", "model.dp", "-o", "plain"]) == 0
    assert main(["inspect", "plain.onnx"]) == 0
    assert "uncompressed, written by" in capsys.readouterr().out


def test_validate(ready, here, capsys):
    compressed = str(ready / "model.onnx")
    assert main(["validate", "-i", "model.dp", "-m", compressed]) == 0
    assert "within the tolerance" in capsys.readouterr().out
    assert main(["validate", "-i", "model.dp", "-m", compressed, "--tolerance", "1e-16"]) == 1
    assert "BEYOND the tolerance" in capsys.readouterr().out
    write_system(here / "system", np.random.default_rng(0).uniform(0, 5, (2, 6, 3)), types=[0, 1, 0, 1, 1, 1])
    assert main(["validate", "-i", "model.dp", "-m", compressed, "-s", "system", "--check", "full"]) == 0
    assert "differences of the energy" in capsys.readouterr().out


def test_paths(capsys):
    names = ["libdpc", "libdpc_ort", "libdpc_cuda", "include", "cmake", "pkgconfig", "sources"]
    assert main(["paths"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["paths", "--json"]) == 0
    paths = json.loads(capsys.readouterr().out)
    assert list(paths) == names
    for name in names:
        if name == "libdpc_cuda" and paths[name] is None:
            continue
        assert main(["paths", name]) == 0
        assert capsys.readouterr().out.strip() == paths[name]
        assert Path(paths[name]).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-i", "nowhere"], "nowhere: no such file"),
        (["-i", "model.dp", "-o", "out.onnx", "--accuracy", "-1"], "accuracy must be positive"),
        (["-i", "model.dp", "-o", "out.onnx", "--step", "0"], "step must be positive"),
        (["-i", "model.dp", "-o", "out.onnx", "--step", "0.1", "--accuracy", "1e-9"], "exclude each other"),
        (["-i", "model.dp", "-o", "out.onnx", "-e", "0"], "extrapolate must be at least 1"),
        (["-i", "model.dp", "-o", "nowhere/out.onnx"], "nowhere"),
        (["-i", "model.dp", "-o", "folder.onnx"], "folder"),
        (["-i", "text.pb", "-o", "out.onnx"], "text.pb"),
        (["-i", "empty.pb", "-o", "out.onnx"], "empty"),
        (["-i", "half.dp", "-o", "out.onnx"], "half.dp"),
        (["convert", "-i", "text.pb", "-o", "out"], "text.pb"),
        (["inspect", "nowhere"], "nowhere: no such file"),
        (["inspect", "text.pb"], "text.pb"),
        (["validate", "-i", "model.dp", "-m", "nowhere.onnx"], "nowhere.onnx"),
        (["validate", "-i", "model.dp", "-m", "text.pb"], "text.pb"),
    ],
)
def test_an_error_is_one_sentence_and_leaves_nothing(here, capsys, arguments, says):
    (here / "folder.onnx").mkdir()
    (here / "text.pb").write_text("not a model\n")
    (here / "empty.pb").touch()
    (here / "half.dp").write_bytes((here / "model.dp").read_bytes()[:3000])
    before = files(here)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and says in err and "Traceback" not in err
    assert files(here) == before and not list((here / "folder.onnx").iterdir())


def test_output_equal_to_input(here, capsys):
    (here / "model.dp").rename("model.onnx")
    before = (here / "model.onnx").read_bytes()
    assert main(["-i", "model.onnx", "-o", "model"]) == 2
    assert "the output is the input" in capsys.readouterr().err
    assert (here / "model.onnx").read_bytes() == before


@pytest.mark.parametrize("arguments", [["--precision", "half"], ["--unknown"], ["--accuracy", "small"], ["validate"]])
def test_what_the_parser_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: compress-onnx" in capsys.readouterr().err


def test_help_names_every_job(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"compress-onnx {job} " in shown for job in ("inspect", "convert", "validate", "paths"))


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys, compress_onnx; print(sorted({'numpy', 'onnx', 'onnxruntime', 'h5py', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names():
    import compress_onnx as co

    assert set(co.__all__) <= set(dir(co)) and all(hasattr(co, name) for name in co.__all__)
    assert callable(co.compress)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        co.nothing  # noqa: B018
