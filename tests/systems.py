"""systems - system folders in DeePMD-kit's layouts, made from the frames of models, for comparisons with dp."""

import re
from pathlib import Path

import numpy as np
from cases import MODELS

# file, what is in it, and the height of the waves
FILES = (
    ("coord.npy", "coord", 0.03),
    ("box.npy", "cell", 0.0),
    ("energy.npy", "energy", 0.3),
    ("force.npy", "force", 0.2),
    ("virial.npy", "virial", 0.2),
    ("spin.npy", "spin", 0.0),
    ("force_mag.npy", "force_mag", 0.2),
)
TENSORS = {"dipole": "dipole.npy", "polar": "polarizability.npy", "dos": "dos.npy"}
PEER = Path(__file__).parent / "data/evaluation"  # what dp says about them
NUMBER = re.compile(r"[ -]\d\.\d+e[+-]\d\d")
NAMES = {"spin": ("Ni", "O")}  # of models but those of water


def write_systems(root: Path) -> None:
    """a/cluster: two sets, no cell, types in another order. a/triclinic: one set, the model's order. mixed: mixed type."""
    write(root / "a/cluster", "cluster", sets=(1, 1), order=(1, 0))
    write(root / "a/triclinic", "triclinic", sets=(2,))
    write(root / "mixed", "triclinic", sets=(2,), order=(1, 0), mixed=True)


def write(folder: Path, group: str, sets, order=(0, 1), mixed=False, model="water") -> None:
    """`sets`: frames of each. Coordinates and labels are off the model's own by waves. mixed: the last atom is missing."""
    data = np.load(MODELS / f"{model}.npz")
    names = np.array(NAMES.get(model, ("O", "H")))
    files = (*FILES[:2], (TENSORS[model], "tensor", 0.2)) if model in TENSORS else FILES
    frame = {name.split(".")[1]: data[name] for name in data.files if name.startswith(f"{group}.")}
    types = np.argsort(order)[frame["atype"]]
    folder.mkdir(parents=True)
    (folder / "type_map.raw").write_text("\n".join(names[list(order)]) + "\n")
    np.savetxt(folder / "type.raw", np.zeros_like(types) if mixed else types, fmt="%d")
    if "cell" not in frame:
        (folder / "nopbc").touch()
    for number, count in enumerate(sets):
        part = folder / f"set.{number:03}"
        part.mkdir()
        for file, name, size in files:
            if name in frame:
                save(part / file, frame[name], count, size)
        if mixed:
            real = np.repeat(types[None], count, axis=0)
            real[:, -1] = -1
            np.save(part / "real_atom_types.npy", real)


def save(file: Path, values: np.ndarray, count: int, size: float) -> None:
    rows = np.repeat(values.reshape(1, -1), count, axis=0)
    phase = len(file.name) + int(file.parent.name[-3:])
    np.save(file, rows + size * np.sin(1.7 * np.arange(rows.size) + phase).reshape(rows.shape))


def assert_same(text: str, expected: str, tolerance: float) -> None:
    """Byte for byte, but numbers differ by at most `tolerance` and by a millionth, the last digit that is written."""
    assert NUMBER.sub(_blank, text) == NUMBER.sub(_blank, expected)
    numbers = ([float(number) for number in NUMBER.findall(part)] for part in (text, expected))
    np.testing.assert_allclose(*numbers, rtol=1e-6, atol=tolerance)


def _blank(number: re.Match) -> str:
    return "#" * len(number[0])
