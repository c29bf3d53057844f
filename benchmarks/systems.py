"""systems - the atoms that the benchmark evaluates, in the orientation that LAMMPS wants, and as a file for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compress_onnx import _core
from compress_onnx.bench import SKIN, tiled

JITTER = 0.002  # Å, so that copies of a frame are not alike


@dataclass(frozen=True)
class System:
    """Periodic atoms. Å."""

    coord: np.ndarray  # [n, 3]
    atype: np.ndarray  # int32 [n]
    cell: np.ndarray  # [3, 3], lower triangular, rows are lattice vectors

    @classmethod
    def of(cls, coord: np.ndarray, atype: np.ndarray, cell: np.ndarray, atoms: int) -> System:
        """A frame turned so that its cell is lower triangular, repeated until there are `atoms` atoms."""
        lower = np.linalg.cholesky(cell @ cell.T)
        coord, atype, cell = tiled(coord @ np.linalg.solve(cell, lower), atype, lower, atoms, JITTER)
        return cls(coord, atype, cell)

    def __len__(self) -> int:
        return len(self.coord)

    def pairs(self, cutoff: float, skin: float = SKIN) -> _core.Neighbours:
        """The list of a simulation, which reaches `skin` beyond the cutoff."""
        return _core.Neighbours().build(self.coord, self.cell, cutoff + skin)

    def write_lammps(self, path: Path, names: Sequence[str]) -> None:
        """As a data file with atom style `atomic`; type k of LAMMPS is names[k - 1]."""
        (xx, _, _), (xy, yy, _), (xz, yz, zz) = self.cell
        atoms = zip(self.atype + 1, *self.coord.T, strict=True)
        lines = [
            "atoms of the benchmark",
            "",
            f"{len(self)} atoms",
            f"{len(names)} atom types",
            *(f"0 {length!r} {axis}lo {axis}hi" for axis, length in zip("xyz", map(float, (xx, yy, zz)), strict=True)),
            f"{xy:.17g} {xz:.17g} {yz:.17g} xy xz yz",
            "\nMasses\n",
            *(f"{k} 1" for k in range(1, len(names) + 1)),
            "\nAtoms # atomic\n",
            *(f"{k} {kind} {x:.17g} {y:.17g} {z:.17g}" for k, (kind, x, y, z) in enumerate(atoms, start=1)),
        ]
        path.write_text("\n".join(lines) + "\n")
