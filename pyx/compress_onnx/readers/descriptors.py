"""descriptors - the descriptor of a native dictionary as Descriptors, and the constants that it adds to their features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model import Descriptor, ModelError, Repformer, Switch, ThreeBody, TwoBody
from ..nets import values
from . import parts, tables, trees
from .attention import read_attention
from .electrons import embedding_inputs
from .refusals import refused, refused_descriptor

_RADIAL_RESCALE = 5.0  # what the formats divide the features of se_e2_r by


class Member(NamedTuple):
    """What gives features, and what follows these whatever the neighbours are."""

    descriptor: Descriptor | Repformer
    constant: np.ndarray  # [types, k] of centre types


def read_descriptor(tree: dict, type_map: tuple[str, ...]) -> list[Member]:
    """The members of a hybrid descriptor, or the only one."""
    kind = tree["type"]
    if kind == "hybrid":
        trees.version(tree, "descriptor", 1)
        return _of_one_list([member for part in tree["list"] for member in read_descriptor(part, type_map)])
    if kind not in _READERS:
        raise refused_descriptor(kind)
    reader, newest = _READERS[kind]
    trees.version(tree, "descriptor", newest)
    if tree.get("compress"):
        tree = tables.in_place_of_nets(tree, three_bodies=kind in _OF_THREE)
    trees.absent(tree, "descriptor", "spin")
    trees.absent(tree.get("env_mat") or {}, "environment matrix", "use_exp_switch")
    return [reader(tree, type_map)]


def _of_one_list(members: list[Member]) -> list[Member]:
    """Members of a hybrid descriptor take their neighbours from one list, which holds enough for each of them."""
    sels = [member.descriptor.sel for member in members]
    if any(member.descriptor.shared for member in members):
        total = max(sum(sel) for sel in sels)
    else:
        total = sum(max(column) for column in zip(*sels, strict=True))
    return [member._replace(descriptor=replace(member.descriptor, total=total)) for member in members]


def _common(tree: dict, types: int, sel: tuple[int, ...], components: int = 4) -> dict:
    """What Descriptor itself has."""
    smooth, cutoff = float(tree["rcut_smth"]), float(tree["rcut"])
    mean, std = np.zeros((types, 4)), np.ones((types, 4))
    for target, name in ((mean, "davg"), (std, "dstd")):
        target[:, :components] = parts.per_type(tree["@variables"][name], types, sum(sel), name, components)
    excluded = trees.excluded_pairs(tree.get("exclude_types"), types)
    return {
        "switch": Switch(smooth, cutoff, cutoff - smooth, float(tree.get("env_protection") or 0.0)),
        "sel": sel,
        "total": sum(sel),
        "mean": mean,
        "std": std,
        "precision": parts.precision(tree["precision"], "descriptor"),
        "exclude_types": tuple((int(a), int(b)) for a, b in np.argwhere(excluded)),
    }


def _sections(tree: dict) -> tuple[int, ...]:
    return tuple(int(n) for n in tree["sel"])


def _shared_section(tree: dict) -> tuple[int]:
    return (int(np.sum(tree["sel"])),)


def _empty_slots(common: dict) -> np.ndarray:
    """Normalised environment [types, sections, 4] of slots without a neighbour."""
    with np.errstate(divide="ignore", invalid="ignore"):  # the last check finds deviations that are zero
        empty = -common["mean"] / common["std"]
    return np.repeat(empty[:, None], len(common["sel"]), axis=1)


def _se_e2_a(tree: dict, type_map: tuple[str, ...]) -> Member:
    types, one_side = len(type_map), bool(tree["type_one_side"])
    common = _common(tree, types, _sections(tree))
    collection = tree["embeddings"]
    if int(collection["ndim"]) != (1 if one_side else 2):
        raise ModelError("the embedding nets do not fit type_one_side: the file is damaged")
    centre, neighbour = np.indices((types, types))
    pad_net = neighbour if one_side else centre + neighbour * types
    excluded = trees.excluded_pairs(tree.get("exclude_types"), types)
    descriptor = TwoBody(
        kind="se_e2_a",
        **common,
        nets=trees.nets(collection, "embedding net", types),
        # Only the rows of real neighbours are masked: padding goes through the excluded pair's net.
        net=np.where(excluded, -1, pad_net),
        pad_net=pad_net,
        pad_env=_empty_slots(common),
        count=float(sum(common["sel"])),
        axis=int(tree["axis_neuron"]),
        type_one_side=one_side,
    )
    return Member(descriptor, np.zeros((types, 0)))


def _se_e2_r(tree: dict, type_map: tuple[str, ...]) -> Member:
    types = len(type_map)
    common = _common(tree, types, _sections(tree), components=1)
    centre, neighbour = np.indices((types, types))
    pad_net = neighbour if int(tree["embeddings"]["ndim"]) == 1 else centre + neighbour * types
    excluded = trees.excluded_pairs(tree.get("exclude_types"), types)
    descriptor = TwoBody(
        kind="se_e2_r",
        **common,
        nets=trees.nets(tree["embeddings"], "embedding net", types),
        net=np.where(excluded, -1, pad_net),
        pad_net=pad_net,
        pad_env=_empty_slots(common),
        # The net's input is masked, not its output.
        mask_net=np.where(excluded, pad_net, -1) if excluded.any() else None,
        count=float(sum(common["sel"])) * _RADIAL_RESCALE,
        axis=0,
    )
    return Member(descriptor, np.zeros((types, 0)))


def _se_e3(tree: dict, type_map: tuple[str, ...]) -> Member:
    types = len(type_map)
    common = _common(tree, types, _sections(tree))
    _no_angular_mean(common)
    sel = np.array(common["sel"], dtype=np.float64)
    slots = np.outer(sel, sel)
    collection = tree["embeddings"]
    trees.version(collection, "collection of embedding nets", 1)
    if int(collection["ndim"]) != 2 or len(collection["networks"]) != types**2:
        raise ModelError("there is not one embedding net for each pair of types: the file is damaged")
    pairs, net = _neighbours(types)  # the other half of the collection is never used
    descriptor = ThreeBody(
        kind="se_e3",
        **common,
        nets=tuple(trees.net(collection["networks"][a + b * types], f"embedding net {a}-{b}") for a, b in pairs),
        net=net,
        weight=np.divide(1.0, slots, out=np.zeros_like(slots), where=slots > 0),
        masked=trees.excluded_pairs(tree.get("exclude_types"), types),
    )
    return Member(descriptor, np.zeros((types, 0)))


def _neighbours(types: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Pairs of types of two neighbours, each once, and their numbers [types, types]."""
    pairs = [(a, b) for b in range(types) for a in range(b + 1)]
    net = np.empty((types, types), dtype=np.int64)
    for number, (a, b) in enumerate(pairs):
        net[a, b] = net[b, a] = number
    return pairs, net


