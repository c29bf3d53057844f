"""checkpoint - a training checkpoint of PyTorch as the native dictionary of a model.

It has arrays by the dotted names of what they belong to, and the model section of the training input that says what
these are. Where an array's shape tells, it decides.
"""

from __future__ import annotations

import numpy as np

from ..model import ModelError
from . import parts
from .pairs import PARAMETERS as MIXTURE
from .refusals import DESCRIPTORS, refused_descriptor

_ROOT = "_extra_state"
_ONLY = "Default"  # what the model is called that has no name
_EPSILON = 1e-5  # of a normalisation, where the input does not say
_SPIN_PROTECTION = 0.01  # of the environment of models with spin, in place of none
_SHIFT = 20.0  # of smooth attention
# by the names that inputs use: the attribute that has the arrays of a descriptor, "" for itself, and how many types
# tell its nets apart, None: one or two
_BLOCKS: dict[str, tuple[str, int | None]] = {
    "se_e2_a": ("sea", None),
    "se_a": ("sea", None),
    "se_e2_r": ("", 1),
    "se_r": ("", 1),
    "se_e3": ("seat", 2),
    "se_at": ("seat", 2),
    "se_a_3be": ("seat", 2),
    "se_e3_tebd": ("se_ttebd", 0),
    "dpa1": ("se_atten", 0),
    "se_atten": ("se_atten", 0),
    "se_atten_v2": ("se_atten", 0),
}
_FITTING_DEFAULTS = {"fit_diag": True, "shift_diag": True, "distinguish_types": True}
_LOCAL_ATTENTION = ("attn1_nhead", "attn1_hidden")
_PAIR_ATTENTION = ("attn2_nhead", "attn2_hidden")

Tree = dict[str, object]


def read_state(state: dict, head: str | None) -> tuple[Tree, float | None, dict]:
    """Native dictionary, smallest distance and model section of the model called `head`, or of the only one."""
    if not isinstance(state.get(_ROOT), dict) or "model_params" not in state[_ROOT]:
        raise ModelError(
            "is a PyTorch checkpoint without the definition of a model: give one that 'dp --pt train' wrote"
        )
    section = state[_ROOT]["model_params"]
    branches = _nested(state)["model"]
    name = parts.choose_head(
        section.get("model_dict"), head, lambda name: section["model_dict"][name].get("model_branch_alias") or []
    )
    if name is not None:
        section = section["model_dict"][name]
    arrays = branches[_ONLY if name is None else name]
    distance = arrays.get("backbone_model", arrays).get("min_nbor_dist")
    return _model(section, arrays), None if distance is None else float(distance), section


def _nested(state: dict) -> Tree:
    """Arrays below the parts of their names."""
    root: Tree = {}
    for name, array in state.items():
        *path, last = str(name).split(".")
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return root


def _items(node: Tree) -> list:
    """The numbered members of a list."""
    return [node[str(number)] for number in range(sum(name.isdecimal() for name in node))]


def _model(section: dict, arrays: Tree) -> Tree:
    if str(section.get("bridging_method") or "none").lower() != "none":
        raise parts.unsupported("bridging_method of the model")
    if "spin" in section:
        return _spin(section, arrays["backbone_model"])
    return _atomic(section, arrays["atomic_model"])


def _spin(section: dict, arrays: Tree) -> Tree:
    """With as many types more, of virtual atoms, which nothing is fitted to, and those without spin nowhere."""
    names, spin, descriptor = list(section["type_map"]), section["spin"], dict(section["descriptor"])
    types, given = len(names), list(spin["use_spin"])
    if not all(isinstance(one, bool) for one in given):
        given = [number in given or name in given for number, name in enumerate(names)]
    hidden = [types + number for number, used in enumerate(given) if not used]
    pairs = [(kind, other) for kind in hidden for other in range(2 * types)]
    pairs += list(section.get("pair_exclude_types") or ())
    descriptor |= {"exclude_types": pairs, "env_protection": descriptor.get("env_protection") or _SPIN_PROTECTION}
    if descriptor["type"] == "se_e2_a":
        descriptor["sel"] = [*descriptor["sel"], *descriptor["sel"]]
    backbone = {
        **section,
        "type_map": [*names, *(f"{name}_spin" for name in names)],
        "descriptor": descriptor,
        "pair_exclude_types": pairs,
        "atom_exclude_types": sorted({*range(types, 2 * types), *(section.get("atom_exclude_types") or ())}),
    }
    tree = _atomic(backbone, arrays["atomic_model"])
    return {
        "type": "spin_ener",
        "backbone_model": tree,
        "spin": {"use_spin": given, "virtual_scale": spin["virtual_scale"]},
    }


