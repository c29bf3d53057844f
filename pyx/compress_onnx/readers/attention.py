"""attention - the attention layers of a native dictionary of DPA-1."""

from __future__ import annotations

import numpy as np

from ..model import Attention, AttentionLayer, Layer
from . import parts, trees
from .refusals import refused

_SHORTEST = 1e-12  # what the length of a vector counts as that is shorter


def read_attention(tree: dict, smooth: bool) -> Attention:
    """What `attention_layers` of a descriptor say; `smooth` as in the descriptor."""
    trees.version(tree, "attention", 1)
    layers = tree["attention_layers"]
    if len(options := {_options(layer["attention_layer"]) for layer in layers}) != 1:
        raise parts.unsupported("a descriptor whose attention layers differ")
    angular, unit = options.pop()
    return Attention(
        layers=tuple(_layer(layer, f"attention layer {number}") for number, layer in enumerate(layers)),
        smooth=smooth,
        angular=angular,
        unit=unit,
        shortest=_SHORTEST,
    )


def _options(core: dict) -> tuple[bool, bool]:
    if core["do_mask"]:
        raise refused("attn_mask")
    if int(core["num_heads"]) != 1:
        raise parts.unsupported(f"attention layers with {core['num_heads']} heads")
    return bool(core["dotr"]), bool(core["normalize"])


def _layer(tree: dict, where: str) -> AttentionLayer:
    core = tree["attention_layer"]
    given, temperature = trees.layer(core["in_proj"], f"in_proj of {where}"), core.get("temperature")
    hidden = given.weight.shape[1] // 3
    scale = (hidden * float(core["scaling_factor"])) ** -0.5 if temperature is None else float(temperature)
    query, key, value = (_columns(given, start, start + hidden) for start in range(0, 3 * hidden, hidden))
    return AttentionLayer(
        query=query,
        key=key,
        value=value,
        out=trees.layer(core["out_proj"], f"out_proj of {where}"),
        scale=scale,
        norm=trees.normalisation(tree["attn_layer_norm"], f"normalisation of {where}"),
    )


def _columns(layer: Layer, start: int, stop: int) -> Layer:
    """A linear layer with some of the outputs."""
    bias = np.zeros(layer.weight.shape[1]) if layer.bias is None else layer.bias
    return Layer(layer.weight[:, start:stop], bias[start:stop], None, "linear", 0)
