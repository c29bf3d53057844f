"""tiny - a small random model as DeePMD-kit's native dictionary, and files of it: what tests need no trained model for."""

import copy
import json
from itertools import pairwise

import numpy as np

SEL = (3, 4)
NEURON = (2, 3, 6)  # both kinds of shortcut, and none
AXIS = 2


def tree(seed: int = 0, one_side: bool = False, resnet_dt: bool = True) -> dict:
    """Two types, smooth cutoff 0.5 to 3 Å; arrays are numpy's."""
    random = np.random.default_rng(seed)
    embedding = [_net(random, (1, *NEURON), resnet_dt) for _ in range(2 if one_side else 4)]
    fitting = [_net(random, (NEURON[-1] * AXIS, 8, 8), True, last=True) for _ in range(2)]
    mean, std = random.normal(0, 0.1, (2, 1, 4)), random.uniform(0.5, 1.5, (2, 1, 4))
    return {
        "software": "deepmd-kit",
        "version": "3.2.0",
        "model": {
            "@version": 2,
            "type": "standard",
            "type_map": ["A", "B"],
            "atom_exclude_types": [],
            "pair_exclude_types": [],
            "descriptor": {
                "@version": 2,
                "type": "se_e2_a",
                "rcut": 3.0,
                "rcut_smth": 0.5,
                "sel": list(SEL),
                "axis_neuron": AXIS,
                "precision": "float64",
                "type_one_side": one_side,
                "exclude_types": [],
                "env_protection": 0.0,
                "embeddings": {"@version": 1, "ndim": 1 if one_side else 2, "networks": embedding},
                "@variables": {"davg": mean.repeat(sum(SEL), 1), "dstd": std.repeat(sum(SEL), 1)},
            },
            "fitting": {
                "@version": 4,
                "type": "ener",
                "numb_fparam": 0,
                "precision": "float64",
                "atom_ener": [],
                "nets": {"@version": 1, "ndim": 1, "networks": fitting},
                "@variables": {"bias_atom_e": random.normal(size=(2, 1))},
            },
            "@variables": {"out_bias": random.normal(size=(1, 2, 1)), "out_std": np.ones((1, 2, 1))},
        },
        "@variables": {"min_nbor_dist": np.array(0.7)},
        "model_def_script": {"type_map": ["A", "B"]},
    }


def _net(random, widths, resnet_dt, last=False) -> dict:
    layers = [_layer(random, a, b, resnet_dt, "tanh") for a, b in pairwise(widths)]
    if last:
        layers.append({**_layer(random, widths[-1], 1, False, "none"), "resnet": False})
    return {"@version": 1, "layers": layers}


def _layer(random, inputs, outputs, resnet_dt, activation) -> dict:
    shortcut = outputs in (inputs, 2 * inputs)
    return {
        "@version": 2,
        "activation_function": activation,
        "resnet": True,
        "precision": "float64",
        "@variables": {
            "w": random.normal(0, 5 / np.sqrt(inputs + outputs), (inputs, outputs)),
            "b": random.normal(0, 1, outputs),
            "idt": random.normal(0.5, 0.1, outputs) if resnet_dt and shortcut else None,
        },
    }


def changed(given: dict, key: str, value: object) -> dict:
    """A copy with the entry at the dotted `key` set, or removed where value is KeyError; numbers index lists."""
    result = copy.deepcopy(given)
    *path, last = key.split(".")
    node = result
    for name in path:
        node = node[int(name)] if isinstance(node, list) else node[name]
    if value is KeyError:
        del node[last]
    else:
        node[last] = value
    return result


def write_json(given: dict, path) -> str:
    path.write_text(json.dumps(_plain(given)))
    return str(path)


def write_yaml(given: dict, path) -> str:
    import yaml

    path.write_text(yaml.safe_dump(_plain(given)))
    return str(path)


def write_dp(given: dict, path) -> str:
    import h5py

    with h5py.File(path, "w") as file:

        def stored(node):
            if isinstance(node, np.ndarray):
                name = f"/variable_{len(file):04d}"
                file[name] = node
                return name
            if isinstance(node, dict):
                return {key: stored(value) for key, value in node.items()}
            return [stored(value) for value in node] if isinstance(node, list) else node

        file.attrs["json"] = json.dumps(stored(given))
    return str(path)


def _plain(node):
    if isinstance(node, np.ndarray):
        return {"@class": "np.ndarray", "@is_variable": True, "@version": 1} | {
            "dtype": node.dtype.name,
            "value": node.tolist(),
        }
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list) else node
