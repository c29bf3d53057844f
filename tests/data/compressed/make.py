"""make - small models that 'dp compress' has compressed, with coarse tables, and what DeePMD-kit says about them.

Run with its own python (3.2.0, with torch and TensorFlow), dp on the path: python make.py
"""

import json
import os
import subprocess
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from deepmd.infer import DeepPot
from deepmd.pt.model.model import get_model
from tensorflow.core.framework import graph_pb2

HERE = Path.cwd()
TYPES = ["A", "B"]
COMMON = {"rcut": 3.5, "rcut_smth": 0.5, "precision": "float64", "seed": 1}
STRIP = {**COMMON, "sel": 60, "neuron": [3, 6], "tebd_dim": 3, "tebd_input_mode": "strip"}
ANGLES = {**COMMON, "type": "se_e2_a", "sel": [24, 36], "neuron": [2, 4], "axis_neuron": 2, "type_one_side": True}
FITTING = {"neuron": [6, 6], "seed": 1}
PYTORCH = {
    "triples": {**COMMON, "type": "se_e3", "sel": [8, 10], "neuron": [2, 4]},
    "dpa1": {**STRIP, "type": "dpa1", "attn_layer": 0, "axis_neuron": 2, "smooth_type_embedding": True},
}
TENSORFLOW = {
    "angles": {**ANGLES, "type_one_side": False, "exclude_types": [[0, 1]]},
    "factors": {**STRIP, "type": "se_atten", "attn_layer": 0, "axis_neuron": 2, "smooth_type_embedding": True},
}
NEAREST = 0.7  # Å
STEPS = {"triples": "0.02", "dpa1": "0.1", "angles": "0.1", "factors": "0.1"}  # of three bodies ten times as wide


def main():
    torch.manual_seed(0)
    random = np.random.default_rng(5)
    cell = np.array([[5.0, 0, 0], [0.7, 4.8, 0], [-0.3, 0.5, 5.2]])
    grid = np.stack(np.meshgrid([0.1, 0.6], [0.1, 0.6], [0.1, 0.6]), axis=-1).reshape(8, 3)
    coord = (grid + random.uniform(-0.05, 0.05, (8, 3))) @ cell
    frame = {"coord": coord, "cell": cell, "atype": np.array([0, 1, 1, 0, 1, 0, 1, 1])}
    results = dict(frame)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, descriptor in PYTORCH.items():
            scripted(descriptor)
            compress("--pt", name, "compressed.pth")
            results |= evaluated(name, "compressed.pth", frame)
            without_code("compressed.pth", HERE / f"{name}.pth")
        write_system(frame, random)
        for name, descriptor in TENSORFLOW.items():
            trained(descriptor)
            compress("--tf", name, "compressed.pb")
            results |= evaluated(name, "compressed.pb", frame)
            without_gradients("compressed.pb", HERE / f"{name}.pb")
    np.savez(HERE / "results.npz", **results)


@torch.no_grad()
def scripted(descriptor):
    section = {"type_map": TYPES, "descriptor": descriptor, "fitting_net": FITTING}
    model = get_model(deepcopy(section))
    for path, value in [*model.named_buffers(), *model.named_parameters()]:
        name = path.rpartition(".")[2]
        if name in ("matrix", "bias", "out_bias", "bias_atom_e"):
            value.copy_(torch.randn(value.shape, dtype=value.dtype))
        elif name == "stddev":
            value.fill_(0.8)
        elif name == "min_nbor_dist":
            value.fill_(NEAREST)
    model.model_def_script = json.dumps(section)
    torch.jit.script(model).save("model.pth")


def compress(backend, name, output):
    model = "model.pth" if backend == "--pt" else "model.pb"
    strides = ["--step", STEPS[name], "--extrapolate", "2"]
    subprocess.run(["dp", backend, "compress", "-i", model, "-o", output, *strides], check=True)


def without_code(path, output):
    """The same archive without the program, which is most of it."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(output, "w") as small:
        for member in archive.namelist():
            if "/code/" not in member:
                small.writestr(member, archive.read(member))


def without_gradients(path, output):
    """The same graph without what derives from it, and without the training script."""
    graph = graph_pb2.GraphDef.FromString(Path(path).read_bytes())
    kept = [node for node in graph.node if not node.name.startswith(("gradients", "train_attr/training_script"))]
    del graph.node[:]
    graph.node.extend(kept)
    output.write_bytes(graph.SerializeToString())


def write_system(frame, random):
    Path("system/set.000").mkdir(parents=True)
    Path("system/type_map.raw").write_text(" ".join(TYPES))
    np.savetxt("system/type.raw", frame["atype"], fmt="%d")
    arrays = {"coord": frame["coord"].ravel(), "box": frame["cell"].ravel(), "energy": [-3.0]}
    arrays["force"] = random.normal(size=24)
    for name, array in arrays.items():
        np.save(f"system/set.000/{name}.npy", np.reshape(array, (1, -1)))


def trained(descriptor):
    loss = {"start_pref_e": 1, "limit_pref_e": 1, "start_pref_f": 1, "limit_pref_f": 1}
    data = {"systems": ["system"], "batch_size": 1}
    script = {
        "model": {"type_map": TYPES, "descriptor": descriptor, "fitting_net": FITTING},
        "learning_rate": {"start_lr": 0.001, "decay_steps": 10, "stop_lr": 1e-4},
        "loss": loss,
        "training": {"training_data": data, "numb_steps": 2, "disp_freq": 1, "save_freq": 2},
    }
    Path("input.json").write_text(json.dumps(script))
    subprocess.run(["dp", "--tf", "train", "input.json"], check=True)
    subprocess.run(["dp", "--tf", "freeze", "-o", "model.pb"], check=True)


def evaluated(name, path, frame):
    coord, cell = frame["coord"].reshape(1, -1), frame["cell"].reshape(1, 9)
    energy, force, virial, *_ = DeepPot(str(path)).eval(coord, cell, frame["atype"])
    return {f"{name}.energy": energy[0, 0], f"{name}.force": force[0], f"{name}.virial": virial.reshape(3, 3)}


main()
