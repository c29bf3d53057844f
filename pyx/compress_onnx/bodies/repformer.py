"""repformer - the layers of DPA-2 that exchange messages, inside the outer function: RepformerStart, RepformerLayer, MeanProduct."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..flat import architecture, weights
from ..model import COUNT_GUARD, PairAttention, Repformer, RepformerLayer
from .attention import dense, normalised, softmax
from .builder import F64, I64, Body, Kinds, Value
from .layers import activate
from .members import Part, Sited, Slots, Surroundings

if TYPE_CHECKING:
    from .term import Functions

ROUNDS = "rounds."  # before the names of its parameters

START_DOC = """What a repformer begins with: features [n, k], centre_type [n], env [n, slots, 4] (or vector [n, slots, 3] and the
cutoff) -> g1 [n, G], g2 [n, slots, g], h2 [n, slots, 3]."""

LAYER_DOC = """One round: g1 [n, G], g2 [n, slots, g], h2 [n, slots, 3], neighbour [n, slots]; seen int64 [n, slots], 1 where
there is a neighbour; weight [n, slots] of slots in sums, 0 where there is none; absent [n], how many slots are not here;
divisor [n] of means, root_divisor [n] of mean products -> the new g1, and g2 and h2 where these change."""

PRODUCT_DOC = """H = mean over slots of h2 ⊗ g: g [n, slots, k], h2 [n, slots, 3], weight [n, slots], divisor [n] -> product [n, 3, k]."""


class Rounds(Sited):
    """Evaluates a repformer, whose parameters are the outer function's inputs with the prefix ROUNDS."""

    gate = 1  # the switching function weighs slots

    def __init__(self, repformer: Repformer, functions: Functions, real: np.dtype, *, reach: float):
        """reach: cutoff of the neighbours that it is offered."""
        super().__init__(ROUNDS, functions, all_near=repformer.cutoff == reach)
        self.repformer, self.real = repformer, real

    def evaluate(self, b: Body, around: Surroundings, features: Value, *, rotation: bool) -> Part:
        r, slots = self.repformer, self.slots(b, around)
        g1, g2, h2 = self._start(b, slots, features)
        seen = slots.kept
        weight = (slots.weight if r.smooth else seen.cast(F64)).cast(self.real)
        divisor = root = (slots.empty.sum(1) + seen.sum(1) if r.smooth else seen.sum(1)).cast(self.real)
        if r.root:
            root = b.op("Sqrt", root)
        if not r.smooth:
            divisor, root = divisor + COUNT_GUARD, root + COUNT_GUARD
        given = {"neighbour": slots.neighbour, "seen": seen, "weight": weight, "absent": slots.empty.sum(1)}
        given |= {"divisor": divisor, "root_divisor": root}
        for number, layer in enumerate(r.layers):
            function = self.functions.get(
                "RepformerLayer",
                (architecture(layer), r.smooth, r.axis, self.real),
                lambda name, layer=layer: repformer_layer(name, r, layer, self.real),
            )
            found = self._call(b, function, f"{number}.", **given, g1=g1, g2=g2, h2=h2)
            g1, g2, h2 = found if isinstance(found, tuple) else (found, g2, h2)
        if not rotation:
            return Part(g1, None, None)
        product = self.functions.get("MeanProduct", self.real, lambda name: mean_product(name, self.real))
        return Part(g1, b.call(product, g=g2, h2=h2, weight=weight, divisor=root), None)

    def _start(self, b: Body, slots: Slots, features: Value) -> tuple[Value, Value, Value]:
        r = self.repformer
        shapes = r.transform.shape, r.shift.shape, architecture(r.embedding)
        function = self.functions.get(
            "RepformerStart", (r.activation, r.direct, *shapes, self.real), lambda name: start(name, r, self.real)
        )
        place = {"vector": slots.vector, "cutoff": self.own(b, "switch").take(np.array(1))} if r.direct else {}
        place = place or {"env": slots.env}
        place = {name: value.cast(self.real) for name, value in place.items()}
        return self._call(b, function, "", features=features, centre_type=slots.centre_type, **place)

    def _call(self, b: Body, function: Body, prefix: str, **given: Value) -> Value | tuple[Value, ...]:
        """With the parameters that it takes beside what is given."""
        given = {name: value for name, value in given.items() if name in function.inputs}
        own = {name: self.own(b, prefix + name) for name in function.inputs if name not in given}
        return b.call(function, **given, **own)