def _no_angular_mean(common: dict) -> None:
    if common["mean"][:, 1:].any():
        raise parts.unsupported("a mean of the angular environment that is not zero")


def se_e3_tebd(tree: dict, type_map: tuple[str, ...]) -> Member:
    """Three bodies with a net for all types, which are among its inputs (concat) or give its channels factors (strip)."""
    types = len(type_map)
    common = _common(tree, types, _shared_section(tree))
    _no_angular_mean(common)
    embedding = type_embedding(tree, type_map)
    excluded = trees.excluded_pairs(tree.get("exclude_types"), types)
    # each pair of neighbours is met in both orders
    if _input_mode(tree) == "strip":
        by_pair = _factors(tree, embedding, one_side=False)
        by_pair = (by_pair + by_pair.swapaxes(0, 1)) / 2
        fields = _strip(tree, by_pair, bool(tree["smooth"]), np.zeros_like(excluded))
    else:
        by_order = _concat(tree, embedding, one_side=False, excluded=np.zeros_like(excluded))["nets"]
        pairs, net = _neighbours(types)
        nets = (parts.averaged(by_order[a * types + b], by_order[b * types + a]) for a, b in pairs)
        fields = {"nets": tuple(nets), "net": net}
    descriptor = ThreeBody(
        kind="se_e3_tebd",
        **common,
        **fields,
        weight=(2.0 - np.eye(types)) / common["sel"][0] ** 2,
        masked=excluded,
    )
    return Member(descriptor, embedding if tree.get("concat_output_tebd", True) else np.zeros((types, 0)))


def se_atten(tree: dict, type_map: tuple[str, ...]) -> Member:
    """DPA-1: types among the inputs of its net (concat), or as a factor of each channel of a net of the distance (strip)."""
    types, strip = len(type_map), _input_mode(tree) == "strip"
    if tree.get("lmax", 1) != 1:
        raise refused("lmax")
    common = _common(tree, types, _shared_section(tree))
    # se_atten_v2 is smooth by definition and does not say so
    smooth = tree["type"] == "se_atten_v2" or bool(tree["smooth_type_embedding"])
    if not (smooth and strip) and common["mean"].any():
        raise refused("first_atom")
    embedding = type_embedding(tree, type_map)
    excluded = trees.excluded_pairs(tree.get("exclude_types"), types)
    one_side = bool(tree["type_one_side"])
    attention = read_attention(tree["attention_layers"], smooth) if int(tree["attn_layer"]) else None
    if strip:
        fields = _strip(tree, _factors(tree, embedding, one_side), smooth, excluded)
    else:
        fields = _concat(tree, embedding, one_side, excluded)
        if attention and smooth:
            fields |= {"gate": "switch", "gate_net": np.full((types, types), -1)}
    descriptor = TwoBody(
        kind="se_atten",
        **common,
        **fields,
        # The switch of an empty slot is 0, which leaves the plain net; in all other cases its environment is 0.
        pad_net=np.full((types, 1), 0 if strip and smooth else -1),
        pad_env=_empty_slots(common),
        count=float(common["sel"][0]),
        axis=int(tree["axis_neuron"]),
        type_one_side=one_side,
        attention=attention,
    )
    return Member(descriptor, embedding if tree.get("concat_output_tebd", True) else np.zeros((types, 0)))


