"""calculator - ASE's interface: atoms.calc = DP(model="model.onnx")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.geometry import complete_cell
from ase.stress import full_3x3_to_voigt_6_stress

from .infer import DeepPot


class DP(Calculator):
    """Energies in eV, forces in eV/Å and stresses in eV/Å³ of a compressed model.

    Of an ensemble, their means; `results["forces_deviation"]` [natoms] is then the standard deviation of each force.

    fparam and aparam of models that take them are those of `atoms.info`, numbers of the frame and [natoms, number]; spins
    are the initial magnetic moments [natoms, 3], and `results["force_mag"]` [natoms, 3] the forces on them.

    model: path of an .onnx. type_dict: number of the model's type by chemical symbol; default: by the model's type map.
    skin: Å beyond the cutoff that neighbour lists reach, so that one serves for several steps of dynamics. threads,
    runtime, outside and device as for DeepPot.
    """

    implemented_properties = ("energy", "energies", "free_energy", "forces", "stress", "stresses")

    def __init__(
        self,
        model: str,
        *,
        type_dict: Mapping[str, int] | None = None,
        threads: int = 1,
        runtime: str = "auto",
        skin: float = 1.0,
        outside: str | None = None,
        device: str = "cpu",
        **options,
    ):
        super().__init__(**options)
        self.potential = DeepPot(model, runtime=runtime, threads=threads, skin=skin, outside=outside, device=device)
        self.type_dict = dict(type_dict or {name: k for k, name in enumerate(self.potential.get_type_map())})

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        unknown = sorted(set(self.atoms.symbols) - set(self.type_dict))
        if unknown:
            known = " ".join(self.type_dict)
            raise ValueError(f"{self.potential.model_file} has no type for {', '.join(unknown)}; it knows {known}")
        types = [self.type_dict[symbol] for symbol in self.atoms.symbols]
        cell = periodic_cell(self.atoms, self.potential.get_rcut())
        found = self.potential.eval_models(
            self.atoms.positions[None],
            None if cell is None else cell[None],
            types,
            atomic=not {"energies", "stresses"}.isdisjoint(properties),
            fparam=self.atoms.info.get("fparam") if self.potential.get_dim_fparam() else None,
            aparam=self.atoms.info.get("aparam") if self.potential.get_dim_aparam() else None,
            spin=self.atoms.get_initial_magnetic_moments() if self.potential.has_spin else None,
        )
        energy = found["energy"].item()
        self.results = {"energy": energy, "free_energy": energy, "forces": found["force"][0]}
        if self.potential.models > 1:
            self.results["forces_deviation"] = found["force_devi"][0]
        if self.potential.has_spin:
            self.results["force_mag"] = found["force_mag"][0]
        has_volume = self.atoms.cell.rank == 3
        if has_volume:
            self.results["stress"] = self._stress(found["virial"])[0]
        elif not {"stress", "stresses"}.isdisjoint(properties):
            raise PropertyNotImplementedError("a stress needs a cell with three vectors")
        if "atom_energy" in found:
            self.results["energies"] = found["atom_energy"][0, :, 0]
            if has_volume:
                self.results["stresses"] = self._stress(found["atom_virial"][0])

    def _stress(self, virial: np.ndarray) -> np.ndarray:
        """ASE's six components [n, 6] of virials [n, 9]."""
        tensor = virial.reshape(-1, 3, 3)
        symmetric = (tensor + tensor.transpose(0, 2, 1)) / 2
        return full_3x3_to_voigt_6_stress(-symmetric / self.atoms.get_volume())


def periodic_cell(atoms: Atoms, cutoff: float) -> np.ndarray | None:
    """A cell [3, 3] with the atoms' periodicity: where there is none, too long for images to be seen; None: nowhere."""
    if not atoms.pbc.any():
        return None
    cell = complete_cell(atoms.cell)
    fractions = np.linalg.solve(cell.T, atoms.positions.T)
    height = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    needed = np.ptp(fractions, axis=1) + 2 * cutoff / height
    return np.where(atoms.pbc, 1.0, np.maximum(needed, 1.0))[:, None] * cell
