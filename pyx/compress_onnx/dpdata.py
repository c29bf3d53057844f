"""dpdata - the driver "compress-onnx" of the package dpdata: System.predict("model.onnx", driver="compress-onnx")."""

from __future__ import annotations

import os

import numpy as np
from dpdata.driver import Driver

from .infer import DeepPot


@Driver.register("compress-onnx")
class CompressOnnxDriver(Driver):
    """Labels systems with a model's energies (eV), forces (eV/Å) and virials (eV).

    fparam [frames, number] and aparam [frames, atoms, number] of models that take them are data of those names, spins
    those of the name spins [frames, atoms, 3]; the forces on them become force_mags.
    model: path of an .onnx, or a DeepPot. options: those of DeepPot, for a path.
    """

    def __init__(self, model: str | os.PathLike | DeepPot, **options):
        super().__init__()
        self.potential = model if isinstance(model, DeepPot) else DeepPot(model, **options)

    def label(self, data: dict) -> dict:
        """A copy of data with energies [frames], forces [frames, atoms, 3] and virials [frames, 3, 3]."""
        known = self.potential.get_type_map()
        names = [data["atom_names"][number] for number in data["atom_types"]]
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ValueError(
                f"{self.potential.model_file} has no type for {', '.join(unknown)}; it knows {' '.join(known)}"
            )
        cells = None if data.get("nopbc", False) else data["cells"]
        energies, forces, virials, *magnetic = self.potential.eval(
            data["coords"],
            cells,
            [known.index(name) for name in names],
            fparam=data.get("fparam") if self.potential.get_dim_fparam() else None,
            aparam=data.get("aparam") if self.potential.get_dim_aparam() else None,
            spin=data.get("spins") if self.potential.has_spin else None,
        )
        return {
            **data,
            "energies": energies.reshape(-1),
            "forces": forces.reshape(np.shape(data["coords"])),
            "virials": virials.reshape(-1, 3, 3),
            **({"force_mags": magnetic[0]} if magnetic else {}),
        }