def start(name: str, r: Repformer, real: np.dtype) -> Body:
    inputs: Kinds = {"features": (real, "n k"), "centre_type": (I64, "n"), "transform": (real, r.transform.shape)}
    inputs |= {"shift": (real, r.shift.shape), **weights("embedding.", r.embedding, real)}
    inputs |= {"vector": (real, "n slots 3"), "cutoff": (real, "")} if r.direct else {"env": (real, "n slots 4")}
    b = Body(name, START_DOC, inputs, ["features", "vector" if r.direct else "env"])
    g1 = b["features"] @ b["transform"] + b["shift"].take(b["centre_type"])
    if r.direct:
        h2 = b["vector"] / b["cutoff"]
        radial = b.op("Sqrt", (h2 * h2).sum(2, keepdims=True))
    else:
        radial, h2 = b["env"].part(0, 1, axis=2), b["env"].part(1, 4, axis=2)
    b.op("Identity", activate(b, r.activation, g1)).named("g1")
    b.op("Identity", dense(b, "embedding.", r.embedding, radial)).named("g2")
    b.op("Identity", h2).named("h2")
    return b.returns("g1", "g2", "h2")


def mean_product(name: str, real: np.dtype) -> Body:
    inputs: Kinds = {
        "g": (real, "n slots k"),
        "h2": (real, "n slots 3"),
        "weight": (real, "n slots"),
        "divisor": (real, "n"),
    }
    b = Body(name, PRODUCT_DOC, inputs, ["g", "h2", "weight"])
    _mean_product(b["g"], b["h2"], b["weight"], b["divisor"]).named("product")
    return b.returns("product")


def _mean_product(g: Value, h2: Value, weight: Value, divisor: Value) -> Value:
    return h2.transposed() @ (g * weight.unsqueeze(2)) / divisor.unsqueeze(1, 2)


def repformer_layer(name: str, r: Repformer, layer: RepformerLayer, real: np.dtype) -> Body:
    one, two = layer.of_g1.shape[1], layer.of_g2.shape[1]
    inputs: Kinds = {"g1": (real, f"n {one}"), "g2": (real, f"n slots {two}"), "h2": (real, "n slots 3")}
    inputs |= {
        "neighbour": (I64, "n slots"),
        "seen": (I64, "n slots"),
        "weight": (real, "n slots"),
        "absent": (I64, "n"),
    }
    inputs |= {"divisor": (real, "n"), "root_divisor": (real, "n"), **weights("", layer, real)}
    b = Body(name, LAYER_DOC, inputs, ["g1", "g2", "h2", "weight"])
    g1, g2, h2, weight = (b[key] for key in ("g1", "g2", "h2", "weight"))
    near = g1.take(b["neighbour"].reshape(-1)).reshape(g2.size(0), g2.size(1), one)
    shown = weight.unsqueeze(2)
    of_g1, of_g2, of_h2, mixed = [g1], [g2], [h2], []
    if layer.own is None:
        mixed.append(g1)
    else:
        of_g1.append(dense(b, "own.", layer.own, g1))
    if layer.pair_own is not None:
        of_g2.append(dense(b, "pair_own.", layer.pair_own, g2))
    if layer.product is not None:
        of_g2.append(dense(b, "product.", layer.product, g1.unsqueeze(1) * near * shown))
    if layer.attention is not None:
        share = _pair_shares(b, r, layer.attention)
        if layer.attention.value is not None:
            of_g2.append(_pair_update(b, layer.attention, share))
        if layer.attention.direction is not None:
            combined = (share * b["attention.direction"].reshape(1, -1, 1, 1)).sum(1)
            of_h2.append(combined @ h2)
    if layer.convolution is not None:
        pair = dense(b, "convolution.", layer.convolution, g2) if layer.apart else g2
        other = near if layer.apart else dense(b, "convolution.", layer.convolution, near)
        (of_g1 if layer.apart else mixed).append((pair * other * shown).sum(1) / b["divisor"].unsqueeze(1))
    for wanted, g in ((layer.with_pairs, g2), (layer.with_neighbours, near)):
        if wanted:
            h = _mean_product(g, h2, weight, b["root_divisor"])
            symmetric = (h.part(0, r.axis, axis=2).transposed() @ h).scaled(1 / 3)
            mixed.append(symmetric.reshape(g1.size(0), r.axis * g.shape[2]))
    of_g1.append(dense(b, "mixed.", layer.mixed, b.concat(*mixed, axis=1)))
    if layer.local is not None:
        of_g1.append(_local_update(b, r, layer, near))
    _total(b, "of_g1", of_g1).named("new_g1")
    if layer.pair_own is None:
        return b.returns("new_g1")
    _total(b, "of_g2", of_g2).named("new_g2")
    _total(b, "of_h2", of_h2).named("new_h2")
    return b.returns("new_g1", "new_g2", "new_h2")


