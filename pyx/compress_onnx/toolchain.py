"""toolchain - the compilers at hand make one shared library of sources of ours and all of libdpc's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import lib
from .model import ModelError


class Toolchain:
    """A C and a C++ compiler: those in CC and CXX, or those that are installed."""

    def __init__(self):
        self.cc = find_compiler("CC", ("cc", "gcc", "clang"))
        self.cxx = find_compiler("CXX", ("c++", "g++", "clang++"))

    def build(
        self,
        target: Path,
        sources: Sequence[Path],
        flags: Sequence[str],
        *,
        link: Sequence[str] = (),
        purpose: str = "",
        before_linking: Callable[[list[Path]], None] | None = None,
    ) -> Path:
        """Compile C++ `sources` with `flags`, and libdpc, into the library `target`, which appears when it is complete.

        purpose: ends the sentence about a source that does not compile. before_linking: is given the objects of `sources`.
        """
        ours = lib.sources()
        common = ["-fPIC", "-DDPC_STATIC", f"-I{ours / 'ccore/include'}"]
        cflags = [line for line in (ours / "ccore/cflags").read_text().splitlines() if line.startswith("-")]
        commands = {file: [*self.cxx, "-std=c++17", "-O2", *flags, *common] for file in sources}
        commands |= {file: [*self.cc, *cflags, *common] for file in sorted(ours.glob("ccore/src/*.c"))}
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        linker = [*self.cxx, "-shared", *undefined]
        libraries = ["-ldl"] if sys.platform == "linux" else []  # where it is not part of the C library
        with tempfile.TemporaryDirectory() as scratch:
            objects = {file: Path(scratch, f"{file.name}.o") for file in commands}
            openmp = ["-fopenmp"] if _has_openmp(linker, Path(scratch)) else []

            def compile_one(file: Path) -> None:
                run([*commands[file], *openmp, "-c", file, "-o", objects[file]], f"cannot compile {file.name}{purpose}")

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(compile_one, commands))
            if before_linking:
                before_linking([objects[file] for file in sources])
            built = Path(scratch, target.name)
            run([*linker, *openmp, *link, *objects.values(), *libraries, "-o", built], f"cannot link {target.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            # beside the target first, then renamed: a program that has the old one loaded keeps it
            os.replace(shutil.copy(built, target.with_suffix(".partial")), target)
        return target


def find_compiler(variable: str, names: tuple[str, ...]) -> list[str]:
    """The command in an environment variable, or the first of `names` that is installed."""
    command = os.environ.get(variable, "").split()
    for candidate in [command] if command else ([name] for name in names):
        if shutil.which(candidate[0]):
            return candidate
    raise ModelError(
        f"no compiler {' '.join(command) or ', '.join(names)}: install one (apt install g++, conda install gxx), "
        f"or name it in the environment variable {variable}"
    )


def run(command: Sequence, what: str) -> None:
    """Run a command; where it fails, `what` and the first error it tells become a ModelError."""
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.splitlines() or [f"exit code {result.returncode}"]
        reason = next((line for line in lines if "error" in line), lines[-1])
        raise ModelError(f"{what}: {reason.strip()}")


def _has_openmp(linker: list[str], scratch: Path) -> bool:
    probe = scratch / "probe.cpp"
    probe.write_text("#include <omp.h>\nint probe() { return omp_get_max_threads(); }\n")
    command = [*linker, "-fPIC", "-fopenmp", probe, "-o", scratch / "probe.so"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
