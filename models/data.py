"""data - what the models of this folder are trained on, and the groups of atoms that references are stored for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import labels
import magnet
import numpy as np
import tip3p


@dataclass(frozen=True)
class Data:
    """Frames of one system, and groups of other atoms. Å, eV."""

    type_map: tuple[str, ...]
    atype: np.ndarray  # [n]
    coord: np.ndarray  # [frames, n, 3]
    cell: np.ndarray  # [frames, 3, 3]
    labels: dict[str, np.ndarray]  # [frames, ...] by the name of DeePMD's file, inputs such as fparam too
    groups: dict[str, dict[str, np.ndarray]]  # coord, cell unless there is no periodicity, atype, further inputs


def group(coord: np.ndarray, cell: np.ndarray | None, atype: np.ndarray) -> dict[str, np.ndarray]:
    periodic = {} if cell is None else {"cell": cell}
    return {"coord": coord, **periodic, "atype": atype.astype(np.int32)}


@cache
def water() -> Data:
    """32 molecules at the density of the liquid, 300 to 700 K."""
    rng = np.random.default_rng(7)
    edge = (32 * 29.9) ** (1 / 3)
    tip3p.trajectory(rng, 2, edge, [600], 100, 100)
    coord, energy, force = tip3p.trajectory(rng, 2, edge, [700, 500, 400, 300], 6000, 50)
    order = rng.permutation(np.arange(20, len(coord)))  # the first frames still are the lattice
    coord, energy, force = coord[order], energy[order], force[order]
    atype = np.tile([0, 1, 1], 32)
    last = coord[-1]

    sites = last.reshape(-1, 3, 3)
    centre = sites[:, :1]
    sites = sites - centre + centre % edge  # whole molecules, oxygens in the box
    nearest = np.argsort(np.linalg.norm(sites[:, 0] - edge / 2, axis=-1))[:9]
    cell = np.array([[5.0, 0, 0], [1.2, 4.9, 0], [-0.6, 0.8, 5.0]])
    small = np.concatenate([tip3p.molecule(rng) + site @ cell for site in tip3p.FCC])
    contact = np.concatenate([tip3p.molecule(rng), tip3p.molecule(rng) + [2.7, 0, 0]])
    contact[1] *= 0.7  # an O-H bond well below any in the training data
    groups = {
        "periodic": group(last, np.eye(3) * edge, atype),
        "triclinic": group(small + rng.normal(scale=0.03, size=small.shape), cell, np.tile([0, 1, 1], 4)),
        "cluster": group(sites[nearest].reshape(-1, 3), None, np.tile([0, 1, 1], 9)),
        "contact": group(contact, None, np.tile([0, 1, 1], 2)),
    }
    cells = np.broadcast_to(np.eye(3) * edge, (len(coord), 3, 3))
    return Data(("O", "H"), atype, coord, cells, {"energy": energy, "force": force}, groups)


def small_water() -> Data:
    """The same without its large group, whose references take much space."""
    data = water()
    return replace(data, groups={name: atoms for name, atoms in data.groups.items() if name != "periodic"})


def water_with(name: str, atomic_name: str, label: Callable[[np.ndarray], np.ndarray]) -> Data:
    """Water labelled with a quantity of its atoms and their sum."""
    atomic = label(water().coord)
    return replace(small_water(), labels={name: atomic.sum(1), atomic_name: atomic})


@cache
def alloy() -> Data:
    """32 sites of ordered Cu3Au, where no Au has an Au for nearest neighbour: strained and displaced at random."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    rng = np.random.default_rng(8)
    atype = np.tile([1, 0, 0, 0], 8)
    frames = []
    for _ in range(400):
        atoms = bulk("Cu", "fcc", a=rng.uniform(3.65, 3.9), cubic=True).repeat(2)
        atoms.symbols = np.array(["Cu", "Au"])[atype]
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(rng.uniform(0.02, 0.14), rng=rng)
        atoms.calc = EMT()
        frames.append((atoms.positions, atoms.cell.array, atoms.get_potential_energy(), atoms.get_forces()))
    coord, cell, energy, force = (np.array(part) for part in zip(*frames, strict=True))

    last = coord[-1]
    nearest = np.argsort(np.linalg.norm(last - last.mean(0), axis=1))[:13]
    small = np.array([[3.8, 0, 0], [0.4, 3.7, 0], [-0.3, 0.5, 3.8]])
    close = np.array([[0, 0, 0], [1.6, 0, 0], [0.4, 2.5, 0], [0.2, 0.3, 2.6]])
    groups = {
        "periodic": group(last, cell[-1], atype),
        "triclinic": group(tip3p.FCC @ small + rng.normal(scale=0.1, size=(4, 3)), small, atype[:4]),
        "cluster": group(last[nearest], None, atype[nearest]),
        "contact": group(close, None, np.array([1, 0, 1, 0])),
    }
    return Data(("Cu", "Au"), atype, coord, cell, {"energy": energy, "force": force}, groups)


