"""attention - the body of AttentiveContraction, and the parts that it shares with the layers of a repformer."""

from __future__ import annotations

import numpy as np

from ..flat import weights
from ..model import ATTENTION_SHIFT, Attention, Layer, Normalisation
from . import blocks
from .builder import I64, Body, Value
from .channels import Channels
from .layers import activate

DOC = """X[a, m] = sum over slots of env[a] G_m, as in Contraction, but with G going through attention layers first.
Beside what Contraction takes: seen [n, slots], 1 where a slot takes part; absent [n], how many slots of the atom are not
here and take part in smooth softmaxes -> contraction [n, 4, M]."""

FAR = -1e30  # a logarithm of nothing


def contraction(name: str, channels: Channels, attention: Attention, real: np.dtype, *, gated: bool) -> Body:
    """gated: whether G has a second part."""
    inner = channels.real
    inputs = {"env": (inner, "n slots 4"), "variant": (I64, "n slots"), "seen": (I64, "n slots"), "absent": (I64, "n")}
    if gated:
        inputs["gate_variant"] = I64, "n slots"
    if gated or attention.smooth:
        inputs["gate_weight"] = inner, "n slots"
    differentiable = [key for key in ("env", "gate_weight") if key in inputs]
    b = Body(name, DOC, inputs | channels.parameters | weights("attention.", attention, real), differentiable)
    terms = [(b["variant"], None)]
    if gated:
        terms.append((b["gate_variant"], b["gate_weight"]))
    g = channels.of(b, b["env"].column(0), *terms).cast(real)
    env, seen = b["env"].cast(real), b["seen"] > 0
    weight = factor = None
    if attention.smooth:
        own = b["gate_weight"].cast(real) * b["seen"].cast(real)
        weight = own.unsqueeze(2) * own.unsqueeze(1)
    if attention.angular:
        direction = env.part(1, 4, axis=2)
        direction = direction / length(b, direction, b["attention.shortest"])
        factor = direction @ direction.transposed()
    for number in range(len(attention.layers)):
        g = _layer(b, number, attention, g, seen, weight, factor)
    (env.transposed() @ g).named("contraction")
    return b.returns("contraction")


def in_blocks(name: str, at_once: Body, channels: Channels, real: np.dtype) -> Body:
    """A contraction of some atoms at a time, because each has as many weights as pairs of slots."""
    rows = [row for row in ("env", "variant", "gate_variant", "gate_weight", "seen", "absent") if row in at_once.inputs]
    return blocks.in_blocks(name, at_once, rows, lambda b: b.full(0, real, 0, 4, channels.width(b)))


def _layer(
    b: Body, number: int, attention: Attention, g: Value, seen: Value, weight: Value | None, factor: Value | None
) -> Value:
    layer, prefix = attention.layers[number], f"attention.{number}."
    query, key, value = (dense(b, f"{prefix}{part}.", getattr(layer, part), g) for part in ("query", "key", "value"))
    if attention.unit:
        query, key, value = (x / length(b, x, b["attention.shortest"]) for x in (query, key, value))
    products = (query @ key.transposed()).scaled(b[f"{prefix}scale"])
    share = softmax(b, products, seen.unsqueeze(1), weight, b["absent"].unsqueeze(1, 2))
    if weight is None:  # which is 0 where one of two is not seen
        share = b.where(seen.unsqueeze(2) & seen.unsqueeze(1), share, 0.0)
    if factor is not None:
        share = share * factor
    return normalised(b, f"{prefix}norm.", layer.norm, g + dense(b, f"{prefix}out.", layer.out, share @ value))


def length(b: Body, x: Value, shortest: Value) -> Value:
    """Of vectors along the last axis, which stays; never less than `shortest`."""
    square = (x * x).sum(len(x.shape) - 1, keepdims=True)
    return b.op("Sqrt", b.op("Max", square, shortest * shortest))


def softmax(b: Body, products: Value, seen: Value, weight: Value | None, absent: Value) -> Value:
    """Over the last axis, which has as many columns as slots; those not `seen` get nothing.

    With a weight of each element the smooth one, times that weight, for which `absent` int64 [..., 1] more slots count.
    """
    last = len(products.shape) - 1
    if weight is None:
        return b.op("Softmax", b.where(seen, products, FAR), axis=last)
    products = b.where(seen, (products + ATTENTION_SHIFT) * weight - ATTENTION_SHIFT, FAR)
    many = b.op("Log", b.op("Max", absent, 1).cast(products.dtype)) - ATTENTION_SHIFT
    more = b.where(absent > 0, many, FAR).expand(*(products.size(axis) for axis in range(last)), 1)
    both = b.op("Softmax", b.concat(products, more, axis=last), axis=last)
    return both.part(0, products.size(last), axis=last) * weight


def normalised(b: Body, prefix: str, norm: Normalisation, x: Value) -> Value:
    last, channels = len(x.shape) - 1, float(len(norm.weight))
    x = x - x.sum(last, keepdims=True) / channels
    variance = (x * x).sum(last, keepdims=True) / channels
    return x / b.op("Sqrt", variance + b[f"{prefix}epsilon"]) * b[f"{prefix}weight"] + b[f"{prefix}bias"]


def dense(b: Body, prefix: str, layer: Layer, x: Value) -> Value:
    """A layer without shortcut at x [..., in]."""
    y = x @ b[f"{prefix}weight"]
    if layer.bias is not None:
        y = y + b[f"{prefix}bias"]
    y = activate(b, layer.activation, y)
    return y if layer.idt is None else y * b[f"{prefix}idt"]
