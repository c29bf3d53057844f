"""libdpc compiled by each compiler, plain and with sanitizers, and called from C (tests/c); aarch64 under qemu."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import reference
from conftest import ROOT
from coremodels import COARSE, PRECISIONS, onnx_bytes, parameters, variant
from randommodels import CELLS, atoms

SOURCES = sorted((ROOT / "ccore/src").glob("*.c")) + [
    ROOT / "tests/c" / f"{name}.c" for name in ("damage", "digest", "memory", "misuse", "test_compute")
]
FLAGS = [
    *("-std=c11", "-ffp-contract=fast", "-fno-math-errno"),
    *("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wundef"),
    *("-Werror", "-Wno-psabi"),
    *(f"-I{ROOT}/ccore/include", f"-I{ROOT}/ccore/src"),
    *("-Daligned_alloc=failing_aligned_alloc", "-Drealloc=failing_realloc"),  # tests/c/memory.c
]
VARIANTS = {
    "plain": ["-O2"],
    # -O0: what is checked does not depend on it, and it compiles ten times as fast
    "address,undefined": ["-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
    "thread": ["-O0", "-g", "-fsanitize=thread"],
}
TOLERANCE = {"float64": 1e-6, "float32": 3e-5, "mixed": 3e-5}  # of COARSE tables
MODELS = [*(("plain", precision) for precision in PRECISIONS), ("hybrid", "mixed"), ("polar, matrix", "float64")]
MODELS += [("ensemble", "float64")]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the file of each model and with frames and what the reference says of them."""
    folder = tmp_path_factory.mktemp("c")
    for name, precision in MODELS:
        (folder / f"{name} {precision}.onnx").write_bytes(onnx_bytes(name, precision, COARSE))
        frames(name).tofile(folder / f"{name} frames")
    return folder


def frames(name) -> np.ndarray:
    """As tests/c/test_compute.c reads them."""
    parts = []
    for cell, count in (("small", 3), ("open", 9), ("triclinic", 20), ("open", 1), ("open", 0)):
        coord, atype = atoms(CELLS[cell], count)
        atype[1::7] = -1
        given = parameters(name, count)
        model = variant(name)
        models = [replace(model, terms=(term,)) for term in model.terms] if model.ensemble else [model]
        results = [reference.evaluate(one, coord, atype, CELLS[cell], **given) for one in models]
        result = {key: np.stack([each[key] for each in results]) for key in results[0]}
        if model.ensemble:
            result["atom_energy"] = result["atom_energy"].T
        names = ("energy", "force", "virial", "atom_energy", *given)
        parts += [count, CELLS[cell], coord, atype]
        parts += [(result | given)[key if key in result | given else key.replace("energy", "tensor")] for key in names]
    return np.concatenate([np.ravel(part).astype(float) for part in parts])


def build(folder, name, compiler, *flags):
    program = folder / name
    subprocess.run([compiler, *FLAGS, *flags, *map(str, SOURCES), "-o", program, "-lm", "-pthread"], check=True)
    return program


def check(folder, *command, briefly=False):
    """Run the program for each model; briefly: without failing allocations and damaged files."""
    for name, precision in MODELS:
        arguments = [folder / f"{name} {precision}.onnx", folder / f"{name} frames", str(TOLERANCE[precision])]
        arguments += ["briefly"] * briefly
        done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        assert briefly or re.search(r"\d\d allocations failed one by one", done.stdout)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_program(compiler, variant, folder):
    need(compiler)
    check(folder, build(folder, f"{compiler}-{variant}", compiler, *VARIANTS[variant]), briefly=variant == "thread")


def test_aarch64(folder):
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    check(folder, "qemu-aarch64", build(folder, "aarch64", "aarch64-linux-gnu-gcc", "-O2", "-static"))
