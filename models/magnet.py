"""magnet - a rock salt crystal whose cations have magnetic moments: energies, forces and magnetic forces to train on.

Pairs repel or attract by type, moments couple antiparallel, and their lengths are held near 1.2. Å, eV, Bohr magnetons.
"""

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

CUTOFF = 4.2
STRENGTH = np.array([[2.0, -1.5], [-1.5, 1.2]])  # eV at no distance, by types
CORE = 60.0  # eV, of all pairs
EXCHANGE = 0.15
MOMENT, STIFFNESS = 1.2, 0.5


def rock_salt(cells, edge):
    """Sites [n, 3] and types [n] of cells[0] x cells[1] x cells[2] cubes."""
    sites = np.indices([2 * count for count in cells]).reshape(3, -1).T
    return 0.5 * edge * sites, sites.sum(1) % 2


def moments(rng, atype):
    """Of random directions and nearly equal lengths, on type 0: [n, 3]."""
    spin = rng.normal(size=(len(atype), 3))
    spin *= MOMENT * rng.normal(1, 0.05, (len(atype), 1)) / np.linalg.norm(spin, axis=1, keepdims=True)
    return np.where(atype[:, None] == 0, spin, 0)


def energy_forces(coord, cell, atype, spin):
    """Energy, -dE/dcoord [n, 3] and -dE/dspin [n, 3]."""
    i, j, d = neighbor_list("ijD", Atoms(positions=coord, cell=cell, pbc=True), CUTOFF)
    r = np.linalg.norm(d, axis=1)
    fade, slope = (1 - (r / CUTOFF) ** 2) ** 3, -6 * r / CUTOFF**2 * (1 - (r / CUTOFF) ** 2) ** 2
    core, core_slope = CORE * np.exp(-2.5 * r), -2.5 * CORE * np.exp(-2.5 * r)
    coupling = STRENGTH[atype[i], atype[j]] + EXCHANGE * np.sum(spin[i] * spin[j], axis=1)
    pull = 0.5 * ((coupling + core) * slope + core_slope * fade)
    push = (pull / r)[:, None] * d
    force, force_mag = np.zeros_like(coord), np.zeros_like(spin)
    np.add.at(force, i, push)
    np.subtract.at(force, j, push)
    np.subtract.at(force_mag, i, EXCHANGE * fade[:, None] * spin[j])

    excess = np.sum(spin**2, axis=1) - MOMENT**2
    magnetic = atype == 0
    energy = 0.5 * np.sum((coupling + core) * fade) + STIFFNESS * np.sum(excess[magnetic] ** 2)
    force_mag -= np.where(magnetic[:, None], 4 * STIFFNESS * excess[:, None] * spin, 0)
    return energy, force, force_mag
