"""make_models - label data, train every model of this folder with DeePMD-kit, and store its reference results.

    python models/make_models.py [--keep] [NAME ...]

in an environment with deepmd-kit (TensorFlow and PyTorch) and ase. Per model NAME this writes its files and NAME.npz
(--keep: only this, of files that are there): per frame GROUP the arrays GROUP.coord [n, 3], GROUP.cell [3, 3] (absent:
no periodicity), GROUP.atype [n], where the model takes them GROUP.fparam [number], GROUP.aparam [n, number] and
GROUP.spin [n, 3], and what the uncompressed model says of them, all float64:
- energies: GROUP.energy [], GROUP.force [n, 3], GROUP.virial [3, 3], GROUP.atom_energy [n], GROUP.atom_virial [n, 3, 3],
  with spins GROUP.force_mag [n, 3];
- else, for k outputs: GROUP.tensor [k], GROUP.atom_tensor [n, k], and of dipoles and polarizabilities GROUP.force
  [k, n, 3], GROUP.virial [k, 3, 3], GROUP.atom_virial [k, n, 3, 3];
and the errors on held-out data, rmse_energy (per atom) and rmse_force, or rmse_tensor beside the deviation of the data.
Å, eV.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from data import DATA
from recipes import RECIPES, ZBL

HERE = Path(__file__).parent
HELD_OUT = 20  # frames at the end of each data set
INPUTS = ("fparam", "aparam", "spin")
# one thread, so that training gives the same model again
THREADS = {"OMP_NUM_THREADS": "1", "TF_INTER_OP_PARALLELISM_THREADS": "1", "TF_INTRA_OP_PARALLELISM_THREADS": "1"}
THREADS |= {"DP_INTER_OP_PARALLELISM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "1"}


def write_training_data(data, folder):
    """DeePMD's layout: one system, one set."""
    frames = slice(0, len(data.coord) - HELD_OUT)
    (folder / "set.000").mkdir(parents=True)
    np.savetxt(folder / "type.raw", data.atype, fmt="%d")
    (folder / "type_map.raw").write_text("\n".join(data.type_map))
    for name, part in ({"coord": data.coord, "box": data.cell} | data.labels).items():
        np.save(folder / "set.000" / name, part[frames].reshape(len(part[frames]), -1))


def write_short_range(path):
    """A table of a screened repulsion between all pairs of O and H: distance, O-O, O-H, H-H."""
    r = 0.02 * np.arange(1, 60)
    fade = (1 - (r / r[-1]) ** 2) ** 3
    columns = [14.4 * charge / r * np.exp(-r / 0.2) * fade for charge in (64, 8, 1)]
    np.savetxt(path, np.column_stack([r, *columns]))


def training_input(recipe, data, system):
    return {
        "model": {"type_map": data.type_map} | recipe.model,
        "learning_rate": {
            "type": "exp",
            "start_lr": recipe.rate,
            "stop_lr": 5e-5,
            "decay_steps": recipe.steps // 40,
        },
        "loss": recipe.loss,
        "training": {
            "training_data": {"systems": [str(system)], "batch_size": 1},
            "numb_steps": recipe.steps,
            "seed": 3,
            "disp_freq": recipe.steps // 10,
            "save_freq": recipe.steps,
        },
    }


def train(name, recipe, data, folder):
    """Train in `folder` and put the frozen and converted files beside this script."""
    write_training_data(data, folder / "data")
    write_short_range(folder / ZBL["use_srtab"])
    (folder / "input.json").write_text(json.dumps(training_input(recipe, data, folder / "data")))
    peer(folder, recipe.backend, "train", "input.json")
    files = [HERE / (name + suffix) for suffix in recipe.suffixes]
    frozen = files.pop(0) if files[0].suffix == recipe.frozen else folder / f"frozen{recipe.frozen}"
    peer(folder, recipe.backend, "freeze", "-o", frozen)
    if frozen.suffix == ".pth":
        strip(frozen)
    for file in files:
        peer(folder, "convert-backend", frozen, file)


