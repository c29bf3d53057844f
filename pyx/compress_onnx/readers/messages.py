"""messages - whether the arrays of attention layers and of a repformer have shapes that fit each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..flat import flattened
from ..model import Attention, Repformer, RepformerLayer

Shape = tuple[int, ...]


def attention_faults(attention: Attention, channels: int) -> Iterator[str]:
    for number, layer in enumerate(attention.layers):
        hidden = layer.query.weight.shape[1]
        expected = {f"{part}.weight": (channels, hidden) for part in ("query", "key", "value")}
        expected |= {f"{part}.bias": (hidden,) for part in ("query", "key", "value")}
        expected |= {"out.weight": (hidden, channels), "out.bias": (channels,)}
        expected |= {"norm.weight": (channels,), "norm.bias": (channels,)}
        yield from _wrong(layer, expected, f"attention layer {number}")


def repformer_faults(repformer: Repformer, features: int, types: int) -> Iterator[str]:
    one, two = repformer.features, repformer.channels
    expected = {"transform": (features, one), "shift": (types, one), "embedding.weight": (1, two)}
    expected |= {"env_mean": (types, 4), "env_std": (types, 4), "ignored": (types, types)}
    yield from _wrong(repformer, expected, "repformer")
    if (repformer.std == 0).any():
        yield "the statistics of the repformer have a zero deviation"
    if not 0 < repformer.axis <= min(one, two):
        yield f"axis_neuron {repformer.axis} does not fit a repformer of {two} channels"
    for number, layer in enumerate(repformer.layers):
        yield from _wrong(layer, _layer_shapes(layer, repformer.axis, one, two), f"repformer layer {number}")


def _layer_shapes(layer: RepformerLayer, axis: int, one: int, two: int) -> dict[str, Shape]:
    inputs = (one if layer.own is None else 0) + (two if layer.convolution and not layer.apart else 0)
    inputs += axis * (two * layer.with_pairs + one * layer.with_neighbours)
    shapes = {"own.weight": (one, one), "mixed.weight": (inputs, one), "pair_own.weight": (two, two)}
    shapes |= {"convolution.weight": (two, one) if layer.apart else (one, two), "product.weight": (one, two)}
    if layer.local is not None:
        heads = layer.local.heads
        shapes |= {"local.key": layer.local.query.shape, "local.value": (one, heads * one)}
        shapes["local.out.weight"] = heads * one, one
    if layer.attention is not None:
        heads = layer.attention.heads
        shapes |= {"attention.key": layer.attention.query.shape, "attention.value": (two, heads * two)}
        shapes |= {"attention.out.weight": (heads * two, two), "attention.direction": (heads,)}
        shapes |= {"attention.norm.weight": (two,), "attention.norm.bias": (two,)}
    return shapes


def _wrong(part: object, expected: dict[str, Shape], where: str) -> Iterator[str]:
    """What is there and has another shape."""
    for name, tensor in flattened("", part, np.dtype(np.float64)).items():
        if name in expected and tensor.shape != expected[name]:
            yield f"{name} of {where} has shape {tensor.shape}, not {expected[name]}"
