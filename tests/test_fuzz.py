"""test_fuzz - the seeds of fuzzing, and inputs that once broke something; then fuzzing for seconds (tests/fuzz/run.py)."""

import contextlib
import sys

import pytest
from compress_onnx import _core, readers
from compress_onnx.model import ModelError
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests/fuzz"))
import run
import seeds

SECONDS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    seeds.write(folder)
    return folder


@pytest.mark.parametrize("name", ["angles", *seeds.KINDS])
def test_fuzzing_begins_with_models(name, folder):
    assert _core.Model((folder / "c" / name).read_bytes())
    for target in ("dp", "yaml"):
        assert readers.read(folder / target / name).type_map == ("A", "B")


@pytest.mark.parametrize("target", ["pb", "pbtxt", "pth", "pt"])
def test_fuzzing_begins_with_what_is_read(target, folder):
    found = []
    for file in (folder / target).iterdir():
        with contextlib.suppress(ModelError):
            found.append(readers.read(file).source.format)
    assert found and {name.split(".")[-1] for name in found} == {target}


@pytest.mark.parametrize("target", seeds.TARGETS)
def test_known_inputs(target, folder):
    if target == "c" and (missing := run.needs(target)):
        pytest.skip(f"{missing} is not installed")
    done = run.replay(target, folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("target", seeds.TARGETS)
def test_fuzzing(target, folder, tmp_path):
    if missing := run.needs(target):
        pytest.skip(f"{missing} is not installed")
    done = run.fuzz(target, folder, SECONDS, tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
