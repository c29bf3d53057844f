"""make_models - label data, train every model of this folder with DeePMD-kit, and store its reference results.

    python models/make_models.py [--keep] [NAME ...]

in an environment with deepmd-kit (TensorFlow and PyTorch) and ase. Per model NAME this writes its files (frozen, and
converted where it says so) and NAME.npz (--keep: only this, of the models that are
there): per frame GROUP the arrays GROUP.coord [n, 3], GROUP.cell [3, 3] (absent: no
periodicity), GROUP.atype [n], and the uncompressed model's GROUP.energy [], GROUP.force [n, 3], GROUP.virial [3, 3],
GROUP.atom_energy [n], GROUP.atom_virial [n, 3, 3], all float64; and the errors on held-out data, rmse_energy (per atom)
and rmse_force. Å, eV.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tip3p

HERE = Path(__file__).parent
HELD_OUT = 20  # frames at the end of each data set
# one thread, so that training gives the same model again
THREADS = {"OMP_NUM_THREADS": "1", "TF_INTER_OP_PARALLELISM_THREADS": "1", "TF_INTRA_OP_PARALLELISM_THREADS": "1"}
THREADS |= {"DP_INTER_OP_PARALLELISM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "1"}


@dataclass(frozen=True)
class Recipe:
    data: str  # a function of DATA
    suffixes: tuple[str, ...]  # the frozen file first, the others are converted from it
    steps: int
    cutoff: float
    sel: tuple[int, int]
    precision: str = "float64"
    one_side: bool = False
    activation: str = "tanh"
    resnet_dt: bool = False
    exclude_types: tuple[tuple[int, int], ...] = ()
    seeds: tuple[int, int] = (1, 2)  # of descriptor and fitting net

    @property
    def backend(self):
        return {".pb": "--tf", ".pth": "--pt"}[self.suffixes[0]]


RECIPES = {
    "water": Recipe("water", (".pth", ".dp", ".yaml"), 6000, 4.5, (20, 40), one_side=True),
    "water_tf": Recipe("water", (".pb",), 5000, 4.5, (20, 40), activation="gelu"),
    "water_f32": Recipe("water", (".pb",), 5000, 4.5, (20, 40), precision="float32"),
    "alloy": Recipe("alloy", (".pth",), 4000, 5.0, (42, 18), resnet_dt=True),
    "alloy_tf": Recipe(
        "alloy", (".pb",), 4000, 5.0, (42, 18), one_side=True, activation="gelu", exclude_types=((1, 1),), seeds=(7, 17)
    ),
}


@dataclass(frozen=True)
class Data:
    """Frames of one system to train on, and groups of other frames to store references for."""

    type_map: tuple[str, ...]
    atype: np.ndarray  # [n]
    coord: np.ndarray  # [frames, n, 3]
    cell: np.ndarray  # [frames, 3, 3]
    energy: np.ndarray  # [frames]
    force: np.ndarray  # [frames, n, 3]
    groups: dict[str, tuple]  # name: coord, cell or None, atype


def water_data():
    """32 molecules at the density of the liquid, 300 to 700 K."""
    rng = np.random.default_rng(7)
    edge = (32 * 29.9) ** (1 / 3)
    tip3p.trajectory(rng, 2, edge, [600], 100, 100)
    coord, energy, force = tip3p.trajectory(rng, 2, edge, [700, 500, 400, 300], 6000, 50)
    order = rng.permutation(np.arange(20, len(coord)))  # the first frames still are the lattice
    coord, energy, force = coord[order], energy[order], force[order]
    atype = np.tile([0, 1, 1], 32)
    last = coord[-1]

    sites = last.reshape(-1, 3, 3)
    centre = sites[:, :1]
    sites = sites - centre + centre % edge  # whole molecules, oxygens in the box
    nearest = np.argsort(np.linalg.norm(sites[:, 0] - edge / 2, axis=-1))[:9]
    cell = np.array([[5.0, 0, 0], [1.2, 4.9, 0], [-0.6, 0.8, 5.0]])
    small = np.concatenate([tip3p.molecule(rng) + site @ cell for site in tip3p.FCC])
    contact = np.concatenate([tip3p.molecule(rng), tip3p.molecule(rng) + [2.7, 0, 0]])
    contact[1] *= 0.7  # an O-H bond well below any in the training data
    groups = {
        "periodic": (last, np.eye(3) * edge, atype),
        "triclinic": (small + rng.normal(scale=0.03, size=small.shape), cell, np.tile([0, 1, 1], 4)),
        "cluster": (sites[nearest].reshape(-1, 3), None, np.tile([0, 1, 1], 9)),
        "contact": (contact, None, np.tile([0, 1, 1], 2)),
    }
    cells = np.broadcast_to(np.eye(3) * edge, (len(coord), 3, 3))
    return Data(("O", "H"), atype, coord, cells, energy, force, groups)


def alloy_data():
    """32 sites of ordered Cu3Au, where no Au has an Au for nearest neighbour: strained and displaced at random."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    rng = np.random.default_rng(8)
    atype = np.tile([1, 0, 0, 0], 8)
    frames = []
    for _ in range(400):
        atoms = bulk("Cu", "fcc", a=rng.uniform(3.65, 3.9), cubic=True).repeat(2)
        atoms.symbols = np.array(["Cu", "Au"])[atype]
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(rng.uniform(0.02, 0.14), rng=rng)
        atoms.calc = EMT()
        frames.append((atoms.positions, atoms.cell.array, atoms.get_potential_energy(), atoms.get_forces()))
    coord, cell, energy, force = (np.array(part) for part in zip(*frames, strict=True))

    last = coord[-1]
    nearest = np.argsort(np.linalg.norm(last - last.mean(0), axis=1))[:13]
    small = np.array([[3.8, 0, 0], [0.4, 3.7, 0], [-0.3, 0.5, 3.8]])
    groups = {
        "periodic": (last, cell[-1], atype),
        "triclinic": (tip3p.FCC @ small + rng.normal(scale=0.1, size=(4, 3)), small, atype[:4]),
        "cluster": (last[nearest], None, atype[nearest]),
        "contact": (np.array([[0, 0, 0], [1.6, 0, 0], [0.4, 2.5, 0], [0.2, 0.3, 2.6]]), None, np.array([1, 0, 1, 0])),
    }
    return Data(("Cu", "Au"), atype, coord, cell, energy, force, groups)


