"""quantities - what of a kind of model is compared with its data, in the report's lines and the files of dp test."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from .model import ModelError
from .system import LABELS, Frames

# quantity, what the report calls it before and after MAE or RMSE, how wide that is, unit
REPORTED = (
    ("energy", "Energy {}", 19, "eV"),
    ("energy_per_atom", "Energy {}/Natoms", 19, "eV"),
    ("force", "Force  {}", 19, "eV/Å"),
    ("force_of_atoms", "Force atom {}", 20, "eV/Å"),  # of models with spins
    ("force_mag", "Force spin {}", 20, "eV/uB"),
    ("virial", "Virial {}", 19, "eV"),
    ("virial_per_atom", "Virial {}/Natoms", 19, "eV"),
    ("stress", "Stress {}", 19, "eV/Å³"),
    ("dos", "DOS {}", 19, "Occupation/eV"),
    ("dos_per_atom", "DOS {}/Natoms", 19, "Occupation/eV"),
    ("dipole", "Dipole  {}", 19, ""),
    ("dipole_per_root", "Dipole  {}/sqrtN", 19, ""),
    ("dipole_per_atom", "Dipole  {}/N", 19, ""),
    ("polarizability", "Polarizability  {}", 27, ""),
    ("polarizability_per_root", "Polarizability  {}/sqrtN", 27, ""),
    ("polarizability_per_atom", "Polarizability  {}/N", 27, ""),
)
# of tensors: no mean absolute errors, nothing per atom over several systems, and this below
OF_TENSORS = {key for key, *_, unit in REPORTED if not unit}
NOT_OF_SEVERAL = {key for key in OF_TENSORS if "_per_" in key}
TENSORS_NOTE = "The unit of error is the same as the unit of provided label."
AXES = ("x", "y", "z")
TENSOR = tuple(map("".join, product(AXES, AXES)))
# file suffix and letter, components and unit in the first line of a file of details
DETAILS = {
    "energy": (".e.out", "e", ("",), ""),
    "energy_per_atom": (".e_peratom.out", "e", ("",), ""),
    "force": (".f.out", "f", AXES, ""),
    "force_of_atoms": (".fr.out", "f", AXES, ""),
    "force_mag": (".fm.out", "fm", AXES, ""),
    "virial": (".v.out", "v", TENSOR, ""),
    "virial_per_atom": (".v_peratom.out", "v", TENSOR, ""),
    "stress": (".s.out", "s", TENSOR, " (eV/Å³)"),
    "dipole": (".out", "", AXES, ""),
    "polarizability": (".out", "p", TENSOR, ""),
}
# what a system's data files are called, by the model's kind
FILES = {"ener": (*LABELS, "force_mag"), "dos": ("dos",), "dipole": ("dipole",), "polar": ("polarizability",)}
Pairs = dict[str, tuple[np.ndarray, np.ndarray]]


def files_of(model) -> tuple[str, ...]:
    """The names of the data that a model is compared with, without .npy or .raw."""
    if model.kind not in FILES:
        raise ModelError(f"{model.model_file}: is of kind {model.kind}, whose data have no name that its file says.")
    return FILES[model.kind]


def compare(data: Frames, model) -> Pairs:
    """Data, or zeros, and what the model says, of each quantity."""
    return {"ener": _energies, "dos": _densities}.get(model.kind, _tensors)(data, model)


def is_known(key: str, data: Frames) -> bool:
    """Whether the data have what this quantity is compared with; a virial counts in a cell only."""
    if key.startswith("virial") or key == "stress":
        return "virial" in data.labels and data.cells is not None
    return key.partition("_per_")[0].removesuffix("_of_atoms") in data.labels


def _energies(data: Frames, potential) -> Pairs:
    given = data.parameters_of(potential)
    results = potential.eval(data.positions, data.cells, data.types, mixed_type=True, **given)
    predicted = dict(zip(LABELS, results[: len(LABELS)], strict=True))
    pairs = {name: (data.labels.get(name, np.zeros_like(values)), values) for name, values in predicted.items()}
    atoms = data.types.shape[1]
    for name in ("energy", "virial"):
        pairs[f"{name}_per_atom"] = tuple(values / atoms for values in pairs[name])
    if is_known("virial", data):
        volume = np.abs(np.linalg.det(data.cells))[:, None]
        pairs["stress"] = tuple(-values / volume for values in pairs["virial"])
    if potential.has_spin:
        pairs["force_of_atoms"] = pairs.pop("force")
        if is_known("force_mag", data):
            force, magnetic = results[len(LABELS) :]
            pairs["force_mag"] = tuple(values[magnetic[..., 0]] for values in (data.labels["force_mag"], force))
    return pairs


def _densities(data: Frames, model) -> Pairs:
    (dos,) = model.eval(data.positions, data.cells, data.types, mixed_type=True, **data.parameters_of(model))
    pair = data.labels["dos"], dos
    return {"dos": pair, "dos_per_atom": tuple(values / data.types.shape[1] for values in pair)}


def _tensors(data: Frames, model) -> Pairs:
    """Per atom: per one that has a tensor, of which each frame has as many."""
    (name,) = FILES[model.kind]
    given = data.parameters_of(model)
    of_atoms = model.eval(data.positions, data.cells, data.types, mixed_type=True, **given)
    pair = data.labels[name], of_atoms.sum(axis=1)
    count = of_atoms[0].any(axis=1).sum()
    parts = {"root": np.sqrt(count), "atom": count} if count else {}
    return {name: pair} | {f"{name}_per_{part}": tuple(v / n for v in pair) for part, n in parts.items()}


def write_details(prefix: Path, pairs: dict[Path, Pairs]) -> None:
    """Data and prediction side by side, in the files of dp test -d: `prefix` with suffixes."""
    files = {}  # first line and rows
    for number, (folder, of_folder) in enumerate(pairs.items()):
        group = f".{number}" if number else ""
        for key, (suffix, letter, components, unit) in DETAILS.items():
            if key not in of_folder:
                continue
            header = " ".join(f"{source}_{letter}{part}" for source in ("data", "pred") for part in components)
            if key in OF_TENSORS:
                suffix += group
            else:  # one file of all systems, where the others follow without a line of their own
                header = f"{folder}{unit}: {header}"
            rows = np.hstack([values.reshape(-1, len(components)) for values in of_folder[key]])
            files.setdefault(prefix.with_suffix(suffix), (header, []))[1].append(rows)
        for frame, pair in enumerate(zip(*of_folder.get("dos", ((), ())), strict=True)):
            header = f"{folder} - {frame}: data_dos pred_dos"
            files[prefix.with_suffix(f".dos.out{group}.{frame}")] = header, [np.column_stack(pair)]
    for file, (header, rows) in files.items():
        np.savetxt(file, np.concatenate(rows), header=header, encoding="utf-8")
