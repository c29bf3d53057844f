"""fold - the channels of a centre type's first sub-tables, reduced to their numerical rank (docs/math.md).

All M channels are smooth functions of one scalar, so the nodal rows G [rows, M] of the tables that atoms of
one type use are nearly of rank r < M: G = (G·A)·B. Contraction then needs r channels instead of M, and B goes
into the first layer of the fitting net. Descriptors that are linear in the channels, and outputs that need the
channels themselves (dipole, polar), are left as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from .model import Model, Term, TwoBody
from .tabulate import Table, first_parts

PAYS = 0.8  # of the channels: a larger rank is not worth its second factor
MARGIN = 0.3  # of the tolerance is aimed at: other geometries than those measured may do worse
CUTS = 10.0 ** -np.arange(4, 14.5, 0.5)
SMALLEST_WEIGHT = 1e-3  # of the largest: keeps the reconstruction of channels that hardly matter well conditioned
FOLDED_KINDS = frozenset({"ener", "dos", "property"})


@dataclass(frozen=True, eq=False)
class Fold:
    """Of one descriptor and centre type."""

    table: np.ndarray  # [nodes, 3, rank], first sub-tables one after the other, as tabulate.first_parts has them
    axis: np.ndarray  # [rank, axis]

    @property
    def rank(self) -> int:
        return self.table.shape[2]


@dataclass(frozen=True, eq=False)
class TermFold:
    """Of one term: folds by descriptor and centre type, None for none, and the first layers that belong to them."""

    members: tuple[tuple[Fold | None, ...], ...]  # [descriptors][nt]
    weights: tuple[np.ndarray | None, ...]  # [nt], [folded features and other inputs, width of the first layer]

    @property
    def ranks(self) -> list[list[int]]:
        """[descriptors][nt], 0 for none."""
        return [[fold.rank if fold else 0 for fold in folds] for folds in self.members]


class Folder:
    """Folds of one descriptor and centre type at any rank."""

    def __init__(self, term: Term, member: int, tables: Sequence[Table], centre: int):
        """tables: those of the descriptor's nets."""
        descriptor = term.descriptors[member]
        self._nodes, steps = first_parts(descriptor, tables, centre)
        channels = self._nodes.shape[2]
        self._axis = descriptor.axis
        first = _first_weight(term, centre)[_rows(term)[member]]
        self._weight = first.reshape(channels, self._axis, -1)
        self._importance = _importance(self._weight)
        # value, slope and curvature as they enter an interval of that width
        entering = self._nodes * np.stack([np.ones_like(steps), steps, steps**2], axis=1)[:, :, None]
        _, self.singular, self._basis = np.linalg.svd(
            entering.reshape(-1, channels) * self._importance, full_matrices=False
        )
        self.singular /= self.singular[0]

    def rank(self, cut: float) -> int:
        """How many singular values are above `cut` of the largest; 0 where that does not pay."""
        rank = int((self.singular > cut).sum())
        return rank if rank <= PAYS * len(self._importance) else 0

    def fold(self, rank: int) -> tuple[Fold, np.ndarray]:
        """The fold, and what takes the place of the descriptor's rows of the first layer."""
        basis = self._basis[:rank]
        reduce, restore = (basis * self._importance).T, basis / self._importance
        weight = np.tensordot(restore, self._weight, axes=1)
        return Fold(self._nodes @ reduce, restore[:, : self._axis]), weight.reshape(rank * self._axis, -1)


def _first_weight(term: Term, centre: int) -> np.ndarray:
    return term.fitting.nets[term.fitting.net[centre]].layers[0].weight


def _rows(term: Term) -> list[slice]:
    """Where each descriptor's features are among the inputs of the first layer, then where the other inputs are."""
    ends = list(accumulate(descriptor.features for descriptor in term.descriptors))
    return [slice(begin, end) for begin, end in zip([0, *ends], [*ends, None], strict=True)]


def _importance(weight: np.ndarray) -> np.ndarray:
    """What the first fitting layer, weight [M, axis, width], makes of an error of each channel, [M]."""
    square = (weight**2).sum(axis=2)
    total = square.sum(axis=1)
    total[: square.shape[1]] += square.sum(axis=0)  # the first channels are also the second factor
    importance = np.sqrt(total / total.max())
    return np.maximum(importance, SMALLEST_WEIGHT)


