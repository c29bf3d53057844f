"""system - a folder of frames in DeePMD-kit's layouts: type.raw, set.*/coord.npy or coord.raw, a box unless nopbc."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .model import ModelError

LABELS = ("energy", "force", "virial")
PARAMETERS = ("fparam", "aparam", "spin")


@dataclass(frozen=True)
class Frames:
    """Frames of the same number of atoms. Å and eV."""

    positions: np.ndarray  # [frames, atoms, 3]
    types: np.ndarray  # int [frames, atoms], negative: no atom
    cells: np.ndarray | None  # [frames, 3, 3], rows are lattice vectors; None: not periodic
    # energy [frames, 1], force [frames, atoms, 3], virial [frames, 9], force_mag as force; dos, dipole, ... [frames, number]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    # fparam [frames, number], aparam [frames, atoms, number], spin [frames, atoms, 3], of those that the data have
    parameters: dict[str, np.ndarray] = field(default_factory=dict)

    def parameters_of(self, potential: object) -> dict[str, np.ndarray | None]:
        """What a DeepPot of such parameters is to be given."""
        widths = {
            "fparam": potential.get_dim_fparam(),
            "aparam": potential.get_dim_aparam(),
            "spin": potential.has_spin,
        }
        return {name: self.parameters.get(name) for name, width in widths.items() if width}


def folders_below(root: Path) -> list[Path]:
    """The system folders, which have a file type.raw, below `root` and then `root` itself."""
    return sorted((file.parent for file in root.rglob("type.raw")), key=lambda folder: (folder == root, folder))


def read_sets(folder: Path, labels: Collection[str] = ()) -> Iterator[Frames]:
    """The frames of each set.* of a system folder, or of its .raw files, with those of `labels` that it has."""
    sets = sorted(folder.glob("set.*"))
    if not sets and (folder / "coord.raw").exists():
        sets = [folder]
    if not sets:
        raise ModelError(f"{folder}: neither a folder set.* nor coord.raw in this system.")
    for part in sets:
        yield _read_set(folder, part, labels)


def numbered_sets(folder: Path, type_map: Sequence[str], labels: Collection[str] = ()) -> Iterator[Frames]:
    """As read_sets, with types numbered as in `type_map`, -1: no atom."""
    if not (folder / "type.raw").exists():
        raise ModelError(f"{folder}: not a system folder, it has no type.raw.")
    names = type_names(folder) or tuple(type_map)
    unknown = set(names) - set(type_map)
    if unknown:
        raise ModelError(f"{folder}: the model has no types {', '.join(sorted(unknown))}.")
    number = np.array([*(type_map.index(name) for name in names), -1], np.int32)  # number[-1]: no atom
    for frames in read_sets(folder, labels):
        if (frames.types >= len(names)).any():
            raise ModelError(f"{folder}: type.raw has types beyond the {len(names)} known ones.")
        yield replace(frames, types=number[np.maximum(frames.types, -1)])


def type_names(folder: Path) -> tuple[str, ...] | None:
    """The names in type_map.raw, which the numbers in type.raw count; None where there is no such file."""
    file = folder / "type_map.raw"
    return tuple(file.read_text().split()) if file.exists() else None


def _read_set(folder: Path, part: Path, labels: Collection[str]) -> Frames:
    suffix, load = (".raw", np.loadtxt) if part == folder else (".npy", np.load)

    def numbers(name, *shape):
        return load(part / (name + suffix)).astype(np.float64).reshape(shape)

    try:
        types = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        atoms = len(types)
        positions = numbers("coord", -1, atoms, 3)
        cells = None if (folder / "nopbc").exists() else numbers("box", -1, 3, 3)
        if (part / f"real_atom_types{suffix}").exists():
            types = numbers("real_atom_types", -1, atoms).astype(int)
        types = np.broadcast_to(types, positions.shape[:2])
        shapes = {"energy": (1,), "force": (atoms, 3), "virial": (9,), "fparam": (-1,), "aparam": (atoms, -1)}
        shapes |= {"spin": (atoms, 3), "force_mag": (atoms, 3)}
        present = [name for name in (*labels, *PARAMETERS) if (part / (name + suffix)).exists()]
        found = {name: numbers(name, len(positions), *shapes.get(name, (-1,))) for name in present}
        parameters = {name: found.pop(name) for name in PARAMETERS if name in found}
    except (OSError, ValueError) as error:
        raise ModelError(f"{part}: not a readable set of frames ({error}).") from error
    if not np.isfinite(positions).all():
        raise ModelError(f"{part}: coord{suffix} has positions that are not finite.")
    if cells is not None and len(cells) != len(positions):
        raise ModelError(f"{part}: coord{suffix} has {len(positions)} frames, but box{suffix} has {len(cells)}.")
    if cells is not None and not np.all(np.abs(np.linalg.det(cells)) > 0):
        raise ModelError(f"{part}: box{suffix} has a cell without volume; a system without cells needs a file nopbc.")
    return Frames(positions, types, cells, found, parameters)