DATA = {"water": water_data, "alloy": alloy_data}


def write_training_data(data, folder):
    """DeePMD's layout: one system, one set."""
    frames = slice(0, len(data.coord) - HELD_OUT)
    (folder / "set.000").mkdir(parents=True)
    np.savetxt(folder / "type.raw", data.atype, fmt="%d")
    (folder / "type_map.raw").write_text("\n".join(data.type_map))
    for name, part in (("coord", data.coord), ("box", data.cell), ("energy", data.energy), ("force", data.force)):
        np.save(folder / "set.000" / name, part[frames].reshape(len(part[frames]), -1))


def training_input(recipe, data, system):
    return {
        "model": {
            "type_map": data.type_map,
            "descriptor": {
                "type": "se_e2_a",
                "rcut": recipe.cutoff,
                "rcut_smth": 0.5 * recipe.cutoff,
                "sel": recipe.sel,
                "neuron": [8, 16, 32],
                "axis_neuron": 4,
                "type_one_side": recipe.one_side,
                "resnet_dt": recipe.resnet_dt,
                "exclude_types": recipe.exclude_types,
                "activation_function": recipe.activation,
                "precision": recipe.precision,
                "seed": recipe.seeds[0],
            },
            "fitting_net": {
                "neuron": [32, 32, 32],
                "resnet_dt": True,
                "precision": recipe.precision,
                "seed": recipe.seeds[1],
            },
        },
        "learning_rate": {
            "type": "exp",
            "start_lr": 0.006,
            "stop_lr": 5e-5,
            "decay_steps": recipe.steps // 40,
        },
        "loss": {
            "type": "ener",
            "start_pref_e": 0.2,
            "limit_pref_e": 100,
            "start_pref_f": 1000,
            "limit_pref_f": 20,
            "start_pref_v": 0,
            "limit_pref_v": 0,
        },
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
    (folder / "input.json").write_text(json.dumps(training_input(recipe, data, folder / "data")))
    peer(folder, recipe.backend, "train", "input.json")
    files = [HERE / (name + suffix) for suffix in recipe.suffixes]
    peer(folder, recipe.backend, "freeze", "-o", files[0])
    for file in files[1:]:
        peer(folder, "convert-backend", files[0], file)


def peer(folder, *arguments):
    subprocess.run(
        [Path(sys.executable).with_name("dp"), *map(str, arguments)], cwd=folder, env=os.environ | THREADS, check=True
    )


def references(model, data):
    """What NAME.npz holds, from the peer's own evaluation."""
    from deepmd.infer import DeepPot

    potential = DeepPot(str(model))
    result = {}
    for group, (coord, cell, atype) in data.groups.items():
        box = None if cell is None else cell.reshape(1, 9)
        energy, force, virial, atom_energy, atom_virial = potential.eval(coord.reshape(1, -1), box, atype, atomic=True)
        n = len(atype)
        arrays = {
            "coord": coord,
            "cell": cell,
            "atype": atype.astype(np.int32),
            "energy": energy[0, 0],
            "force": force[0],
            "virial": virial.reshape(3, 3),
            "atom_energy": atom_energy.reshape(n),
            "atom_virial": atom_virial.reshape(n, 3, 3),
        }
        for key, array in arrays.items():
            if array is not None:
                result[f"{group}.{key}"] = array if key == "atype" else np.asarray(array, np.float64)

    unseen = slice(-HELD_OUT, None)
    energy, force, _ = potential.eval(
        data.coord[unseen].reshape(HELD_OUT, -1), data.cell[unseen].reshape(HELD_OUT, 9), data.atype
    )
    result["rmse_energy"] = rms(energy[:, 0] - data.energy[unseen]) / len(data.atype)
    result["rmse_force"] = rms(force - data.force[unseen])
    print(f"rms force of the data: {rms(data.force[unseen]):.3f} eV/Å")
    return result


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def main(arguments):
    keep = "--keep" in arguments
    for name in [argument for argument in arguments if argument != "--keep"] or RECIPES:
        recipe = RECIPES[name]
        data = DATA[recipe.data]()
        model = HERE / (name + recipe.suffixes[0])
        if not keep:
            with tempfile.TemporaryDirectory() as folder:
                train(name, recipe, data, Path(folder))
        result = references(model, data)
        np.savez_compressed(HERE / f"{name}.npz", **result)
        print(f"{name}: {result['rmse_energy']:.1e} eV per atom, {result['rmse_force']:.3f} eV/Å")


if __name__ == "__main__":
    main(sys.argv[1:])
