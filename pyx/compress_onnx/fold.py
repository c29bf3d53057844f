"""fold - the channels of a centre type's first sub-tables, reduced to their numerical rank (docs/math.md).

All M channels are smooth functions of one scalar, so the nodal rows G [rows, M] of the tables that atoms of
one type use are nearly of rank r < M: G = (G·A)·B. Contraction then needs r channels instead of M, and B goes
into the first layer of the fitting net.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .model import Model
from .tabulate import Table

PAYS = 0.8  # of the channels: a larger rank is not worth its second factor
MARGIN = 0.3  # of the tolerance is aimed at: other geometries than those measured may do worse
CUTS = 10.0 ** -np.arange(4, 14.5, 0.5)
SMALLEST_WEIGHT = 1e-3  # of the largest: keeps the reconstruction of channels that hardly matter well conditioned


@dataclass(frozen=True, eq=False)
class Fold:
    """Of one centre type; rank 0 stands for none."""

    table: np.ndarray  # [nodes, 3, rank], first sub-tables one after the other, by neighbour type
    axis: np.ndarray  # [rank, axis]
    weight: np.ndarray  # [rank * axis, width of the first layer]

    @property
    def rank(self) -> int:
        return self.table.shape[2]


class Folder:
    """Folds of one centre type at any rank."""

    def __init__(self, model: Model, tables: Sequence[Table], centre: int):
        descriptor, first = model.descriptor, model.fitting.nets[centre].layers[0]
        used = np.maximum(descriptor.net[centre], descriptor.pad_net[centre])
        parts = [tables[index] for index in used if index >= 0]
        self._nodes = np.concatenate([part.nodes[: part.rows0 + 1] for part in parts])
        steps = np.concatenate([np.full(part.rows0 + 1, part.step0) for part in parts])
        channels = self._nodes.shape[2]
        self._axis = descriptor.axis
        self._weight = first.weight.reshape(channels, self._axis, -1)
        self._importance = _importance(self._weight)
        # value, slope and curvature as they enter an interval of that width
        rows = self._nodes * np.stack([np.ones_like(steps), steps, steps**2], axis=1)[:, :, None]
        _, self.singular, self._basis = np.linalg.svd(
            rows.reshape(-1, channels) * self._importance, full_matrices=False
        )
        self.singular /= self.singular[0]

    def rank(self, cut: float) -> int:
        """How many singular values are above `cut` of the largest."""
        return int((self.singular > cut).sum())

    def fold(self, rank: int) -> Fold:
        basis = self._basis[:rank]
        reduce, restore = (basis * self._importance).T, basis / self._importance
        weight = np.tensordot(restore, self._weight, axes=1)
        return Fold(self._nodes @ reduce, restore[:, : self._axis], weight.reshape(rank * self._axis, -1))


def _importance(weight: np.ndarray) -> np.ndarray:
    """What the first fitting layer, weight [M, axis, width], makes of an error of each channel, [M]."""
    square = (weight**2).sum(axis=2)
    total = square.sum(axis=1)
    total[: square.shape[1]] += square.sum(axis=0)  # the first channels are also the second factor
    importance = np.sqrt(total / total.max())
    return np.maximum(importance, SMALLEST_WEIGHT)


def choose(
    model: Model, tables: Sequence[Table], tolerance: float, measure: Callable[[list[Fold | None]], dict[str, float]]
) -> tuple[list[Fold | None], dict[str, float]]:
    """By centre type, the folds of smallest rank that keep below `tolerance`, in eV/Å, and what was measured of them.

    measure(folds): a dictionary with `force_error`. None where folding does not pay or is impossible.
    """
    centres = range(len(model.type_map))
    folders = [Folder(model, tables, centre) if foldable(model, tables, centre) else None for centre in centres]
    channels = tables[0].nodes.shape[2]
    candidates = {}  # by rank of every type: cuts in between give the same
    for cut in CUTS:
        ranks = tuple(folder.rank(cut) if folder else 0 for folder in folders)
        candidates[tuple(rank if rank <= PAYS * channels else 0 for rank in ranks)] = None

    def folds(ranks: tuple[int, ...]) -> list[Fold | None]:
        return [folder.fold(rank) if rank else None for folder, rank in zip(folders, ranks, strict=True)]

    measured = {}

    def suffices(ranks: tuple[int, ...]) -> bool:
        measured[ranks] = measure(folds(ranks))
        return measured[ranks]["force_error"] <= MARGIN * tolerance

    worthwhile = [ranks for ranks in candidates if any(ranks)]
    place = bisect_left(worthwhile, True, key=suffices)
    if place == len(worthwhile):
        return [None] * len(centres), {}
    return folds(worthwhile[place]), measured[worthwhile[place]]


def foldable(model: Model, tables: Sequence[Table], centre: int) -> bool:
    """Whether the first layer of the centre's net is a plain one and its empty slots lie in first sub-tables."""
    descriptor, first = model.descriptor, model.fitting.nets[centre].layers[0]
    empty = -descriptor.mean[centre, 0] / descriptor.std[centre, 0]
    inside = all(tables[k].lower <= empty < tables[k].upper for k in descriptor.pad_net[centre] if k >= 0)
    return first.residual == 0 and inside and (descriptor.net[centre] >= 0).any()
