"""probe - generated geometries on which two models are compared, the same ones for the same model.

They are not meant to be likely, but to reach every table from end to end: periodic packings around the density
that `sel` was chosen for, with neighbours across the cutoff at all distances and atoms that see their own
images; small clusters in vacuum; and such clusters with a contact, down to 0.4 of the smallest distance of
the training data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product

import numpy as np

from .model import Model

PACKED_ATOMS = 40
FILL = 0.65  # how much of `sel` the neighbours of a packing take
CLUSTER_ATOMS = 6
MOST_CLUSTERS = 20
CONTACTS = (0.4, 0.5, 0.6, 0.7, 0.85)  # of the smallest distance
SPREAD_SWEEPS = 100
FAR = 20.0  # Å, where the cutoff is further, which means that there is none
VIRTUAL = (0.25, 0.45)  # Å, how far atoms are from those that stand for their spins
PRESENT = 0.8  # of the atoms, where a mask says which ones are there


@dataclass(frozen=True)
class Probe:
    """Atoms in a cell. Those of different groups do not see each other. Å."""

    coord: np.ndarray  # [n, 3]
    atype: np.ndarray  # int32 [n]
    cell: np.ndarray  # [3, 3], zeros: no periodicity
    group: np.ndarray  # int [n]
    contacts: bool = False  # pairs nearer than the smallest distance, in second sub-tables
    fparam: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [number of fparam]
    aparam: np.ndarray | None = None  # [n, number of aparam], None: no such parameters
    spin: np.ndarray | None = None  # [n, 3], None: no spin

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What a graph with the interface `cell` takes."""
        inputs = {"coord": self.coord, "atype": self.atype, "cell": self.cell}
        if len(self.fparam):
            inputs["fparam"] = self.fparam
        if self.aparam is not None:
            inputs["aparam"] = self.aparam
        if self.spin is not None:
            inputs["spin"] = self.spin
        return inputs

    @property
    def parameters(self) -> dict[str, np.ndarray | None]:
        """What libdpc takes beside atoms and cell."""
        return {"fparam": self.fparam, "aparam": self.aparam, "spin": self.spin}


@dataclass(frozen=True)
class Shell:
    """What a model expects around an atom."""

    cutoff: float  # Å
    sel: np.ndarray  # [nt] neighbours of each type

    @classmethod
    def of(cls, model: Model) -> Shell:
        """That of the descriptor that reaches furthest."""
        furthest = max(model.descriptors, key=lambda descriptor: descriptor.switch.cutoff)
        kinds = len(model.type_map)
        share = furthest.sel[0] / len(model.all_types)
        sel = np.full(kinds, share) if furthest.shared else np.array(furthest.sel[:kinds])
        return cls(min(furthest.switch.cutoff, FAR), sel)


def probes(model: Model, distance: float, seed: int = 0) -> list[Probe]:
    """Geometries for a model whose training data come as near as `distance` Å."""
    rng = np.random.default_rng(seed)
    shell = Shell.of(model)
    geometries = [
        packing(rng, shell, distance, 2 * FILL),
        packing(rng, shell, distance, FILL),
        packing(rng, shell, 1.5 * distance, FILL / 2),
        _clusters(rng, shell, distance),
        _clusters(rng, shell, distance, CONTACTS),
    ]
    return [_with_parameters(rng, model, geometry) for geometry in geometries]


def _with_parameters(rng: np.random.Generator, model: Model, probe: Probe) -> Probe:
    """The same with random frame and atom parameters, as spread as those of the training, and spins, where the model has any."""
    fitting = model.terms[0].fitting
    drawn = {}
    if model.masked:
        drawn["aparam"] = (rng.random((len(probe.coord), 1)) < PRESENT) * 1.0
    if model.spin is not None:
        direction = rng.normal(size=probe.coord.shape)
        moved = (
            rng.uniform(*VIRTUAL, (len(direction), 1)) * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        )
        scale = model.spin[probe.atype][:, None]
        drawn["spin"] = np.divide(moved, scale, out=moved.copy(), where=scale > 0)
    if fitting.fparam.size:
        drawn["fparam"] = fitting.fparam[0] + rng.normal(size=fitting.fparam.shape[1]) / fitting.fparam[1]
    if fitting.aparam.size:
        size = len(probe.coord), fitting.aparam.shape[1]
        drawn["aparam"] = fitting.aparam[0] + rng.normal(size=size) / fitting.aparam[1]
    return replace(probe, **drawn)


