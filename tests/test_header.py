"""dpc.h compiles alone, libdpc.pxd declares what it does, and the libraries export what they should, nothing else."""

import platform
import re
import shutil
import subprocess

import pytest
from compress_onnx.lib import path
from conftest import ROOT

HEADER = (ROOT / "ccore/include/dpc.h").read_text()
CODE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
FUNCTIONS = re.findall(r"DPC_API [\w *]*?\b(dpc_\w+)\(", CODE)


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("header", ["dpc.h", "dpc_cuda.h"])
@pytest.mark.parametrize(
    "compiler, language", [("gcc", "c99"), ("g++", "c++11"), ("clang", "c99"), ("clang++", "c++11")]
)
def test_compiles_alone(compiler, language, header, tmp_path):
    need(compiler)
    source = tmp_path / ("alone.c" if language == "c99" else "alone.cpp")
    source.write_text(f'#include "{header}"\n')
    strict = ["-fsyntax-only", "-pedantic", "-Wall", "-Wextra", "-Wundef", "-Werror"]
    subprocess.run([compiler, f"-std={language}", *strict, f"-I{ROOT}/ccore/include", source], check=True)


def names(code: str) -> set[str]:
    return set(re.findall(r"\b(?:dpc|DPC)_\w+", code))


def test_cython_declares_only_what_the_header_does():
    assert names((ROOT / "pyx/compress_onnx/libdpc.pxd").read_text()) <= names(CODE)


def declarations(code: str, start: str) -> dict[str, str]:
    """Each function's name and types, spaces and names of parameters aside."""
    found = {}
    for name, parameters in re.findall(start + r"[\w *]*?\b(dpc_\w+)\(([^()]*)\)", code):
        types = [re.sub(r"\b\w+$", "", " ".join(p.split())).replace(" ", "") for p in parameters.split(",")]
        found[name] = [t for t in types if t]
    return found


def test_cython_declares_functions_as_the_header_does():
    pxd = (ROOT / "pyx/compress_onnx/libdpc.pxd").read_text()
    ours, theirs = declarations(pxd, r"\n    (?!ctypedef)"), declarations(CODE, "DPC_API ")
    assert len(ours) > 20
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize("library, exported", [("libdpc", FUNCTIONS), ("libdpc_ort", ["RegisterCustomOps"])])
def test_library_exports(library, exported):
    need("nm")
    out = subprocess.run(["nm", "-D", "--defined-only", path(library)], capture_output=True, text=True, check=True)
    assert sorted(line.split()[-1] for line in out.stdout.splitlines()) == sorted(exported)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX-512 is of x86-64")
def test_avx512_kernels_use_wide_registers():
    """What this machine may be unable to run was compiled for it: fused multiply-adds of 64 bytes."""
    need("objdump")
    code = subprocess.run(["objdump", "-d", path("libdpc")], capture_output=True, text=True, check=True).stdout
    for kind in ("ps", "pd"):
        assert len(re.findall(rf"vfmadd\w+{kind} .*%zmm", code)) > 100
        assert len(re.findall(rf"vfmadd\w+{kind} .*%ymm", code)) > 100