def _atomic(section: dict, arrays: Tree) -> Tree:
    kind, type_map = section.get("type") or "standard", section.get("type_map")
    common = {
        "type_map": type_map,
        "atom_exclude_types": section.get("atom_exclude_types"),
        "pair_exclude_types": section.get("pair_exclude_types"),
        "@variables": {name: arrays[name] for name in ("out_bias", "out_std")},
    }
    if kind == "linear_ener":
        models = [
            _atomic({"type_map": type_map, **part}, own)
            for part, own in zip(section["models"], _items(arrays["models"]), strict=True)
        ]
        return {**common, "type": "linear", "models": models, "weights": section.get("weights", "mean")}
    if kind != "standard":
        raise refused_descriptor(kind) if kind in DESCRIPTORS else parts.unsupported(f"a model of type {kind!r}")
    if section.get("use_srtab"):
        own, table = _items(arrays["models"])
        alone = {key: value for key, value in section.items() if key not in ("use_srtab", *_EXCLUSIONS)}
        pairs = {name: table[name] for name in ("tab_info", "tab_data")}
        reach = {"rcut": section["descriptor"]["rcut"], "sel": section["descriptor"]["sel"]}
        bias = {"@variables": {name: table[name] for name in ("out_bias", "out_std")}}
        table = {**bias, "type_map": type_map, "type": "pairtab", "tab": {"@variables": pairs}, **reach}
        return {
            **common,
            "type": "zbl",
            "models": [_atomic(alone, own), table],
            **{key: section[key] for key in MIXTURE},
        }
    descriptor = _descriptor(section["descriptor"], arrays["descriptor"], len(type_map))
    fitting = _fitting(section["fitting_net"], arrays["fitting_net"], len(type_map))
    return {**common, "type": "standard", "descriptor": descriptor, "fitting": fitting}


_EXCLUSIONS = ("atom_exclude_types", "pair_exclude_types")


# ---- descriptors --------------------------------------------------------------------------------


def _descriptor(section: dict, arrays: Tree, types: int) -> Tree:
    kind = section["type"]
    if kind == "hybrid":
        members = zip(section["list"], _items(arrays["descrpt_list"]), strict=True)
        return {"type": "hybrid", "list": [_descriptor(part, own, types) for part, own in members]}
    if kind == "dpa2":
        return _dpa2(section, arrays, types)
    if kind not in _BLOCKS:
        raise refused_descriptor(kind)
    attribute, dimensions = _BLOCKS[kind]
    block = arrays[attribute] if attribute else arrays
    precision = section.get("precision", "default")
    tree = {**section, "precision": precision, **_block(section, block, types, precision, dimensions)}
    if "type_embedding" in arrays:
        attention = _items(block.get("dpa1_attention", {}).get("attention_layers", {}))
        tree |= {
            "attn_layer": len(attention),
            "attention_layers": {"attention_layers": [_attention(section, layer, precision) for layer in attention]},
            "smooth_type_embedding": section.get("smooth_type_embedding", False),
            "smooth": section.get("smooth", True),
            "type_embedding": _type_embedding(section, arrays, precision),
        }
    return tree


def _block(section: dict, block: Tree, types: int, precision: str, dimensions: int | None = 0) -> Tree:
    """Nets and statistics, and what their shapes say."""
    function = section.get("activation_function", "tanh")
    nets = [_net(net, function, precision) for net in _items(block["filter_layers"]["networks"])]
    tree: Tree = {"@variables": {"davg": block["mean"], "dstd": block["stddev"]}}
    if dimensions is None:
        dimensions = 1 if len(nets) == types else 2
        tree["type_one_side"] = dimensions == 1
    tree["embeddings"] = {"ndim": dimensions, "networks": nets}
    if dimensions == 0:
        of_types, others = nets[0], 1  # a net whose inputs are types, but for so many
        if "filter_layers_strip" in block:
            of_types, others = _net(block["filter_layers_strip"]["networks"]["0"], function, precision), 0
            tree["embeddings_strip"] = {"ndim": 0, "networks": [of_types]}
        width = of_types["layers"][0]["@variables"]["w"].shape[0] - others
        tree |= {
            "tebd_input_mode": "concat" if others else "strip",
            "type_one_side": width == section.get("tebd_dim", 8),
        }
    return tree


def _type_embedding(section: dict, arrays: Tree, precision: str) -> Tree:
    own = arrays["type_embedding"]["embedding"]
    return {
        "use_econf_tebd": section.get("use_econf_tebd", False),
        "econf_tebd": own.get("econf_tebd"),
        "embedding": _net(own["embedding_net"], "linear", precision),
    }


