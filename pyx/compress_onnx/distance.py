"""distance - the smallest distance between two atoms in the data that a training script names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np

from .model import ModelError
from .system import Frames, folders_below, read_sets

BLOCK_ATOMS = 100_000  # looked at together


def script_distance(script: Path | str, progress=None) -> float:
    """The smallest distance in Å in all systems of a JSON or YAML training script; `progress(folder)` before each."""
    script = Path(script)
    nearest = np.inf
    for folder in system_folders(script):
        if progress:
            progress(folder)
        nearest = min(nearest, system_distance(folder))
    if not np.isfinite(nearest):
        raise ModelError(f"{script}: its training systems hold no two atoms, so give --min-distance.")
    return nearest


def system_folders(script: Path) -> list[Path]:
    """The folders, with a file type.raw, of the training systems of `script`; paths are from here, else from it."""
    try:
        text = script.read_text()
        content = json.loads(text) if script.suffix == ".json" else _yaml(text)
        training = content["training"]
        systems = training.get("training_data", training)["systems"]
    except (OSError, ValueError) as error:
        raise ModelError(f"{script}: not a readable training script ({error}).") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{script}: no training.training_data.systems in it, so give --min-distance.") from error
    return [folder for name in ([systems] if isinstance(systems, str) else systems) for folder in _expand(script, name)]


def _yaml(text: str):
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("neither JSON nor YAML") from error


def _expand(script: Path, name: str) -> list[Path]:
    for root in (Path(name), script.parent / name):
        if root.is_dir():
            folders = folders_below(root)
            if folders:
                return folders
            raise ModelError(f"{root}: no file type.raw in this training system of {script}, nor below it.")
    raise ModelError(f"{name}: this training system of {script} is not a folder, seen from here or from the script.")


def system_distance(folder: Path) -> float:
    """The smallest distance in Å in one system folder; virtual atoms (type < 0) do not count."""
    blocks = (block for frames in read_sets(folder) for block in _blocks(frames))
    nearest = min((frames_distance(*block) for block in blocks), default=np.inf)
    if nearest == 0:
        raise ModelError(
            f"{folder}: two atoms of this training system are at the same place, which no model can learn."
        )
    return nearest


def _blocks(frames: Frames) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Positions and cells, some frames at a time; a frame with virtual atoms, without these, is one alone."""
    real = frames.types >= 0
    whole = np.nonzero(real.all(axis=1))[0]
    size = max(1, BLOCK_ATOMS // real.shape[1])
    for chosen in (whole[k : k + size] for k in range(0, len(whole), size)):
        yield frames.positions[chosen], None if frames.cells is None else frames.cells[chosen]
    for k in np.nonzero(~real.all(axis=1))[0]:
        yield frames.positions[k : k + 1, real[k]], None if frames.cells is None else frames.cells[k : k + 1]


def frames_distance(positions: np.ndarray, cells: np.ndarray | None) -> float:
    """The smallest distance of positions [frames, atoms, 3] with cells [frames, 3, 3], all images; None: no cell.

    An atom and its own image count; infinite where there are no two atoms.
    """
    if positions.size == 0 or (cells is None and positions.shape[1] < 2):
        return np.inf
    if cells is None:  # a cell in which every image is further away than every atom
        cells = np.eye(3)[None] * (4 * np.ptp(positions, axis=1).max() + 1)
    inverse = np.linalg.inv(cells)
    heights = (1 / np.linalg.norm(inverse, axis=1)).min(axis=0)  # [3] between opposite faces
    fraction = positions @ inverse
    fraction -= np.floor(fraction)
    order = np.argsort(fraction[..., 0], axis=1)
    fraction = np.take_along_axis(fraction, order[..., None], axis=1)
    nearest = _sweep(fraction, cells, heights[0], np.linalg.norm(cells, axis=-1).min(), [(0, 0)], first=1)
    # A rounded fraction is of the nearest image where that is nearer than half a height; else look at more.
    reach = np.floor(nearest / heights[1:] + 0.5).astype(int)
    if reach.any():
        shifts = list(product(*(range(-count, count + 1) for count in reach)))
        nearest = _sweep(fraction, cells, heights[0], nearest, shifts, first=0)
    return float(nearest)


def _sweep(
    fraction: np.ndarray,
    cells: np.ndarray,
    height: float,
    nearest: float,
    shifts: Iterable[tuple[int, int]],
    first: int,
) -> float:
    """Pairs of the k-th atom and the (k + step)-th along the first lattice vector, until all are `nearest` apart there.

    `shifts` are images along the other two vectors, counted from the rounded one; `first` step 0 is an atom itself.
    """
    count = fraction.shape[1]
    step = first
    while True:
        images, partner = np.divmod(np.arange(count) + step, count)
        delta = fraction[:, partner] - fraction
        delta[..., 0] += images
        if delta[..., 0].min() * height >= nearest:
            return nearest
        delta[..., 1:] -= np.round(delta[..., 1:])
        for shift in shifts:
            if step or any(shift):
                vectors = (delta + (0, *shift)) @ cells
                nearest = min(nearest, np.sqrt(np.einsum("fnk,fnk->fn", vectors, vectors).min()))
        step += 1