class TermFolder:
    """Folds of one term at any ranks."""

    def __init__(self, term: Term, tables: Sequence[Table]):
        """tables: those of the nets of its descriptors, one descriptor after the other."""
        self.term = term
        self.folders: dict[tuple[int, int], Folder] = {}  # by descriptor and centre type
        begin = 0
        for member, descriptor in enumerate(term.descriptors):
            own = tables[begin : begin + len(descriptor.nets)]
            begin += len(descriptor.nets)
            for centre in range(len(term.fitting.net)):
                if foldable(term, member, own, centre):
                    self.folders[member, centre] = Folder(term, member, own, centre)

    def ranks(self, cut: float) -> tuple[int, ...]:
        """Of each of `folders`."""
        return tuple(folder.rank(cut) for folder in self.folders.values())

    def fold(self, ranks: Sequence[int]) -> TermFold | None:
        """None where all ranks are 0."""
        if not any(ranks):
            return None
        made = {
            place: folder.fold(rank)
            for (place, folder), rank in zip(self.folders.items(), ranks, strict=True)
            if rank > 0
        }
        weights = []
        for centre in range(len(self.term.fitting.net)):
            folded = any((member, centre) in made for member in range(len(self.term.descriptors)))
            weights.append(self._weight(made, centre) if folded else None)
        members = tuple(
            tuple(made[member, centre][0] if (member, centre) in made else None for centre in range(len(weights)))
            for member in range(len(self.term.descriptors))
        )
        return TermFold(members, tuple(weights))

    def _weight(self, made: dict, centre: int) -> np.ndarray:
        whole, (*rows, rest) = _first_weight(self.term, centre), _rows(self.term)
        parts = [made[k, centre][1] if (k, centre) in made else whole[place] for k, place in enumerate(rows)]
        return np.concatenate([*parts, whole[rest]])


def choose(
    model: Model,
    tables: Sequence[Table],
    tolerance: float,
    measure: Callable[[list[TermFold | None]], dict[str, float]],
) -> tuple[list[TermFold | None], dict[str, float]]:
    """By term, the folds of smallest rank that keep below `tolerance`, in eV/Å, and what was measured of them.

    measure(folds): a dictionary with `force_error`. Nothing where folding does not pay or is impossible.
    """
    folders, begin = [], 0
    for term in model.terms:
        count = sum(len(descriptor.nets) for descriptor in term.descriptors)
        folders.append(TermFolder(term, tables[begin : begin + count]))
        begin += count
    candidates = dict.fromkeys(tuple(folder.ranks(cut) for folder in folders) for cut in CUTS)

    def folds(ranks: tuple[tuple[int, ...], ...]) -> list[TermFold | None]:
        return [folder.fold(some) for folder, some in zip(folders, ranks, strict=True)]

    measured = {}

    def suffices(ranks: tuple[tuple[int, ...], ...]) -> bool:
        measured[ranks] = measure(folds(ranks))
        return measured[ranks]["force_error"] <= MARGIN * tolerance

    worthwhile = [ranks for ranks in candidates if any(map(any, ranks))]
    place = bisect_left(worthwhile, True, key=suffices)
    if place == len(worthwhile):
        return [], {}
    return folds(worthwhile[place]), measured[worthwhile[place]]


def foldable(term: Term, member: int, tables: Sequence[Table], centre: int) -> bool:
    """Whether the first layer of the centre's net is a plain one and its empty slots lie in first sub-tables."""
    descriptor, fitting = term.descriptors[member], term.fitting
    if not isinstance(descriptor, TwoBody) or descriptor.axis == 0 or fitting.kind not in FOLDED_KINDS:
        return False
    if fitting.net[centre] < 0:
        return False
    inside = all(
        tables[descriptor.variants[variant]].lower <= empty < tables[descriptor.variants[variant]].upper
        for variant, empty in zip(descriptor.pad_net[centre], descriptor.pad_env[centre, :, 0], strict=True)
        if variant >= 0
    )
    first = fitting.nets[fitting.net[centre]].layers[0]
    return first.residual == 0 and inside and bool((descriptor.net[centre] >= 0).any())