def _concat(tree: dict, embedding: np.ndarray, one_side: bool, excluded: np.ndarray) -> dict:
    """A net for each pair of types, or for each type of neighbour: the embeddings among its inputs are constants."""
    types = len(embedding)
    net = trees.only_net(tree["embeddings"], "embedding net", types)
    centre, neighbour = np.indices((types, types))
    if one_side:
        nets, number = [parts.with_constants(net, own) for own in embedding], neighbour
    else:
        pairs = [np.concatenate([embedding[j], embedding[i]]) for i in range(types) for j in range(types)]
        nets, number = [parts.with_constants(net, pair) for pair in pairs], centre * types + neighbour
    return {"nets": tuple(nets), "net": np.where(excluded, -1, number)}


def _strip(tree: dict, by_pair: np.ndarray, smooth: bool, excluded: np.ndarray) -> dict:
    """N_s + w N_s E of one net N_s and factors E [types, types, channels]; w is the switch, or 1 where not smooth."""
    types = len(by_pair)
    pairs, of_pair = np.unique(by_pair.reshape(types**2, -1), axis=0, return_inverse=True)
    of_pair = np.where(excluded, -1, of_pair.reshape(types, types))
    result = {"nets": (trees.only_net(tree["embeddings"], "embedding net", types),)}
    if smooth:
        scale = np.concatenate([np.ones((1, pairs.shape[1])), pairs])
        gate_net = np.where(excluded, -1, of_pair + 1)
        result |= {"net": np.where(excluded, -1, 0), "gate": "switch", "gate_net": gate_net}
    else:
        scale = 1 + pairs
        result |= {"net": of_pair}
    return {**result, "scale": scale, "base": np.zeros(len(scale), dtype=np.int64)}


def _input_mode(tree: dict) -> str:
    mode = tree.get("tebd_input_mode", "strip")
    if mode not in ("strip", "concat"):
        raise parts.unsupported(f"tebd_input_mode {mode!r}")
    return mode


def type_embedding(tree: dict, type_map: tuple[str, ...]) -> np.ndarray:
    """[types, k], what the type-embedding net makes of each type."""
    embedding = tree["type_embedding"]
    trees.version(embedding, "type embedding", 2)
    inputs = np.eye(len(type_map))
    if embedding.get("use_econf_tebd"):
        stored = embedding.get("econf_tebd")
        inputs = embedding_inputs(type_map) if stored is None else parts.array(stored, "econf_tebd")
    net = trees.net(embedding["embedding"], "the type-embedding net")
    if net.layers[0].weight.shape[0] != inputs.shape[1]:
        raise ModelError(f"the type-embedding net does not have {inputs.shape[1]} inputs: the file is damaged")
    return values(net, inputs)


def _factors(tree: dict, embedding: np.ndarray, one_side: bool) -> np.ndarray:
    """[types, types, channels] by centre and neighbour, whose embedding comes first in the net's input."""
    types, width = embedding.shape
    if tree.get("table_of_types") is not None:
        return tables.factors(tree["table_of_types"], types, one_side)
    net = trees.only_net(tree["embeddings_strip"], "net of types", types)
    if one_side:
        return np.repeat(values(net, embedding)[None], types, axis=0)
    neighbour, centre = (embedding[index] for index in np.indices((types, types)))
    pairs = np.concatenate([neighbour, centre], axis=2).reshape(types**2, 2 * width)
    return values(net, pairs).reshape(types, types, -1).swapaxes(0, 1)


_OF_THREE = ("se_e3", "se_at", "se_a_3be", "se_e3_tebd")
# reader and newest version that it knows, by the names that files use
_READERS: dict[str, tuple[Callable[[dict, tuple[str, ...]], Member], int]] = {
    "se_e2_a": (_se_e2_a, 3),
    "se_a": (_se_e2_a, 3),
    "se_e2_r": (_se_e2_r, 3),
    "se_r": (_se_e2_r, 3),
    "se_e3": (_se_e3, 3),
    "se_at": (_se_e3, 3),
    "se_a_3be": (_se_e3, 3),
    "se_e3_tebd": (se_e3_tebd, 2),
    "dpa1": (se_atten, 4),
    "se_atten": (se_atten, 4),
    "se_atten_v2": (se_atten, 4),
}
