"""tip3p - flexible three-site water in a periodic cubic box: energies and forces to train small models on.

After TIP3P (Jorgensen 1983; CHARMM's flexible bonds and angle), with both pair terms shifted to zero force at CUTOFF,
so that a model with that cutoff can learn it. Lengths in angstrom, energies in eV, masses in u; O H H by molecule.
"""

import numpy as np

KCAL = 0.0433641  # eV in a kcal/mol
COULOMB = 14.399645  # eV Å per squared elementary charge
BOLTZMANN = 8.617333e-5  # eV/K
TIME = 10.180506  # fs in the time unit Å √(u/eV)

CUTOFF = 4.5
BOND, BOND_K = 0.9572, 2 * 450 * KCAL
ANGLE, ANGLE_K = np.radians(104.52), 2 * 55 * KCAL
EPSILON, SIGMA = 0.102 * KCAL, 3.188
CHARGE = np.array([-0.834, 0.417, 0.417])
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
MASS = np.array([15.999, 1.008, 1.008])


def molecule(rng):
    """One water at equilibrium, O at the origin, turned at random; [3, 3]."""
    half = ANGLE / 2
    atoms = BOND * np.array([[0, 0, 0], [np.sin(half), 0, np.cos(half)], [-np.sin(half), 0, np.cos(half)]])
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return atoms @ rotation


def minimum_image(vector, box):
    return vector - box * np.round(vector / box)


def energy_force(coord, box):
    """Energy and forces [n, 3] of coord [n, 3] in a cubic box of at least twice the cutoff."""
    force = np.zeros_like(coord)
    return bonds(coord, box, force) + angles(coord, box, force) + pairs(coord, box, force), force


def bonds(coord, box, force):
    site = coord.reshape(-1, 3, 3)
    vector = minimum_image(site[:, 1:] - site[:, :1], box)
    length = np.linalg.norm(vector, axis=-1)
    pull = (BOND_K * (length - BOND) / length)[..., None] * vector
    view = force.reshape(-1, 3, 3)
    view[:, 1:] -= pull
    view[:, 0] += pull.sum(1)
    return 0.5 * BOND_K * np.sum((length - BOND) ** 2)


def angles(coord, box, force):
    site = coord.reshape(-1, 3, 3)
    vector = minimum_image(site[:, 1:] - site[:, :1], box)
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    unit = vector / length
    cosine = np.sum(unit[:, 0] * unit[:, 1], axis=-1, keepdims=True)
    bend = np.arccos(cosine) - ANGLE
    slope = ANGLE_K * bend / np.sqrt(1 - cosine**2)  # -dE/d cos
    pull = slope[:, None] * (unit[:, ::-1] - cosine[:, None] * unit) / length
    view = force.reshape(-1, 3, 3)
    view[:, 1:] += pull
    view[:, 0] -= pull.sum(1)
    return 0.5 * ANGLE_K * np.sum(bend**2)


def pairs(coord, box, force):
    """Coulomb between all sites and Lennard-Jones between oxygens, of different molecules."""
    n = len(coord)
    i, j = np.triu_indices(n, 3)
    apart = i // 3 != j // 3
    i, j = i[apart], j[apart]
    vector = minimum_image(coord[j] - coord[i], box)
    r = np.linalg.norm(vector, axis=1)
    near = r < CUTOFF
    i, j, vector, r = i[near], j[near], vector[near], r[near]

    charge = np.tile(CHARGE, n // 3)
    strength = COULOMB * charge[i] * charge[j]
    energy = strength * (1 / r - 1 / CUTOFF + (r - CUTOFF) / CUTOFF**2)
    slope = strength * (1 / CUTOFF**2 - 1 / r**2)
    oxygen = (i % 3 == 0) & (j % 3 == 0)
    value, derivative = lennard_jones(r[oxygen])
    edge_value, edge_derivative = lennard_jones(CUTOFF)
    energy[oxygen] += value - edge_value - edge_derivative * (r[oxygen] - CUTOFF)
    slope[oxygen] += derivative - edge_derivative

    pull = (slope / r)[:, None] * vector
    np.add.at(force, i, pull)
    np.subtract.at(force, j, pull)
    return energy.sum()


def lennard_jones(r):
    x = (SIGMA / r) ** 6
    return 4 * EPSILON * (x * x - x), -24 * EPSILON * (2 * x * x - x) / r


def trajectory(rng, lattice_cells, box, temperatures, steps, every):
    """Langevin dynamics from an fcc lattice of lattice_cells³ cells of molecules, steps of 0.5 fs: coord, energy, force of every `every`-th."""
    cells = np.indices((lattice_cells,) * 3).reshape(3, -1).T
    lattice = (cells[:, None] + FCC).reshape(-1, 3) * box / lattice_cells
    coord = np.concatenate([molecule(rng) + site for site in lattice])
    mass = np.tile(MASS, len(lattice))[:, None]
    velocity = np.zeros_like(coord)
    dt, keep = 0.5 / TIME, np.exp(-0.5 / 50)  # a friction time of 50 fs
    energy, force = energy_force(coord, box)
    frames = []
    for temperature in temperatures:
        kick = np.sqrt((1 - keep**2) * BOLTZMANN * temperature / mass)
        for step in range(1, steps + 1):
            velocity += 0.5 * dt * force / mass
            coord = coord + 0.5 * dt * velocity
            velocity = keep * velocity + kick * rng.normal(size=coord.shape)
            coord = coord + 0.5 * dt * velocity
            energy, force = energy_force(coord, box)
            velocity += 0.5 * dt * force / mass
            if step % every == 0:
                frames.append((coord, energy, force))
    return [np.array(part) for part in zip(*frames, strict=True)]
