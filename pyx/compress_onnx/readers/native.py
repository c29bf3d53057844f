"""native - DeePMD-kit's own dictionary of a model, from .dp (HDF5), .yaml and .json, as a Model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np

from ..model import EnergyFitting, Model, ModelError, Net, SeA, Source, Switch
from . import parts

_FITTING_EXTRAS = (
    "numb_fparam",
    "numb_aparam",
    "dim_case_embd",
    "mixed_types",
    "exclude_types",
    "tot_ener_zero",
    "use_aparam_as_mask",
    "spin",
)


def read_hdf5(path: str, data: bytes) -> Model:
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            tree = _with_arrays(json.loads(file.attrs["json"]), lambda name: file[name][()])
    except OSError as error:
        raise ModelError(f"is a truncated or damaged HDF5 file ({error}): export the model again") from None
    except KeyError as error:
        raise ModelError(f"is an HDF5 file without a model ({error.args[0]}): give a .dp file") from None
    return _file_model(tree, path, data, "native .dp")


def read_json(path: str, data: bytes) -> Model:
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ModelError(f"is no model, or truncated JSON ({error}): export the model again") from None
    return _file_model(_with_arrays(tree, _not_a_dataset), path, data, "native .json")


def read_yaml(path: str, data: bytes) -> Model:
    import yaml

    try:
        tree = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"is no model, or truncated YAML ({reason}): export the model again") from None
    return _file_model(_with_arrays(tree, _not_a_dataset), path, data, "native .yaml")


def _not_a_dataset(name: str):
    raise ModelError(f"the array {name!r} is not in the file: export the model again")


def _with_arrays(tree: object, dataset: Callable[[str], object], in_variables: bool = False) -> object:
    """`tree` with arrays in place of the names of datasets and of the mappings that describe one."""
    if isinstance(tree, dict):
        if tree.get("@class") == "np.ndarray":
            dtype = str(tree["dtype"])
            if dtype not in ("float64", "float32", "float16", "int64", "int32", "bool"):
                raise parts.unsupported(f"an array of type {dtype}")
            return np.array(tree["value"], dtype=dtype)
        return {key: _with_arrays(value, dataset, in_variables or key == "@variables") for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, dataset, in_variables) for value in tree]
    return dataset(tree) if in_variables and isinstance(tree, str) else tree


def _file_model(tree: object, path: str, data: bytes, file_format: str) -> Model:
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        raise ModelError("is not a Deep Potential: give a .pb, .pth, .dp or .yaml file of a trained model")
    places = (tree, tree.get("constants") or {}, tree.get("@variables") or {})
    distances = [place["min_nbor_dist"] for place in places if place.get("min_nbor_dist") is not None]
    script = tree.get("model_def_script")
    return dict_model(
        tree["model"],
        parts.source(path, data, file_format, str(tree.get("version", ""))),
        float(distances[0]) if distances else None,
        json.loads(script) if isinstance(script, str) and script else script,
    )


def dict_model(tree: dict, source: Source, min_distance: float | None, script: dict | None) -> Model:
    """A Model from the native dictionary of one, with arrays in its "@variables".

    `script` is the model section of the training input; a negative `min_distance` means unknown.
    """
    if tree["type"] != "standard":
        raise parts.unsupported(f"a model of type {tree['type']!r}")
    _version(tree, "model", 2)
    type_map = tuple(str(name) for name in tree["type_map"])
    descriptor = _se_a(tree["descriptor"], len(type_map))
    fitting = _energy(tree["fitting"], len(type_map), tree["@variables"]["out_bias"])
    _absent(tree, "model", "atom_exclude_types", "pair_exclude_types")
    return Model(
        type_map=type_map,
        descriptor=descriptor,
        fitting=fitting,
        source=source,
        min_distance=min_distance if min_distance is not None and min_distance > 0 else None,
        training_script={"model": script} if script else None,
    )


def _se_a(tree: dict, types: int) -> SeA:
    kind = tree["type"]
    if kind not in ("se_e2_a", "se_a"):
        raise parts.unsupported(f"descriptor {kind}")
    if tree.get("compress"):
        raise parts.unsupported("a model that dp compress has compressed", "give the original, uncompressed model")
    _version(tree, "descriptor", 2)
    _absent(tree, "descriptor", "spin")
    _absent(tree.get("env_mat") or {}, "environment matrix", "use_exp_switch")

    sel = tuple(int(n) for n in tree["sel"])
    one_side = bool(tree["type_one_side"])
    excluded = {tuple(int(t) for t in pair) for pair in tree.get("exclude_types") or ()}
    excluded |= {(j, i) for i, j in excluded}
    collection = tree["embeddings"]
    if int(collection["ndim"]) != (1 if one_side else 2):
        raise ModelError("the embedding nets do not fit type_one_side: the file is damaged")
    nets = _nets(collection, "embedding net", types)
    pad = {(i, j): j if one_side else i + j * types for i in range(types) for j in range(types)}
    smooth, cutoff = float(tree["rcut_smth"]), float(tree["rcut"])
    protection = float(tree.get("env_protection") or 0.0)
    return SeA(
        switch=Switch(smooth, cutoff, cutoff - smooth, protection),
        sel=sel,
        total_first=True,
        count=float(sum(sel)),
        mean=parts.per_type(tree["@variables"]["davg"], types, sum(sel), "davg"),
        std=parts.per_type(tree["@variables"]["dstd"], types, sum(sel), "dstd"),
        nets=nets,
        # Only the rows of real neighbours are masked: padding goes through the excluded pair's net.
        net=parts.pair_table(types, {pair: k for pair, k in pad.items() if pair not in excluded}),
        pad_net=parts.pair_table(types, pad),
        axis=int(tree["axis_neuron"]),
        precision=parts.precision(tree["precision"], "descriptor"),
        type_one_side=one_side,
        exclude_types=tuple(sorted(excluded)),
    )


def _energy(tree: dict, types: int, out_bias: object) -> EnergyFitting:
    if tree["type"] != "ener":
        raise parts.unsupported(f"fitting {tree['type']}")
    _version(tree, "fitting net", 4)
    _absent(tree, "fitting net", *_FITTING_EXTRAS)
    if any(energy is not None for energy in tree.get("atom_ener") or ()):
        raise parts.unsupported("atom_ener of the fitting net")
    bias = parts.array(tree["@variables"]["bias_atom_e"], "bias_atom_e", (types,))
    return EnergyFitting(
        nets=_nets(tree["nets"], "fitting net", types),
        # The model has an out_std too, which energies do not use.
        bias=bias + parts.array(out_bias, "out_bias", (types,)),
        precision=parts.precision(tree["precision"], "fitting net"),
    )


def _nets(collection: dict, kind: str, types: int) -> tuple[Net, ...]:
    _version(collection, f"collection of {kind}s", 1)
    nets = collection["networks"]
    if len(nets) != types ** int(collection["ndim"]):
        raise ModelError(f"there are {len(nets)} {kind}s for {types} types: the file is damaged")
    return tuple(_net(net, f"{kind} {number}") for number, net in enumerate(nets))


def _net(tree: dict | None, name: str) -> Net:
    if tree is None:
        raise parts.unsupported(f"a file without {name}")
    _version(tree, name, 2)
    layers = []
    for number, layer in enumerate(tree["layers"]):
        where = f"layer {number} of {name}"
        _version(layer, where, 2)
        parts.precision(layer["precision"], where)
        values = layer["@variables"]
        # A shortcut exists wherever widths allow it, in fitting nets and first layers too.
        residual = parts.shortcut(np.shape(values["w"])) if layer["resnet"] else 0
        activation = parts.activation(layer["activation_function"])
        layers.append(parts.layer(values["w"], values.get("b"), values.get("idt"), activation, residual, where))
    return Net(tuple(layers))


def _version(tree: dict, part: str, newest: int) -> None:
    version = tree.get("@version", 1)
    if not 1 <= version <= newest:
        raise ModelError(f"the {part} has version {version}, newer than {newest}: update compress-onnx")


def _absent(tree: dict, part: str, *keys: str) -> None:
    """Refuse keys that are set; false, zero, empty and missing ones change nothing."""
    for key in keys:
        if tree.get(key):
            raise parts.unsupported(f"{key} of the {part}")
