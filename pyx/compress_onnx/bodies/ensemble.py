"""ensemble - body of Ensemble: the mean of several models' results, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence

from .builder import F64, Body

DOC = """Energies and their derivatives of several models -> means, what each of them gives, and force_devi [nall]: the
standard deviation over models of each atom's force, the root of the mean square of its length around the mean."""

SHAPES = {"energy": "1", "force": "nall 3", "virial": "3 3", "atom_energy": "nloc", "atom_virial": "nall 3 3"}
SHAPES |= {"force_mag": "nall 3"}
EACH = {"energies": "energy", "forces": "force", "virials": "virial"}  # with the models as the first axis
DEVIATION = "force_devi"


def ensemble(models: int, means: Sequence[str]) -> Body:
    """Inputs are `means`, those of SHAPES that there are, each model after model: NAME.0, NAME.1, ..."""
    given = {name: [f"{name}.{model}" for model in range(models)] for name in means}
    b = Body("Ensemble", DOC, {key: (F64, SHAPES[name]) for name, keys in given.items() for key in keys})
    for name, keys in given.items():
        (b.op("Sum", *(b[key] for key in keys)) / models).named(name)
    b.concat(*(b[key] for key in given["energy"])).named("energies")
    for name in ("force", "virial"):
        b.concat(*(b[key].unsqueeze(0) for key in given[name])).named(f"{name}s")
    difference = b.values["forces"] - b.values["force"]
    b.op("Sqrt", (difference * difference).sum(2).sum(0) / models).named(DEVIATION)
    return b.returns(*means, *EACH, DEVIATION)
