"""deepmd_c - build libdeepmd_c.so, DeePMD-kit's C interface over libdpc, for programs that were compiled against it."""

from __future__ import annotations

import os
from pathlib import Path

from . import lib
from .toolchain import Toolchain


def build(output: str | os.PathLike) -> Path:
    """Compile libdeepmd_c.so into the folder `output`, and return its path."""
    folder = lib.sources() / "engines/deepmd_c"
    # what has the name already is not looked for elsewhere; and other C++ libraries in the process are left alone
    link = ["-Wl,-soname,libdeepmd_c.so", f"-Wl,--version-script={folder / 'exports.map'}"]
    return Toolchain().build(Path(output) / "libdeepmd_c.so", sorted(folder.glob("*.cpp")), [], link=link)
