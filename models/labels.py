"""labels - of water molecules: dipoles, polarizabilities, densities of states; and a repulsion with parameters.

Molecules are whole and follow each other, O H H; what belongs to a molecule is given to its oxygen. coord [frames, n, 3], Å.
"""

import numpy as np
import tip3p

DENSITIES = 6  # energies of a density of states
LEVELS = np.linspace(0.8, 1.2, DENSITIES)
BROADENING = 0.1
REACH = 4.0  # of the repulsion


def dipoles(coord):
    """Of the charges of the force field: [frames, n, 3], e Å."""
    return on_oxygens(np.einsum("s,fmsx->fmx", tip3p.CHARGE, molecules(coord)))


def polarizabilities(coord):
    """Isotropic, and a part along the sum of the bond vectors: [frames, n, 9], Å³."""
    axis = bonds(coord)[0].sum(2)
    matrices = 0.5 * np.eye(3) + 0.3 * np.einsum("fmx,fmy->fmxy", axis, axis)
    return on_oxygens(matrices.reshape(*matrices.shape[:2], 9))


def densities(coord):
    """A level for each bond at its length, broadened: [frames, n, DENSITIES]."""
    _, length = bonds(coord)
    return on_oxygens(np.exp(-0.5 * ((LEVELS - length[..., None]) / BROADENING) ** 2).sum(2))


def molecules(coord):
    return coord.reshape(len(coord), -1, 3, 3)


def bonds(coord):
    """Vectors [frames, molecules, 2, 3] from O to H, and lengths."""
    site = molecules(coord)
    vector = site[:, :, 1:] - site[:, :, :1]
    return vector, np.linalg.norm(vector, axis=-1)


def on_oxygens(values):
    """[frames, molecules, k] -> [frames, n, k], zero on hydrogens."""
    result = np.zeros((len(values), values.shape[1], 3, values.shape[2]))
    result[:, :, 0] = values
    return result.reshape(len(values), -1, values.shape[2])


def repulsion(coord, cell, strength):
    """Energy and forces of sum over atoms i of strength_i times the sum over neighbours of (1 - (r / REACH)²)³."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    i, j, d = neighbor_list("ijD", Atoms(positions=coord, cell=cell, pbc=True), REACH)
    x = 1 - np.sum(d**2, axis=1) / REACH**2
    push = (strength[i] * 6 * x**2 / REACH**2)[:, None] * d
    force = np.zeros_like(coord)
    np.subtract.at(force, i, push)
    np.add.at(force, j, push)
    return np.sum(strength[i] * x**3), force
