"""system - a folder of frames in DeePMD-kit's layout: type.raw, set.*/coord.npy, box.npy unless there is nopbc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .model import ModelError


@dataclass(frozen=True)
class Frames:
    """Frames of the same number of atoms. Å."""

    positions: np.ndarray  # [frames, atoms, 3]
    types: np.ndarray  # int [frames, atoms], negative: no atom
    cells: np.ndarray | None  # [frames, 3, 3], rows are lattice vectors; None: not periodic


def read_sets(folder: Path) -> Iterator[Frames]:
    """The frames of each set.* of a system folder."""
    sets = sorted(folder.glob("set.*"))
    if not sets:
        raise ModelError(f"{folder}: no folder set.* in this system.")
    for part in sets:
        yield _read_set(folder, part)


def type_names(folder: Path) -> tuple[str, ...] | None:
    """The names in type_map.raw, which the numbers in type.raw count; None where there is no such file."""
    file = folder / "type_map.raw"
    return tuple(file.read_text().split()) if file.exists() else None


def _read_set(folder: Path, part: Path) -> Frames:
    try:
        types = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        positions = np.load(part / "coord.npy").reshape(-1, len(types), 3).astype(np.float64)
        cells = None
        if not (folder / "nopbc").exists():
            cells = np.load(part / "box.npy").reshape(-1, 3, 3).astype(np.float64)
        mixed = part / "real_atom_types.npy"
        types = np.broadcast_to(np.load(mixed) if mixed.exists() else types, positions.shape[:2])
    except (OSError, ValueError) as error:
        raise ModelError(f"{part}: not a readable set of frames ({error}).") from error
    if not np.isfinite(positions).all():
        raise ModelError(f"{part}: coord.npy has positions that are not finite.")
    if cells is not None and len(cells) != len(positions):
        raise ModelError(f"{part}: coord.npy has {len(positions)} frames, but box.npy has {len(cells)}.")
    if cells is not None and not np.all(np.abs(np.linalg.det(cells)) > 0):
        raise ModelError(f"{part}: box.npy has a cell without volume; a system without cells needs a file nopbc.")
    return Frames(positions, types, cells)
