"""evaluate - a model against the energies, forces and virials of its data, counted and written like dp test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from .infer import DeepPot
from .model import ModelError
from .system import LABELS, Frames, folders_below, numbered_sets

REPORTED = (
    ("energy", "Energy", "", "eV"),
    ("energy_per_atom", "Energy", "/Natoms", "eV"),
    ("force", "Force", "", "eV/Å"),
    ("virial", "Virial", "", "eV"),
    ("virial_per_atom", "Virial", "/Natoms", "eV"),
    ("stress", "Stress", "", "eV/Å³"),
)
AXES = ("x", "y", "z")
TENSOR = tuple(map("".join, product(AXES, AXES)))
# file suffix and letter, components and unit in the first line of a file of details
DETAILS = {
    "energy": (".e.out", "e", ("",), ""),
    "energy_per_atom": (".e_peratom.out", "e", ("",), ""),
    "force": (".f.out", "f", AXES, ""),
    "virial": (".v.out", "v", TENSOR, ""),
    "virial_per_atom": (".v_peratom.out", "v", TENSOR, ""),
    "stress": (".s.out", "s", TENSOR, " (eV/Å³)"),
}


@dataclass(frozen=True)
class Error:
    """Of one quantity over all its components; a sum of errors is that over the components of both."""

    absolute: float  # sums
    square: float
    count: int

    @classmethod
    def of(cls, difference: np.ndarray) -> Error:
        return cls(float(np.abs(difference).sum()), float(np.square(difference).sum()), difference.size)

    def __add__(self, other: Error) -> Error:
        return Error(self.absolute + other.absolute, self.square + other.square, self.count + other.count)

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute / self.count

    @property
    def rmse(self) -> float:
        """Root mean square error."""
        return float(np.sqrt(self.square / self.count))


@dataclass(frozen=True)
class Evaluation:
    """Errors of the quantities in REPORTED that a system folder, or several, has data of."""

    frames: int
    errors: dict[str, Error]

    def lines(self) -> list[str]:
        """As text."""
        return [
            f"{name:6} {kind + per:11} : {getattr(self.errors[key], kind.lower()):e} {unit}"
            for key, name, per, unit in REPORTED
            if key in self.errors
            for kind in ("MAE", "RMSE")
        ]


def evaluate(
    model: str | Path,
    systems: Iterable[str | Path],
    *,
    frames: int = 0,
    details: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[Path, Evaluation]:
    """Errors of each system folder in and below `systems`.

    frames: of each folder, at most; 0: all. details: prefix of files, its own suffix replaced, with data and prediction
    side by side; there data that a system lacks are zeros.
    """
    folders = []
    for system in systems:
        folders += folders_below(Path(system))
        if not folders:
            raise ModelError(f"{system}: no system folder, which has a file type.raw, in it.")
    potential = DeepPot(model, outside="warn")
    found, pairs = {}, {}
    for folder in folders:
        if progress:
            progress(str(folder))
        data = _read(folder, potential.get_type_map(), frames)
        pairs[folder] = _pairs(data, potential)
        errors = {
            key: Error.of(predicted - real) for key, (real, predicted) in pairs[folder].items() if _known(key, data)
        }
        found[folder] = Evaluation(len(data.positions), errors)
    if details is not None:
        _write(Path(details), pairs)
    return found


def total(found: Iterable[Evaluation]) -> Evaluation:
    """Over several systems, each component of each frame with the same weight."""
    frames, errors = 0, {}
    for part in found:
        frames += part.frames
        for key, error in part.errors.items():
            errors[key] = errors[key] + error if key in errors else error
    return Evaluation(frames, errors)


def _read(folder: Path, type_map: list[str], limit: int) -> Frames:
    """The first frames of a folder, at most `limit` unless that is 0."""
    sets = list(numbered_sets(folder, type_map, LABELS))
    names = sets[0].labels.keys()
    if any(part.labels.keys() != names for part in sets):
        raise ModelError(f"{folder}: its sets do not all have the same of {', '.join(LABELS)}.")
    if not names:
        raise ModelError(f"{folder}: none of {', '.join(LABELS)} is in its sets, so there is nothing to compare with.")

    def joined(arrays):
        return np.concatenate(list(arrays))[: limit or None]

    cells = None if sets[0].cells is None else joined(part.cells for part in sets)
    labels = {name: joined(part.labels[name] for part in sets) for name in names}
    parameters = {name: joined(part.parameters[name] for part in sets) for name in sets[0].parameters}
    positions, types = joined(part.positions for part in sets), joined(part.types for part in sets)
    data = Frames(positions, types, cells, labels, parameters)
    if not len(data.positions):
        raise ModelError(f"{folder}: its sets hold no frames.")
    return data


def _pairs(data: Frames, potential: DeepPot) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data, or zeros, and prediction of the quantities in DETAILS."""
    given = data.parameters_of(potential)
    values = potential.eval(data.positions, data.cells, data.types, mixed_type=True, **given)[: len(LABELS)]
    predicted = dict(zip(LABELS, values, strict=True))
    pairs = {name: (data.labels.get(name, np.zeros_like(values)), values) for name, values in predicted.items()}
    atoms = data.types.shape[1]
    for name in ("energy", "virial"):
        pairs[f"{name}_per_atom"] = tuple(values / atoms for values in pairs[name])
    if _known("virial", data):
        volume = np.abs(np.linalg.det(data.cells))[:, None]
        pairs["stress"] = tuple(-values / volume for values in pairs["virial"])
    return pairs


def _known(key: str, data: Frames) -> bool:
    """Whether the data have what this quantity is compared with; a virial counts in a cell only."""
    if key.startswith("virial") or key == "stress":
        return "virial" in data.labels and data.cells is not None
    return key.removesuffix("_per_atom") in data.labels


def _write(prefix: Path, pairs: dict[Path, dict[str, tuple[np.ndarray, np.ndarray]]]) -> None:
    for key, (suffix, letter, components, unit) in DETAILS.items():
        folders = [folder for folder in pairs if key in pairs[folder]]
        if not folders:
            continue
        rows = [np.hstack([v.reshape(-1, len(components)) for v in pairs[folder][key]]) for folder in folders]
        names = " ".join(f"{source}_{letter}{part}" for source in ("data", "pred") for part in components)
        header = f"{folders[0]}{unit}: {names}"  # the others follow without a line of their own
        np.savetxt(prefix.with_suffix(suffix), np.concatenate(rows), header=header, encoding="utf-8")
