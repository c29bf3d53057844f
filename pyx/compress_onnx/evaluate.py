"""evaluate - a model against its data, counted and written like dp test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import quantities
from .infer import open_model
from .model import ModelError
from .system import Frames, folders_below, numbered_sets


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
        lines = [
            f"{text.format(measure):{width}}: {getattr(self.errors[key], measure.lower()):e} {unit}".rstrip()
            for key, text, width, unit in quantities.REPORTED
            if key in self.errors
            for measure in (("RMSE",) if key in quantities.OF_TENSORS else ("MAE", "RMSE"))
        ]
        return lines + [quantities.TENSORS_NOTE] * (not quantities.OF_TENSORS.isdisjoint(self.errors))


def evaluate(
    model: str | Path,
    systems: Iterable[str | Path],
    *,
    frames: int = 0,
    details: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    device: str = "cpu",
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
    evaluator = open_model(model, outside="warn", device=device)
    labels = quantities.files_of(evaluator)
    found, pairs = {}, {}
    for folder in folders:
        if progress:
            progress(str(folder))
        data = _read(folder, evaluator.get_type_map(), labels, frames)
        pairs[folder] = quantities.compare(data, evaluator)
        errors = {
            key: Error.of(predicted - real)
            for key, (real, predicted) in pairs[folder].items()
            if quantities.is_known(key, data)
        }
        found[folder] = Evaluation(len(data.positions), errors)
    if details is not None:
        quantities.write_details(Path(details), pairs)
    return found


def total(found: Iterable[Evaluation]) -> Evaluation:
    """Over several systems, each component of each frame with the same weight."""
    frames, errors = 0, {}
    for part in found:
        frames += part.frames
        for key in part.errors.keys() - quantities.NOT_OF_SEVERAL:
            error = part.errors[key]
            errors[key] = errors[key] + error if key in errors else error
    return Evaluation(frames, errors)


def _read(folder: Path, type_map: list[str], labels: tuple[str, ...], limit: int) -> Frames:
    """The first frames of a folder, at most `limit` unless that is 0."""
    sets = list(numbered_sets(folder, type_map, labels))
    names = sets[0].labels.keys()
    if any(part.labels.keys() != names for part in sets):
        raise ModelError(f"{folder}: its sets do not all have the same of {', '.join(labels)}.")
    if not names:
        raise ModelError(f"{folder}: none of {', '.join(labels)} is in its sets, so there is nothing to compare with.")

    def joined(arrays):
        return np.concatenate(list(arrays))[: limit or None]

    cells = None if sets[0].cells is None else joined(part.cells for part in sets)
    known = {name: joined(part.labels[name] for part in sets) for name in names}
    parameters = {name: joined(part.parameters[name] for part in sets) for name in sets[0].parameters}
    positions, types = joined(part.positions for part in sets), joined(part.types for part in sets)
    data = Frames(positions, types, cells, known, parameters)
    if not len(data.positions):
        raise ModelError(f"{folder}: its sets hold no frames.")
    return data