def _attention(section: dict, layer: Tree, precision: str) -> Tree:
    options = {"dotr": section.get("attn_dotr", True), "do_mask": section.get("attn_mask", False), "num_heads": 1}
    options |= {"normalize": section.get("normalize", True), "scaling_factor": section.get("scaling_factor", 1.0)}
    core = _plain(layer["attention_layer"], section, precision) | options | {"temperature": section.get("temperature")}
    return {"attention_layer": core, "attn_layer_norm": _plain(layer["attn_layer_norm"], section, precision)}


def _dpa2(section: dict, arrays: Tree, types: int) -> Tree:
    precision, start, rounds = section.get("precision", "default"), section["repinit"], section["repformer"]
    wide = {"tebd_dim": start.get("tebd_dim", 8)}
    repinit = _block({**start, **wide}, arrays["repinit"], types, precision)
    own = arrays["repformers"]
    layers = _items(own["layers"])
    tree = {
        "type": "dpa2",
        "exclude_types": section.get("exclude_types"),
        "env_protection": section.get("env_protection", 0.0),
        "smooth": section.get("smooth", True),
        "concat_output_tebd": section.get("concat_output_tebd", True),
        "add_tebd_to_repinit_out": section.get("add_tebd_to_repinit_out", False),
        "precision": precision,
        "type_embedding": _type_embedding(section, arrays, precision),
        "repinit_args": {**start, **{key: repinit[key] for key in ("tebd_input_mode", "type_one_side")}},
        "repinit_variable": repinit,
        "repformer_args": rounds,
        "repformers_variable": {
            "g2_embd": _plain(own["g2_embd"], rounds, precision),
            "repformer_layers": [
                _repformer_layer(rounds, layer, number < len(layers) - 1, precision)
                for number, layer in enumerate(layers)
            ],
            "@variables": {"davg": own["mean"], "dstd": own["stddev"]},
        },
    }
    for name in ("g1_shape_tranform", "tebd_transform"):
        tree[name] = _plain(arrays.get(name), rounds, precision)
    if start.get("use_three_body"):
        tree["repinit_three_body_variable"] = _block({**start, **wide}, arrays["repinit_three_body"], types, precision)
    return tree


def _repformer_layer(rounds: dict, layer: Tree, pairs: bool, precision: str) -> Tree:
    weights = {f"{name}_residual": [] for name in ("g1", "g2", "h2")}  # none where nothing is updated
    tree = {**rounds, **weights, "update_chnnl_2": pairs, **_plain(layer, rounds, precision)}
    for name, sizes in (("loc_attn", _LOCAL_ATTENTION), ("attn2g_map", _PAIR_ATTENTION)):
        if name in tree:
            heads, hidden = (rounds[size] for size in sizes)
            tree[name] |= {
                "head_num": heads,
                "hidden_dim": hidden,
                "attnw_shift": _SHIFT,
                "has_gate": rounds["attn2_has_gate"],
            }
    return tree


# ---- fitting nets -------------------------------------------------------------------------------


def _fitting(section: dict, arrays: Tree, types: int) -> Tree:
    function, precision = section.get("activation_function", "tanh"), section.get("precision", "default")
    nets = [_net(net, function, precision, linear_end=True) for net in _items(arrays["filter_layers"]["networks"])]
    scale = section.get("scale")
    return {
        **_FITTING_DEFAULTS,
        **section,
        "type": section.get("type", "ener"),
        "precision": precision,
        "mixed_types": len(nets) == 1 < types,
        "nets": {"ndim": 1 if len(nets) == types else 0, "networks": nets},
        "@variables": {**arrays, "scale": np.zeros(types) + (1.0 if scale is None else scale)},
    }


def _net(arrays: Tree, function: str, precision: str, linear_end: bool = False) -> Tree:
    """Layers with shortcuts; `linear_end`: the last one has neither one nor a function."""
    layers = [_layer(layer, function, True, precision) for layer in _items(arrays["layers"])]
    if linear_end:
        layers[-1] |= {"activation_function": "linear", "resnet": False}
    return {"layers": layers}


def _layer(arrays: Tree, function: str, resnet: bool, precision: str) -> Tree:
    variables = {"w": arrays["matrix"], "b": arrays.get("bias"), "idt": arrays.get("idt")}
    return {"activation_function": function, "resnet": resnet, "precision": precision, "@variables": variables}


def _plain(node: object, section: dict, precision: str) -> object:
    """Linear layers, normalisations and lists of arrays as a native dictionary has them."""
    if not isinstance(node, dict):
        return node
    if "matrix" in node:
        if node["matrix"].ndim == 1:
            epsilon = section.get("ln_eps") or _EPSILON
            return {"eps": epsilon, "@variables": {"w": node["matrix"], "b": node["bias"]}}
        return _layer(node, "linear", False, precision)
    if node and all(name.isdecimal() for name in node):
        return [_plain(one, section, precision) for one in _items(node)]
    return {name: _plain(one, section, precision) for name, one in node.items()}
