"""cudahost - libdpc_cuda compiled for the host (tests/c/cuda_on_host.h): the same kernels, in the host's memory."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, made_once

INCLUDE = [f"-I{ROOT / folder}" for folder in ("cuda", "ccore/include", "ccore/src", "tests/c")]
FLAGS = ["-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-DDPC_STATIC", *INCLUDE]
DEVICE = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-DDPC_CUDA_ON_HOST"]
DEVICE += ["-DDPC_ROWS=40"]  # few, so that small systems are several chunks
# -O0: what is checked does not depend on it, and it compiles twice as fast
SANITIZED = ["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover"]


def compiled(folder: Path, sources: list[Path], warp: int, *flags: str) -> list[Path]:
    """Objects of C sources and of .cu and .cpp that a device of the host runs, in `folder`."""
    for program in ("gcc", "g++"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")

    def compile_one(source):
        target = folder / f"{source.name}.o"
        language = ["gcc", "-std=c11"] if source.suffix == ".c" else ["g++", *DEVICE, f"-DDPC_WARP={warp}"]
        subprocess.run([*language, *FLAGS, *flags, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, sources))


def objects(folder: Path, warp: int = 1, *flags: str) -> list[Path]:
    """Those of libdpc_cuda, with warps of so many lanes."""
    sources = sorted((ROOT / "cuda").glob("*.cu"), key=lambda file: -file.stat().st_size)
    return compiled(folder, [*sources, ROOT / "cuda/core.c"], warp, *flags)


def link(target: Path, parts: list[Path], *flags: str) -> Path:
    """A program or a library."""
    subprocess.run(["g++", *flags, *parts, "-o", target], check=True)
    return target


def library(folder: Path, warp: int = 1, *flags: str) -> Path:
    """libdpc_cuda.so in `folder`, for DPC_CUDA_LIBRARY."""
    return link(folder / "libdpc_cuda.so", objects(folder, warp, *flags), "-shared", "-Wl,-z,defs", *flags)


def shared_library(factory: pytest.TempPathFactory) -> Path:
    """libdpc_cuda.so with one lane to a warp, of all processes of a run."""
    return made_once(factory, "libdpc_cuda", library)
