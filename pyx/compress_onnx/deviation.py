"""deviation - how far several models differ on the same frames, called and written like deepmd's model deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .infer import DeepPot
from .model import ModelError
from .system import LABELS, Frames, folders_below, numbered_sets

COLUMNS = ("max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f", "devi_e")


def calc_model_devi(
    coord,
    box,
    atype,
    models,
    fname=None,
    frequency=1,
    mixed_type=False,
    fparam=None,
    aparam=None,
    real_data=None,
    atomic=False,
    relative=None,
    relative_v=None,
    spin=None,
):
    """Standard deviations over models, [nframes, 8]: step, then COLUMNS; virial and energy in eV per atom, force in eV/Å.

    coord, box, atype, mixed_type, fparam, aparam, spin: as DeepPot.eval has them, coord with its frames. models: DeepPot objects,
    of which an ensemble counts as all its models.
    fname: file to append the result to. frequency: steps from one frame to the next.
    real_data: energy [nframes, 1] and virial [nframes, 9] per atom, force [nframes, natoms, 3], to give the root mean
    square deviations of the models from these instead.
    atomic: the forces' deviation of each atom in natoms more columns. relative, relative_v: divide the deviations of an
    atom's force, or of a frame's virial, by the length of the mean or real one plus this.
    """
    natoms = np.shape(atype)[-1]
    results = [model.eval_models(coord, box, atype, False, fparam, aparam, mixed_type, spin) for model in models]
    energies, forces, virials = (
        np.array([values for found in results for values in found[name].swapaxes(0, 1)])
        for name in ("energies", "forces", "virials")
    )
    real = real_data or dict.fromkeys(LABELS)
    virial, size = _spread(virials / natoms, real["virial"])
    if relative_v is not None:
        virial /= size[:, None] + relative_v
    force, size = _spread(forces, real["force"])
    force = np.linalg.norm(force, axis=-1)
    if relative is not None:
        force /= size + relative
    energy, _ = _spread(energies / natoms, real["energy"])
    of_virial = virial.max(axis=1), virial.min(axis=1), np.linalg.norm(virial, axis=1) / 3
    of_force = force.max(axis=1), force.min(axis=1), force.mean(axis=1)
    steps = np.arange(len(force)) * frequency
    deviations = np.column_stack([steps, *of_virial, *of_force, energy, *([force] if atomic else [])])
    if fname:
        append(fname, deviations)
    return deviations


def _spread(values, real):
    """Root mean square over models, axis 0, of values from their mean or the real ones, and the length of the latter."""
    centre = values.mean(axis=0) if real is None else np.reshape(real, values.shape[1:])
    return np.sqrt(np.mean((values - centre) ** 2, axis=0)), np.linalg.norm(centre, axis=-1)


def append(file: str | Path, deviations: np.ndarray, title: str = "") -> None:
    """Append what calc_model_devi returns, below a line with the title and one with the names of the columns."""
    names = [*COLUMNS, *(["atm_devi_f(N)"] if deviations.shape[1] > 1 + len(COLUMNS) else [])]
    header = f"{title}\n{'step':10}" + "".join(f"{name:19}" for name in names)
    formats = ["%12d", *["%19.6e"] * (deviations.shape[1] - 1)]
    with open(file, "ab") as stream:
        np.savetxt(stream, deviations, fmt=formats, delimiter="", header=header)


def model_devi(
    models: Sequence[str | Path],
    system: str | Path,
    output: str | Path,
    *,
    frequency: int = 1,
    real_error: bool = False,
    progress: Callable[[str], None] | None = None,
    device: str = "cpu",
    **options,
) -> dict[Path, np.ndarray]:
    """The deviations of each system folder in and below `system`, all appended to the file `output`.

    real_error: from the data's energies, forces and virials. options: atomic, relative, relative_v of calc_model_devi.
    """
    potentials = [DeepPot(model, outside="warn", device=device) for model in models]
    if sum(potential.models for potential in potentials) < 2 and not real_error:
        raise ModelError(
            f"{models[0]}: a single model deviates from nothing, so name another one or ask for real errors."
        )
    type_map = potentials[0].get_type_map()
    for potential in potentials:
        if potential.get_type_map() != type_map:
            raise ModelError(f"{potential.model_file}: its types are not those of {potentials[0].model_file}.")
    folders = folders_below(Path(system))
    if not folders:
        raise ModelError(f"{system}: no system folder, which has a file type.raw, in it.")
    found = {}
    for folder in folders:
        if progress:
            progress(str(folder))
        parts = []
        for frames in numbered_sets(folder, type_map, LABELS if real_error else ()):
            real = _real_data(folder, frames) if real_error else None
            arguments = frames.positions, frames.cells, frames.types, potentials
            given = frames.parameters_of(potentials[0])
            parts.append(calc_model_devi(*arguments, mixed_type=True, real_data=real, **given, **options))
        found[folder] = np.concatenate(parts)
        found[folder][:, 0] = np.arange(len(found[folder])) * frequency
    for folder, deviations in found.items():
        append(output, deviations, str(folder))
    return found


def _real_data(folder: Path, frames: Frames) -> dict[str, np.ndarray]:
    missing = [name for name in LABELS if name not in frames.labels]
    if missing:
        raise ModelError(f"{folder}: real errors need {' and '.join(missing)} in every set, and this system lacks it.")
    atoms = frames.types.shape[1]
    energy, force, virial = (frames.labels[name] for name in LABELS)
    return {"energy": energy / atoms, "force": force, "virial": virial / atoms}