def strip(file):
    """Take the debugging information out of a TorchScript file: it is half of a small one."""
    with zipfile.ZipFile(file) as archive:
        parts = [(part, archive.read(part)) for part in archive.infolist() if not part.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(file, "w") as archive:
        for part, content in parts:
            archive.writestr(part, content)


def peer(folder, *arguments):
    subprocess.run(
        [Path(sys.executable).with_name("dp"), *map(str, arguments)], cwd=folder, env=os.environ | THREADS, check=True
    )


def evaluable(file, recipe, folder):
    """A file that gives derivatives: a .dp one is converted."""
    if file.suffix == recipe.frozen:
        return file
    converted = folder / f"converted{recipe.frozen}"
    peer(folder, "convert-backend", file, converted)
    return converted


def references(file, data):
    """What NAME.npz holds, from the peer's own evaluation."""
    from deepmd.infer import DeepPotential

    potential = DeepPotential(str(file))
    result = {}
    for group, atoms in data.groups.items():
        arrays = atoms | evaluate(potential, file.suffix == ".pth", **atoms)
        for key, array in arrays.items():
            result[f"{group}.{key}"] = array if key == "atype" else np.asarray(array, np.float64)
    return result | errors(potential, data)


def evaluate(potential, torch, coord, atype, cell=None, **given):
    """Results of one frame by name."""
    from deepmd.infer import DeepPot
    from deepmd.infer.deep_tensor import DeepTensor

    n = len(atype)
    box = None if cell is None else cell.reshape(1, 9)
    frame = (coord.reshape(1, -1), box, atype)
    if isinstance(potential, DeepTensor):
        tensor, force, virial, atom_tensor, atom_virial = potential.eval_full(*frame, atomic=True)
        k = tensor.shape[1]
        return {
            "tensor": tensor[0],
            "atom_tensor": atom_tensor[0],
            "force": by_output(force, torch, n, k, 3),
            "virial": virial.reshape(k, 3, 3),
            "atom_virial": by_output(atom_virial, torch, n, k, 9).reshape(k, n, 3, 3),
        }
    given = {name: value.reshape(1, -1) for name, value in given.items()}
    results = potential.eval(*frame, atomic=True, **given)
    if not isinstance(potential, DeepPot):
        return {"tensor": results[0][0], "atom_tensor": results[1][0]}
    shapes = {"energy": (), "force": (n, 3), "virial": (3, 3), "atom_energy": (n,), "atom_virial": (n, 3, 3)}
    shapes["force_mag"] = (n, 3)  # with spins, and after it which atoms have one
    return {name: value.reshape(shape) for (name, shape), value in zip(shapes.items(), results, strict=False)}


def by_output(derivatives, torch, n, k, components):
    """[k, n, components]: what PyTorch's evaluation says to be that is [n, k, components]."""
    return derivatives.reshape(n, k, components).swapaxes(0, 1) if torch else derivatives.reshape(k, n, components)


def errors(potential, data):
    """Root mean squares over frames that training has not seen."""
    unseen = slice(-HELD_OUT, None)
    inputs = {name: data.labels[name][unseen].reshape(HELD_OUT, -1) for name in INPUTS if name in data.labels}
    results = potential.eval(
        data.coord[unseen].reshape(HELD_OUT, -1),
        data.cell[unseen].reshape(HELD_OUT, 9),
        data.atype,
        atomic=False,
        **inputs,
    )
    labels = {name: label[unseen] for name, label in data.labels.items()}
    if "energy" in labels:
        print(f"rms force of the data: {rms(labels['force']):.3f} eV/Å")
        return {
            "rmse_energy": rms(results[0][:, 0] - labels["energy"]) / len(data.atype),
            "rmse_force": rms(results[1] - labels["force"]),
        }
    label = next(iter(labels.values()))
    found = results if isinstance(results, np.ndarray) else results[0]
    return {"rmse_tensor": rms(found.reshape(label.shape) - label), "deviation": rms(label - label.mean(0))}


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def main(arguments):
    keep = "--keep" in arguments
    for name in [argument for argument in arguments if argument != "--keep"] or RECIPES:
        recipe = RECIPES[name]
        data = DATA[recipe.data]()
        with tempfile.TemporaryDirectory() as folder:
            if not keep:
                train(name, recipe, data, Path(folder))
            file = evaluable(HERE / (name + recipe.suffixes[0]), recipe, Path(folder))
            result = references(file, data)
        np.savez_compressed(HERE / f"{name}.npz", **result)
        print(f"{name}:", ", ".join(f"{key} {value:.2e}" for key, value in result.items() if "." not in key))


if __name__ == "__main__":
    main(sys.argv[1:])
