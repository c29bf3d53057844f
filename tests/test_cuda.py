"""cuda/ on the host, at one lane to a warp and at 32, with sanitizers: each stage, and whole models against the CPU."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import cudahost
import pytest
from compress_onnx import _core
from compress_onnx.lib import path
from compress_onnx.model import ModelError
from conftest import ROOT
from coremodels import loaded, onnx_bytes

STAGES = sorted((ROOT / "tests/c").glob("test_cuda_*.cpp"))
BACKWARD = {"DPC_HOST_BACKWARD": "1"}  # threads in the other order: what depends on it lacks a barrier


class Built:
    """libdpc_cuda and the programs that test its stages, for warps of so many lanes, in a folder."""

    def __init__(self, folder: Path, warp: int):
        parts = cudahost.objects(folder, warp, *cudahost.SANITIZED)
        self.library = cudahost.link(folder / "libdpc_cuda.so", parts, "-shared", *cudahost.SANITIZED)
        here = path("libdpc").parent  # what stages are compared with
        core = [f"-L{here}", "-l:libdpc.so", f"-Wl,-rpath,{here}"]
        sources = [*STAGES, ROOT / "tests/c/cuda_arrays.cpp"]
        self.programs = {}
        for source, made in zip(sources, cudahost.compiled(folder, sources, warp, *cudahost.SANITIZED), strict=True):
            program = folder / source.stem
            self.programs[source.stem] = cudahost.link(program, [made, *parts], *cudahost.SANITIZED, *core)


@pytest.fixture(scope="module", params=[1, 32], ids=["warp 1", "warp 32"])
def warp(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def built(warp, tmp_path_factory) -> Built:
    return Built(tmp_path_factory.mktemp(f"warp{warp}"), warp)


def run(*command, **environment):
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=280, env=os.environ | environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


@pytest.mark.parametrize("order", [{}, BACKWARD], ids=["forward", "backward"])
@pytest.mark.parametrize("name", [source.stem for source in STAGES])
def test_stages(name, order, warp, built):
    if order and warp == 1:
        pytest.skip("a warp of one lane has one order")
    run(built.programs[name], **order)


def on_device(built: Built, *arguments: str, **environment) -> str:
    """tests/cuda_models.py in a Python that has the sanitizers' runtime, so that their checks of memory are in force."""
    runtimes = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    environment |= {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "DPC_CUDA_LIBRARY": str(built.library),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return run(sys.executable, ROOT / "tests/cuda_models.py", *arguments, **environment)


def test_models(warp, built):
    out = on_device(built) if warp == 1 else on_device(built, "--sample", **BACKWARD)
    assert re.search(r"\d+ models, 0 differ", out)


def test_arrays_of_the_device(built, tmp_path):
    """Lists as LAMMPS has them, and dpc_cuda_compute."""
    for name in ("plain", "hybrid", "dipole"):
        (tmp_path / "model.onnx").write_bytes(onnx_bytes(name))
        run(built.programs["cuda_arrays"], tmp_path / "model.onnx", DPC_CUDA_LIBRARY=str(built.library))


def test_without_a_library(monkeypatch, tmp_path):
    model = loaded()
    monkeypatch.setenv("DPC_CUDA_LIBRARY", str(tmp_path / "missing.so"))
    with pytest.raises(ModelError, match="DPC_CUDA_LIBRARY cannot be loaded: .*missing.so"):
        _core.Workspace(model, "cuda:0")
    monkeypatch.setenv("DPC_CUDA_LIBRARY", str(path("libdpc")))
    with pytest.raises(ModelError, match="of another version"):
        _core.Workspace(model, "cuda:0")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:0 ", "cuda0", ""])
def test_wrong_names(name):
    with pytest.raises(ValueError, match="a device is cpu or cuda:NUMBER"):
        _core.Workspace(loaded(), name)


@pytest.fixture
def library() -> Path:
    try:
        return path("libdpc_cuda")
    except FileNotFoundError:
        pytest.skip("this build has no libdpc_cuda: there was no nvcc, or COMPRESS_ONNX_CUDA was off")


def test_nvcc_built_it(library):
    """Loading it needs no driver, and it exports what its header declares."""
    header = (ROOT / "cuda/dpc_cuda.h").read_text()
    declared = {*re.findall(r"DPC_CUDA_API [\w ]*?\*?(dpc_cuda_\w+)\(", header), "dpc_cuda_library"}
    symbols = run("nm", "-D", "--defined-only", library).splitlines()
    assert {line.split()[-1] for line in symbols if line.split()[-2] == "T"} == declared
    assert "libcuda" not in run("readelf", "-d", library)


def test_architectures(library):
    packaged = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/cuobjdump"))
    program = shutil.which("cuobjdump") or next(iter(packaged), None)
    if program is None:
        pytest.skip("cuobjdump is not installed")
    assert {"75", "80", "90"} <= set(re.findall(r"sm_(\d+)", run(program, "--list-elf", library)))
    assert re.search(r"sm_\d+\.ptx", run(program, "--list-ptx", library)), "nothing for what comes"
