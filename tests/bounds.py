"""bounds - how far results may be from those of the uncompressed original."""

import numpy as np
from cases import Case, Frame

FLOAT64, FLOAT32 = 1e-8, 2e-4  # eV/Å, of forces


def force_bound(case: Case) -> float:
    """In eV/Å."""
    return FLOAT32 if case.float32 else FLOAT64


def check(result: dict, frame: Frame, force: float):
    """Errors within `force` eV/Å, more where forces are above 100 eV/Å, and what follows from it for energy and virial.

    Other results than energies count relative to the largest of one atom.
    """
    unit = np.abs(frame.expected["atom_tensor"]).max() if "atom_tensor" in frame.expected else 1.0
    scale = unit * max(1, np.abs(frame.expected.get("force", 0)).max() / unit / 100)
    atoms = len(frame.atype)
    errors = {name: np.abs(result[name] - value).max() for name, value in frame.expected.items()}
    bounds = {
        "energy": 0.1 * force * atoms,
        "tensor": 0.1 * force * atoms * unit,
        "force": force * scale,
        "force_mag": force * scale,
        "virial": force * scale * atoms,
        "atom_energy": force * scale,
        "atom_tensor": force * scale,
        "atom_virial": force * scale,
    }
    assert all(errors[name] <= bounds[name] for name in errors), (frame.group, errors, bounds)