def packing(rng: np.random.Generator, shell: Shell, distance: float, fill: float) -> Probe:
    """Random atoms in a triclinic cell, hardly any nearer than `distance`, their neighbours `fill` of sel."""
    kinds = len(shell.sel)
    atoms = max(PACKED_ATOMS, 2 * kinds)
    cell = np.eye(3) + np.tril(rng.uniform(-0.2, 0.2, (3, 3)), -1)
    cell *= np.cbrt(atoms / _density(shell, distance, fill))
    atype = np.concatenate([np.repeat(np.arange(kinds), 2), _draw(rng, shell, atoms - 2 * kinds)])
    coord = _spread(rng.uniform(0, 1, (atoms, 3)) @ cell, cell, distance)
    return Probe(coord, atype.astype(np.int32), cell, np.zeros(atoms, int))


def _density(shell: Shell, distance: float, fill: float) -> float:
    """Atoms per Å³ of which `fill` of sel are within the cutoff, no more than can be packed at `distance`."""
    return min(fill * shell.sel.sum() / (4 / 3 * np.pi * shell.cutoff**3), 0.8 / distance**3)


def _draw(rng: np.random.Generator, shell: Shell, count: int) -> np.ndarray:
    """Types, as frequent as `sel` expects them."""
    share = np.maximum(shell.sel, 1)
    return rng.choice(len(share), count, p=share / share.sum())


def _spread(coord: np.ndarray, cell: np.ndarray, distance: float) -> np.ndarray:
    """Positions pushed apart, pair by pair, until none is nearer than `distance` or it takes too long."""
    inverse = np.linalg.inv(cell)
    for _ in range(SPREAD_SWEEPS):
        delta = coord[:, None] - coord
        delta -= np.round(delta @ inverse) @ cell
        apart = np.linalg.norm(delta, axis=-1)
        np.fill_diagonal(apart, np.inf)
        if apart.min() >= distance:
            break
        push = np.maximum(1.01 * distance - apart, 0) / 2
        coord = coord + np.einsum("ij,ijk->ik", push / np.maximum(apart, 1e-6), delta)
    return coord


def _clusters(rng: np.random.Generator, shell: Shell, distance: float, contacts: tuple[float, ...] = ()) -> Probe:
    """An atom alone and small clusters, far from each other, for every pair of types.

    With `contacts`, one for each: the two atoms are that much of `distance` apart.
    """
    pairs = combinations_with_replacement(range(len(shell.sel)), 2)
    choices = [(*pair, factor) for pair, factor in product(pairs, contacts or (1.0, 1.0))]
    if len(choices) > MOST_CLUSTERS:
        choices = [choices[k] for k in rng.permutation(len(choices))[: max(MOST_CLUSTERS, len(shell.sel))]]
    apart = 4 * shell.cutoff
    coord, atype = [np.zeros((1, 3))], [[0]]
    for place, (first, second, factor) in enumerate(choices, start=1):
        width = np.cbrt(CLUSTER_ATOMS / _density(shell, distance, rng.uniform(0.3, 1)))
        cluster = _spread(rng.uniform(0, width, (CLUSTER_ATOMS, 3)), apart * np.eye(3), distance)
        if contacts:
            towards = rng.normal(size=3)
            cluster[1] = cluster[0] + factor * distance * towards / np.linalg.norm(towards)
        coord.append(cluster + [apart * place, 0, 0])
        atype.append([first, second, *_draw(rng, shell, CLUSTER_ATOMS - 2)])
    group = np.repeat(np.arange(len(atype)), [len(types) for types in atype])
    types = np.concatenate(atype).astype(np.int32)
    return Probe(np.concatenate(coord), types, np.zeros((3, 3)), group, contacts=bool(contacts))


def force_error(probe: Probe, expected: np.ndarray, found: np.ndarray) -> float:
    """Largest component of the difference of two arrays of forces [n, 3], eV/Å, or of what else atoms have [n, k].

    Where a group has forces beyond 100 eV/Å, its error counts relative to a hundredth of them.
    """
    return float(np.abs((found - expected) / force_scale(probe, expected)).max())


def force_scale(probe: Probe, expected: np.ndarray) -> np.ndarray:
    """What errors of each atom are divided by, [n, 1]: 1, or a hundredth of the largest force in its group."""
    scale = np.ones(probe.group.max() + 1)
    np.maximum.at(scale, probe.group, np.abs(expected).max(axis=1) / 100)
    return scale[probe.group, None]
