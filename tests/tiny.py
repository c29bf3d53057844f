"""tiny - a small random model as DeePMD-kit's native dictionary, and files of it: what tests need no trained model for."""

import copy
import json
from itertools import pairwise

import numpy as np

SEL = (3, 4)
NEURON = (2, 3, 6)  # both kinds of shortcut, and none
AXIS = 2
TYPES = 2
WIDTH = 3  # of a type embedding


def tree(
    seed: int = 0,
    one_side: bool = False,
    resnet_dt: bool = True,
    descriptor: dict | None = None,
    fitting: dict | None = None,
) -> dict:
    """Two types, smooth cutoff 0.5 to 3 Å; arrays are numpy's.

    descriptor: of one of the functions below, se_e2_a if not given; fitting: of `fitting`, ener if not given.
    """
    random = np.random.default_rng(seed)
    descriptor = _filled(random, descriptor or angles(one_side), resnet_dt)
    fitting = _filled_fitting(random, fitting or _ENERGY, _features(descriptor), _channels(descriptor))
    outputs = {"dipole": 3, "polar": 9}.get(fitting["type"]) or fitting["@variables"]["bias_atom_e"].shape[1]
    variables = {
        "out_bias": random.normal(size=(1, TYPES, outputs)),
        "out_std": random.uniform(0.5, 1, (1, TYPES, outputs)),
    }
    return {
        "software": "deepmd-kit",
        "version": "3.2.0",
        "model": {
            "@version": 2,
            "type": "standard",
            "type_map": ["A", "B"],
            "atom_exclude_types": [],
            "pair_exclude_types": [],
            "descriptor": descriptor,
            "fitting": fitting,
            "@variables": variables,
        },
        "@variables": {"min_nbor_dist": np.array(0.7)},
        "model_def_script": {"type_map": ["A", "B"]},
    }


def linear(*trees: dict, weights=(0.25, 1.5)) -> dict:
    """The weighted sum of energy models."""
    models = [tree["model"] for tree in trees]
    variables = {"out_bias": np.array([[[0.1], [0.2]]]), "out_std": np.ones((1, TYPES, 1))}
    common = {"@version": 3, "type": "linear", "type_map": ["A", "B"], "weights": list(weights), "models": models}
    return {**trees[0], "model": {**common, "@variables": variables}}


def angles(one_side: bool = False, **changes) -> dict:
    return {
        "type": "se_e2_a",
        "@version": 2,
        "sel": list(SEL),
        "axis_neuron": AXIS,
        "type_one_side": one_side,
        **changes,
    }


def radial(**changes) -> dict:
    return {"type": "se_r", "@version": 2, "sel": list(SEL), "type_one_side": True, **changes}


def triples(**changes) -> dict:
    return {"type": "se_e3", "@version": 2, "sel": list(SEL), **changes}


def typed_triples(**changes) -> dict:
    return {"type": "se_e3_tebd", "@version": 1, "sel": [sum(SEL)], "smooth": True, **_STRIP, **changes}


def dpa1(**changes) -> dict:
    common = {"type": "dpa1", "@version": 2, "sel": [sum(SEL)], "axis_neuron": AXIS, "type_one_side": False, **_STRIP}
    return {**common, "attn_layer": 0, "smooth_type_embedding": True, **changes}


def hybrid(*members: dict) -> dict:
    return {"type": "hybrid", "@version": 1, "list": list(members)}


def fitting(kind: str = "ener", **changes) -> dict:
    """numb_fparam, numb_aparam, dim_case_embd, mixed_types and what a kind has by itself may be given."""
    version = {"polar": 5, "property": 6}.get(kind, 4)
    return {"type": kind, "@version": version, "numb_fparam": 0, "precision": "float64", "atom_ener": [], **changes}


_ENERGY = fitting()
_STRIP = {"tebd_input_mode": "strip", "concat_output_tebd": True}
_NETS = {"se_r": 1, "se_e3": 2, "se_e3_tebd": 0, "dpa1": 0}  # ndim of a collection


def _filled(random, given: dict, resnet_dt: bool) -> dict:
    """A descriptor with numbers."""
    kind = given["type"]
    if kind == "hybrid":
        return {**given, "list": [_filled(random, part, resnet_dt) for part in given["list"]]}
    ndim = _NETS.get(kind, 1 if given.get("type_one_side") else 2)
    components = 1 if kind == "se_r" else 4
    mean, std = random.normal(0, 0.1, (TYPES, 1, components)), random.uniform(0.5, 1.5, (TYPES, 1, components))
    if kind in ("se_e3", "se_e3_tebd"):
        mean[..., 1:] = 0
    slots = sum(given["sel"])
    result = {
        "rcut": 3.0,
        "rcut_smth": 0.5,
        "precision": "float64",
        "exclude_types": [],
        "env_protection": 0.0,
        **given,
        "embeddings": _collection(random, ndim, (1, *NEURON), resnet_dt),
        "@variables": {"davg": mean.repeat(slots, 1), "dstd": std.repeat(slots, 1)},
    }
    if "tebd_input_mode" in given:
        inputs = WIDTH if given.get("type_one_side") else 2 * WIDTH
        result["embeddings_strip"] = _collection(random, 0, (inputs, *NEURON), resnet_dt)
        result["type_embedding"] = {"@version": 2, "embedding": _net(random, (TYPES, WIDTH), resnet_dt)}
    return result


def _features(descriptor: dict) -> int:
    if descriptor["type"] == "hybrid":
        return sum(_features(part) for part in descriptor["list"])
    return NEURON[-1] * descriptor.get("axis_neuron", 1) + (WIDTH if descriptor.get("concat_output_tebd") else 0)


def _channels(descriptor: dict) -> int:
    return NEURON[-1] * len(descriptor.get("list", [descriptor]))


def _filled_fitting(random, given: dict, features: int, channels: int) -> dict:
    """A fitting net with numbers."""
    kind = given["type"]
    matrix = kind == "polar" and not given["fit_diag"]
    outputs = {"ener": 1, "dipole": channels, "polar": channels**2 if matrix else channels}.get(kind, 3)
    counts = {name: given.get(key, 0) for name, key in _PARAMETERS.items()}
    widths = (features + sum(counts.values()), 8, 8)
    variables = {"bias_atom_e": random.normal(size=(TYPES, outputs)), "case_embd": random.normal(size=counts["case"])}
    for name in ("fparam", "aparam"):
        variables[f"{name}_avg"] = random.normal(size=counts[name])
        variables[f"{name}_inv_std"] = random.uniform(0.5, 1.5, counts[name])
    if kind == "polar":
        variables["scale"] = random.uniform(0.5, 1.5, (TYPES, 1))
    ndim = 0 if given.get("mixed_types") else 1
    return {**given, "nets": _collection(random, ndim, widths, True, outputs), "@variables": variables}


_PARAMETERS = {"fparam": "numb_fparam", "aparam": "numb_aparam", "case": "dim_case_embd"}


def _collection(random, ndim: int, widths, resnet_dt: bool, outputs: int = 0) -> dict:
    """outputs: of a linear last layer, 0 for none."""
    nets = [_net(random, widths, resnet_dt, outputs) for _ in range(TYPES**ndim)]
    return {"@version": 1, "ndim": ndim, "networks": nets}


def _net(random, widths, resnet_dt, outputs=0) -> dict:
    layers = [_layer(random, a, b, resnet_dt, "tanh") for a, b in pairwise(widths)]
    if outputs:
        layers.append({**_layer(random, widths[-1], outputs, False, "none"), "resnet": False})
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