def _total(b: Body, factors: str, parts: list[Value]) -> Value:
    """The sum of parts times the rows of `factors`."""
    total = None
    for number, part in enumerate(parts):
        factor = b[factors].take(np.array(number))
        product = part * factor if factor.shape else part.scaled(factor)
        total = product if total is None else total + product
    return total


def _by_head(x: Value, heads: int) -> Value:
    """[n, heads, slots, width] of [n, slots, heads · width]."""
    return x.reshape(x.size(0), x.size(1), heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def _pair_shares(b: Body, r: Repformer, attention: PairAttention) -> Value:
    """A [n, heads, slots, slots]."""
    g2, h2, seen = b["g2"], b["h2"], b["seen"] > 0
    query, key = (_by_head(g2 @ b[f"attention.{part}"], attention.heads) for part in ("query", "key"))
    angles = (h2 @ h2.transposed()).unsqueeze(1)
    products = query @ key.transposed()
    if attention.gated:
        products = products * angles
    weight = (b["weight"].unsqueeze(2) * b["weight"].unsqueeze(1)).unsqueeze(1) if r.smooth else None
    share = softmax(b, products, seen.unsqueeze(1, 2), weight, b["absent"].unsqueeze(1, 2, 3))
    both = (seen.unsqueeze(2) & seen.unsqueeze(1)).unsqueeze(1)
    return (b.where(both, share, 0.0) * angles).scaled(1 / math.sqrt(3))


def _pair_update(b: Body, attention: PairAttention, share: Value) -> Value:
    found = share @ _by_head(b["g2"] @ b["attention.value"], attention.heads)
    return normalised(
        b, "attention.norm.", attention.norm, dense(b, "attention.out.", attention.out, _side_by_side(found))
    )


def _side_by_side(found: Value) -> Value:
    """[n, rows, heads · width] of [n, heads, rows, width]."""
    heads, width = found.shape[1], found.shape[3]
    return found.transpose(0, 2, 1, 3).reshape(found.size(0), found.size(2), heads * width)


def _local_update(b: Body, r: Repformer, layer: RepformerLayer, near: Value) -> Value:
    heads = layer.local.heads
    query = _by_head(b["g1"].unsqueeze(1) @ b["local.query"], heads)
    key, value = (_by_head(near @ b[f"local.{part}"], heads) for part in ("key", "value"))
    seen = (b["seen"] > 0).unsqueeze(1, 2)
    weight = b["weight"].unsqueeze(1, 2) if r.smooth else None
    share = softmax(b, query @ key.transposed(), seen, weight, b["absent"].unsqueeze(1, 2, 3))
    found = b.where(seen, share, 0.0) @ value
    return dense(b, "local.out.", layer.local.out, _side_by_side(found)).squeeze(1)