@cache
def alloy_with_parameters() -> Data:
    """The alloy, its energy scaled by a parameter of the frame, and pairs that parameters of frame and atoms repel."""
    rng = np.random.default_rng(9)
    data = alloy()
    frames, n = data.coord.shape[:2]
    fparam, aparam = rng.uniform(0, 0.5, (frames, 2)), rng.uniform(0, 0.5, (frames, n, 1))
    scale = 1 + fparam[:, 1]
    energy, force = scale * data.labels["energy"], scale[:, None, None] * data.labels["force"]
    for k in range(frames):
        strength = fparam[k, 0] + aparam[k, :, 0]
        more_energy, more_force = labels.repulsion(data.coord[k], data.cell[k], strength)
        energy[k] += more_energy
        force[k] += more_force
    given = {"fparam": fparam, "aparam": aparam}
    groups = {
        name: atoms | {"fparam": rng.uniform(0, 0.5, 2), "aparam": rng.uniform(0, 0.5, (len(atoms["atype"]), 1))}
        for name, atoms in data.groups.items()
    }
    return replace(data, labels={"energy": energy, "force": force, **given}, groups=groups)


def alloy_with_averages() -> Data:
    """The alloy, labelled with its volume and energy per atom."""
    data = alloy()
    per_atom = np.column_stack([np.abs(np.linalg.det(data.cell)), data.labels["energy"]]) / len(data.atype)
    return replace(data, labels={"per_atom": per_atom})


@cache
def oxide() -> Data:
    """32 atoms of NiO with a magnetic moment on each Ni."""
    rng = np.random.default_rng(10)
    cell = 4.17 * np.diag([2.0, 2.0, 1.0])
    lattice, atype = magnet.rock_salt((2, 2, 1), 4.17)
    frames = []
    for _ in range(300):
        coord = lattice + rng.normal(scale=0.08, size=lattice.shape)
        spin = magnet.moments(rng, atype)
        frames.append((coord, spin, *magnet.energy_forces(coord, cell, atype, spin)))
    coord, spin, energy, force, force_mag = (np.array(part) for part in zip(*frames, strict=True))
    cells = np.broadcast_to(cell, (len(coord), 3, 3))

    small = np.array([[4.1, 0, 0], [0.3, 4.2, 0], [-0.2, 0.4, 4.3]])
    corner, kinds = magnet.rock_salt((1, 1, 1), 1.0)
    near = np.argsort(np.linalg.norm(coord[-1] - cell.sum(0) / 2, axis=1))[:15]
    groups = {
        "periodic": group(coord[-1], cell, atype) | {"spin": spin[-1]},
        "triclinic": group(corner @ small, small, kinds) | {"spin": magnet.moments(rng, kinds)},
        "cluster": group(coord[-1][near], None, atype[near]) | {"spin": spin[-1][near]},
        "contact": group(np.array([[0, 0, 0], [1.3, 0.2, 0], [0.4, 2.2, 0.3]]), None, np.array([0, 1, 0]))
        | {"spin": magnet.moments(rng, np.array([0, 1, 0]))},
    }
    given = {"energy": energy, "force": force, "force_mag": force_mag, "spin": spin}
    return Data(("Ni", "O"), atype, coord, cells, given, groups)


DATA = {
    "water": water,
    "small_water": small_water,
    "water_dipole": lambda: water_with("dipole", "atomic_dipole", labels.dipoles),
    "water_polar": lambda: water_with("polarizability", "atomic_polarizability", labels.polarizabilities),
    "water_dos": lambda: water_with("dos", "atom_dos", labels.densities),
    "alloy": alloy,
    "alloy_with_averages": alloy_with_averages,
    "alloy_with_parameters": alloy_with_parameters,
    "oxide": oxide,
}
