"""dpa2 - DPA-2 of a native dictionary: the descriptors that start it, and the layers that exchange messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model import (
    ATTENTION_SHIFT,
    Descriptor,
    Layer,
    LocalAttention,
    ModelError,
    PairAttention,
    Repformer,
    RepformerLayer,
    Switch,
)
from . import parts, tables, trees
from .descriptors import Member, se_atten, se_e3_tebd, type_embedding
from .refusals import refused

_OLDEST, _NEWEST = 3, 4
_OF_ALL = ("exclude_types", "env_protection", "precision", "type_embedding")  # what its blocks have in common


def read_dpa2(tree: dict, type_map: tuple[str, ...]) -> tuple[tuple[Descriptor, ...], Member]:
    """The descriptors, and the repformer with what follows its features."""
    if tree.get("@version", _OLDEST) < _OLDEST:
        raise refused("old_dpa2")
    trees.version(tree, "descriptor", _NEWEST)
    common = {name: tree[name] for name in _OF_ALL}
    start, smooth, types = tree["repinit_args"], bool(tree["smooth"]), len(type_map)
    repinit = {**common, **start, **tree["repinit_variable"], "type": "dpa1", "sel": [start["nsel"]]}
    repinit |= {"attn_layer": 0, "smooth_type_embedding": smooth}
    if compress := tree.get("compress") or repinit.get("compress"):
        repinit = tables.in_place_of_nets({**repinit, "compress": compress}, three_bodies=False)
    descriptors = [se_atten(repinit, type_map).descriptor]
    if start.get("use_three_body"):
        own = {name: start[f"three_body_{name}"] for name in ("rcut", "rcut_smth")}
        three = {**common, **start, **own, **tree["repinit_three_body_variable"], "sel": [start["three_body_sel"]]}
        descriptors.append(se_e3_tebd({**three, "smooth": smooth}, type_map).descriptor)
    embedding = type_embedding(tree, type_map)
    repformer = _repformer(tree, types, sum(descriptor.features for descriptor in descriptors), embedding)
    constant = embedding if tree["concat_output_tebd"] else np.zeros((types, 0))
    return tuple(descriptors), Member(repformer, constant)


def _repformer(tree: dict, types: int, features: int, embedding: np.ndarray) -> Repformer:
    given, variables = tree["repformer_args"], tree["repformers_variable"]
    smooth, cutoff, sel = float(given["rcut_smth"]), float(given["rcut"]), int(given["nsel"])
    statistics = variables["@variables"]
    function = parts.activation(given["activation_function"])
    width = int(given["g1_dim"])
    transform, shift = np.eye(features), np.zeros((types, width))
    if features != width:
        transform = _weight(tree["g1_shape_tranform"], "g1_shape_tranform")
    if tree["add_tebd_to_repinit_out"]:
        shift = embedding @ _weight(tree["tebd_transform"], "tebd_transform")
    count = len(variables["repformer_layers"])
    return Repformer(
        switch=Switch(smooth, cutoff, cutoff - smooth, float(tree["env_protection"] or 0.0)),
        sel=(sel,),
        total=sel,
        mean=parts.per_type(statistics["davg"], types, sel, "davg"),
        std=parts.per_type(statistics["dstd"], types, sel, "dstd"),
        ignored=trees.excluded_pairs(tree["exclude_types"], types),
        transform=transform,
        shift=shift,
        activation=function,
        embedding=_active(variables["g2_embd"], "g2_embd", function),
        direct=bool(given["direct_dist"]),
        smooth=bool(tree["smooth"]),
        root=bool(given["use_sqrt_nnei"]),
        axis=int(given["axis_neuron"]),
        layers=tuple(
            _layer(layer, f"repformer layer {number} of {count}", function)
            for number, layer in enumerate(variables["repformer_layers"])
        ),
    )


def _layer(tree: dict, where: str, function: str) -> RepformerLayer:
    trees.version(tree, where, 2)
    pairs = bool(tree["update_chnnl_2"])

    def has(flag: str, possible: bool = True) -> bool:
        return possible and bool(tree[flag])

    def active(name: str) -> Layer:
        return _active(tree[name], f"{name} of {where}", function)

    def linear(name: str) -> Layer:
        return trees.layer(tree[name], f"{name} of {where}")

    own, convolution, apart = has("g1_out_mlp"), has("update_g1_has_conv"), has("g1_out_conv")
    local, product = has("update_g1_has_attn"), has("update_g2_has_g1g1", pairs)
    of_pairs, of_directions = has("update_g2_has_attn", pairs), has("update_h2", pairs)
    updates = {
        "g1": own + (convolution and apart) + 1 + local,
        "g2": pairs + product + of_pairs,
        "h2": int(of_directions),
    }
    return RepformerLayer(
        own=active("g1_self_mlp") if own else None,
        mixed=active("linear1"),
        with_pairs=has("update_g1_has_grrg"),
        with_neighbours=has("update_g1_has_drrd"),
        convolution=linear("proj_g1g2") if convolution else None,
        apart=apart,
        local=_local_attention(tree["loc_attn"], f"loc_attn of {where}") if local else None,
        pair_own=active("linear2") if pairs else None,
        product=linear("proj_g1g1g2") if product else None,
        attention=_pair_attention(tree, where, of_pairs, of_directions) if of_pairs or of_directions else None,
        of_g1=_factors(tree, "g1", updates, int(tree["g1_dim"])),
        of_g2=_factors(tree, "g2", updates, int(tree["g2_dim"])),
        of_h2=_factors(tree, "h2", updates, 1)[:, 0],
    )


def _factors(tree: dict, name: str, updates: dict[str, int], width: int) -> np.ndarray:
    """[1 + updates, width], what a representation and its updates are multiplied by before they are added up."""
    count, style = updates[name], tree["update_style"]
    factors = np.ones((1 + count, width))
    if style == "res_avg":
        return factors / np.sqrt(1 + count)
    if style == "res_incr":
        factors[1:] /= np.sqrt(max(count, 1))
    elif style == "res_residual":
        given = (tree.get("@variables") or tree)[f"{name}_residual"]
        if len(given) != count:
            raise ModelError(f"there are {len(given)} weights for {count} updates of {name}: the file is damaged")
        factors[1:] = np.reshape([parts.array(one, f"{name}_residual", (width,)) for one in given], (count, width))
    else:
        raise parts.unsupported(f"update_style {style!r}")
    return factors


def _local_attention(tree: dict, where: str) -> LocalAttention:
    trees.version(tree, where, 1)
    heads, hidden = int(tree["head_num"]), int(tree["hidden_dim"])
    _usual_shift(tree)
    key_value = _by_head(_weight(tree["mapkv"], f"mapkv of {where}"), heads)
    return LocalAttention(
        heads=heads,
        query=_joined(_by_head(_weight(tree["mapq"], f"mapq of {where}"), heads)) / np.sqrt(hidden),
        key=_joined(key_value[:, :, :hidden]),
        value=_joined(key_value[:, :, hidden:]),
        out=trees.layer(tree["head_map"], f"head_map of {where}"),
    )


def _pair_attention(tree: dict, where: str, of_pairs: bool, of_directions: bool) -> PairAttention:
    products = tree["attn2g_map"]
    trees.version(products, f"attn2g_map of {where}", 1)
    _usual_shift(products)
    heads, hidden = int(products["head_num"]), int(products["hidden_dim"])
    maps = _by_head(_weight(products["mapqk"], f"mapqk of {where}"), 2 * heads)
    value = out = norm = direction = None
    if of_pairs:
        applied = tree["attn2_mh_apply"]
        value = _joined(_by_head(_weight(applied["mapv"], f"mapv of {where}"), heads))
        out = trees.layer(applied["head_map"], f"head_map of {where}")
        # its inputs have the heads next to each other
        rows = out.weight.reshape(-1, heads, out.weight.shape[1]).swapaxes(0, 1)
        out = replace(out, weight=rows.reshape(out.weight.shape))
        norm = trees.normalisation(tree["attn2_lm"], f"attn2_lm of {where}")
    if of_directions:
        direction = _weight(tree["attn2_ev_apply"]["head_map"], f"attn2_ev_apply of {where}")[:, 0]
    return PairAttention(
        heads=heads,
        query=_joined(maps[:, :heads]) / np.sqrt(hidden),
        key=_joined(maps[:, heads:]),
        gated=bool(products["has_gate"]),
        value=value,
        out=out,
        norm=norm,
        direction=direction,
    )


def _usual_shift(tree: dict) -> None:
    if float(tree["attnw_shift"]) != ATTENTION_SHIFT:
        raise parts.unsupported(f"attention with a shift of {tree['attnw_shift']}")


def _by_head(weight: np.ndarray, heads: int) -> np.ndarray:
    """[in, heads, width] of a matrix whose columns have the heads next to each other."""
    return weight.reshape(len(weight), -1, heads).swapaxes(1, 2)


def _joined(weight: np.ndarray) -> np.ndarray:
    """[in, heads · width]."""
    return weight.reshape(len(weight), -1)


def _weight(tree: dict, where: str) -> np.ndarray:
    """Of a layer that has nothing else."""
    layer = trees.layer(tree, where)
    if layer.bias is not None or layer.idt is not None or layer.residual or layer.activation != "linear":
        raise parts.unsupported(f"{where} with more than a matrix")
    return layer.weight


def _active(tree: dict, where: str, function: str) -> Layer:
    """A linear layer with the activation function that follows it."""
    layer = trees.layer(tree, where)
    if layer.activation != "linear":
        raise parts.unsupported(f"{where} with an activation function of its own")
    return replace(layer, activation=function)
