"""descriptors - from environments and channels to features: Contraction, Padding, Descriptor and ThreeBody."""

from __future__ import annotations

import numpy as np

from .blocks import in_blocks
from .builder import F64, I64, Body, Value
from .channels import Channels

CONTRACTION_DOC = """X[a, m] = sum over slots of env[a] G_m(env[0]), or of G_m alone without `a` for radial ones; G is channel
`variant` of the slot (-1: nothing), plus gate_weight times channel `gate_variant` where there are gates.
env [n, slots, 4], variant [n, slots] -> contraction [n, 4, M] or [n, M]."""

PADDING_DOC = """What is constant for a type of centre: counts int64 [n, k] of contributions, centre_type [n],
each [nt, k, columns] -> padding [n, columns], the sum over k of counts times each[centre_type]."""

DESCRIPTOR_DOC = """D[m, a] = sum over c of X[c, m] X[c, a] for a < axis, row by row.
x [n, 4, M], axis [] -> descriptor [n, M axis]."""

THREE_BODY_DOC = """D_m = sum over pairs of slots of weight t G_m(t), t being the product of their two directions env[1:].
env [n, slots, 4], kind [n, slots] type of the slot (-1: contributes nothing), net [nt, nt] variant of a pair of types,
weight [nt, nt] of a pair in either order; with gates the product of both gate_weight times channel gate_net is added to G -> descriptor [n, M]."""

PAIR_INPUTS_DOC = """The inputs of a three-body descriptor's tables, one for each pair of slots n <= m: env [n, slots, 4],
kind [n, slots], distance [n, slots], net [nt, nt] -> x [n, slots²], variant [n, slots²] (-1: none), nearer [n, slots²],
the smaller of both distances."""


def contraction(name: str, channels: Channels, *, radial: bool) -> Body:
    real = channels.real
    inputs = {"env": (real, "n slots 4"), "variant": (I64, "n slots")}
    if channels.gated:
        inputs |= {"gate_variant": (I64, "n slots"), "gate_weight": (real, "n slots")}
    b = Body(name, CONTRACTION_DOC, inputs | channels.parameters, ["env", *["gate_weight"] * channels.gated])
    terms = [(b["variant"], None)]
    if channels.gated:
        terms.append((b["gate_variant"], b["gate_weight"]))
    g = channels.of(b, b["env"].column(0), *terms)
    (g.sum(1) if radial else b["env"].transposed() @ g).named("contraction")
    return b.returns("contraction")


def padding(real: np.dtype) -> Body:
    inputs = {"counts": (I64, "n k"), "centre_type": (I64, "n"), "each": (real, "nt k columns")}
    b = Body("Padding", PADDING_DOC, inputs)
    counts, each = b["counts"].cast(real), b["each"]
    own = b["centre_type"].unsqueeze(1).equals(b.count_up(each.size())).cast(real)
    counts = (own.unsqueeze(2) * counts.unsqueeze(1)).reshape(counts.size(0), each.size(0) * each.size(1))
    (counts @ each.reshape(each.size(0) * each.size(1), each.size(2))).named("padding")
    return b.returns("padding")


def descriptor(real: np.dtype) -> Body:
    b = Body("Descriptor", DESCRIPTOR_DOC, {"x": (real, "n 4 width"), "axis": (I64, "")}, ["x"])
    x, axis = b["x"], b["axis"].reshape(1)
    product = x.transposed() @ x.part(0, axis, axis=2)
    product.reshape(x.size(0), x.size(2) * axis).named("descriptor")
    return b.returns("descriptor")


def three_body(name: str, channels: Channels) -> Body:
    """In blocks of atoms, because each has as many inputs as pairs of slots."""
    at_once = _three_body(f"{name}OfBlock", channels)
    rows = ["env", "kind", *["gate_weight"] * channels.gated]
    return in_blocks(name, at_once, rows, lambda b: b.full(0, channels.real, 0, channels.width(b)))


def _three_body(name: str, channels: Channels) -> Body:
    real = channels.real
    inputs = {"env": (real, "n slots 4"), "kind": (I64, "n slots"), "net": (I64, "nt nt"), "weight": (F64, "nt nt")}
    if channels.gated:
        inputs |= {"gate_net": (I64, "nt nt"), "gate_weight": (real, "n slots")}
    b = Body(name, THREE_BODY_DOC, inputs | channels.parameters, ["env", *["gate_weight"] * channels.gated])
    direction, kind = b["env"].part(1, 4, axis=2), b["kind"]
    t = (direction @ direction.transposed()).reshape(kind.size(0), kind.size(1) * kind.size(1)).named("t")
    pair = _pair_of_types(b, kind).named("pair")
    terms = [(_entry(b, "net", pair), None)]
    if channels.gated:
        both = b["gate_weight"].unsqueeze(2) * b["gate_weight"].unsqueeze(1)
        terms.append((_entry(b, "gate_net", pair), both.reshape_as(t)))
    g = channels.of(b, t, *terms)
    types = b.count_up(b["net"].size())
    half = (
        types.unsqueeze(0).equals(types.unsqueeze(1)).cast(F64) * 0.5 + 0.5
    )  # other types meet twice, in either order
    weight = (b["weight"] * half).reshape(-1).take(b.op("Max", pair, 0)).cast(real)
    weight = b.where(pair >= 0, weight, 0.0)
    ((weight * t).unsqueeze(2) * g).sum(1).named("descriptor")
    return b.returns("descriptor")


def _pair_of_types(b: Body, kind: Value) -> Value:
    """Number of the two slots' types in a flattened table [nt, nt], -1 where there are none: [n, slots²]."""
    first, second = kind.unsqueeze(2), kind.unsqueeze(1)
    both = b.op("Min", first, second) >= 0
    pair = b.where(both, first * b["net"].size() + second, -1)
    return pair.reshape(kind.size(0), kind.size(1) * kind.size(1))


def _entry(b: Body, table: str, pair: Value) -> Value:
    return b.where(pair >= 0, b[table].reshape(-1).take(b.op("Max", pair, 0)), -1)


def pair_inputs() -> Body:
    inputs = {"env": (F64, "n slots 4"), "kind": (I64, "n slots"), "distance": (F64, "n slots"), "net": (I64, "nt nt")}
    b = Body("PairInputs", PAIR_INPUTS_DOC, inputs)
    direction, distance, kind = b["env"].part(1, 4, axis=2), b["distance"], b["kind"]
    shape = kind.size(0), kind.size(1) * kind.size(1)
    (direction @ direction.transposed()).reshape(*shape).named("x")
    number = b.count_up(kind.size(1))
    once = ~(number.unsqueeze(0) < number.unsqueeze(1)).reshape(1, -1)
    entry = _entry(b, "net", _pair_of_types(b, kind))
    b.where(once, entry, -1).named("variant")
    b.op("Min", distance.unsqueeze(1), distance.unsqueeze(2)).reshape(*shape).named("nearer")
    return b.returns("x", "variant", "nearer")
