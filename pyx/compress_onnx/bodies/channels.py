"""channels - the channels g(x) of slots: from tables (TableValue) or from the embedding nets themselves (EmbeddingNet).

Both have the same shape, so that what is made of channels does not know which it has.
"""

from __future__ import annotations

import numpy as np

from ..model import Descriptor, Net
from .builder import F64, I64, Body, Kinds, Value
from .layers import architecture, forward, parameters

TABLE_DOC = """Channels of table `net` at x: x [n, k], net [n, k] (-1: zeros), the tables as in docs/format.md ->
value [n, k, M]. Outside a table the tangent at its end goes on."""

EMBEDDING_DOC = """Channels of embedding net `net` at x: x [n, k], net [n, k] (-1: zeros) -> value [n, k, M]."""

# The quintic Hermite basis, a column for each of value, first and second derivative at the left end, then at the right:
# coefficients of u^0 ... u^5, to be multiplied by step^0, step^1, step^2.
BASIS = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0.5, 0, 0, 0],
        [-10, -6, -1.5, 10, -4, 0.5],
        [15, 8, 1.5, -15, 7, -1],
        [-6, -3, -0.5, 6, -3, 0.5],
    ]
)


class Channels:
    """Of one descriptor: `parameters` are the inputs that a body needs for `value` and `of`.

    real: what they compute in. Float32 tables are read in float64: a slope is a difference of nodal values over the
    stride, which would lose in float32 what libdpc's order of summation keeps.
    """

    def __init__(self, descriptor: Descriptor, function: Body, parameters: Kinds, real: np.dtype, stored: np.dtype):
        self.function, self.real, self.one = function, real, len(descriptor.nets) == 1
        self.scaled, self.gated = descriptor.scale is not None, descriptor.gate != "none"
        self.key = self.scaled, self.one, self.gated, function.name  # what bodies made with this differ by
        self.own = parameters
        self.parameters = dict(parameters)
        if self.scaled:
            self.parameters |= {"scale": (stored, "variants width"), "base": (I64, "variants")}

    def width(self, b: Body) -> Value:
        """M, [1]."""
        names = list(self.own)
        return b["table"].size(2) if "table" in names else b[next(n for n in reversed(names) if "bias" in n)].size()

    def value(self, b: Body, x: Value, net: Value) -> Value:
        return b.call(self.function, x=x, net=net, **{name: b[name] for name in self.own})

    def of(self, b: Body, x: Value, *terms: tuple[Value, Value | None]) -> Value:
        """Sum over terms (variant [n, k], weight [n, k] or None for 1) of the variants at x [n, k]: [n, k, M]."""
        any_net = self.value(b, x, b.zeros_as(terms[0][0])) if self.scaled and self.one else None
        total = None
        for variant, weight in terms:
            part = self._variant(b, x, variant, any_net)
            part = part if weight is None else part * weight.unsqueeze(2)
            total = part if total is None else total + part
        return total

    def _variant(self, b: Body, x: Value, variant: Value, any_net: Value | None) -> Value:
        if not self.scaled:
            return self.value(b, x, variant)
        scale = b["scale"].cast(self.real)
        row = b.where(variant < 0, scale.size(), variant)  # one more, of zeros
        scale = b.concat(scale, b.full(0, self.real, 1, scale.size(1))).take(row)
        if any_net is None:
            any_net = self.value(b, x, b["base"].take(b.op("Max", variant, 0)))
        return any_net * scale


def table_value(name: str, real: np.dtype, broken: bool) -> Body:
    """real: of the table; what it is read in is float64. broken: there may be tables with intervals of any width."""
    inputs = {"x": (F64, "n k"), "net": (I64, "n k"), "grid": (F64, "tables 3"), "rows": (I64, "tables 2")}
    inputs["table"] = real, "nodes 3 width"
    if broken:
        inputs |= {"breaks": (F64, "breaks"), "breaks_first": (I64, "ends")}
    b = Body(name, TABLE_DOC, inputs, ["x"])
    x, rows, table = b["x"], b["rows"], b["table"].cast(F64)
    net = b.op("Max", b["net"], 0)
    lower, step0, step1 = (b["grid"].take(net).column(k) for k in range(3))
    rows0, rows1 = (rows.take(net).column(k) for k in range(2))
    upper = (lower + rows0.cast(F64) * step0).named("upper")
    end = (upper + rows1.cast(F64) * step1).named("end")
    inside = b.op("Min", b.op("Max", x, lower), end).named("inside")

    row0 = b.op("Min", _row(b, inside - lower, step0), rows0 - 1)
    row1 = b.op("Min", _row(b, inside - upper, step1), rows1 - 1) + rows0
    row = b.op("Max", b.where((inside >= upper) & (rows1 > 0), row1, row0), 0).named("row")
    first = row < rows0
    step = b.where(first, step0, step1).named("step")
    node = b.where(first, lower + row.cast(F64) * step0, upper + (row - rows0).cast(F64) * step1)
    size, left = rows.sum(1) + 1, row  # nodes of each table, and the one at the left end of the interval
    if broken:
        size = b.where(_lengths(b) > 0, rows.sum(1) * 2, size)
        left, node, step = _broken(b, net, inside, left, node, step)
    u = ((inside - node) / step).named("u").unsqueeze(2)

    scale = b.op("Pow", step.unsqueeze(2), np.array([0.0, 1, 2, 0, 1, 2]))
    weight = (_polynomial(u, BASIS) * scale).named("weight")  # of value, first and second derivative at both ends
    slope = _polynomial(u, np.arange(1.0, 6.0)[:, None] * BASIS[1:]) * scale / step.unsqueeze(2)
    weight = weight + slope * (x - inside).unsqueeze(2)
    weight = b.where((b["net"] >= 0).unsqueeze(2), weight, 0.0)

    begin = (size.cumsum(0, exclusive=True).take(net) + left) * 3
    flat = table.reshape(-1, table.size(2))
    nodes = flat.take((begin.unsqueeze(2) + list(range(6))).reshape(-1, 6)).named("nodes")
    value = weight.reshape(-1, 1, 6) @ nodes
    value.reshape(x.size(0), x.size(1), table.size(2)).named("value")
    return b.returns("value")


def _lengths(b: Body) -> Value:
    """How many breaks each table has, 0 where its intervals are all alike."""
    first = b["breaks_first"]
    return first.part(1, first.size()) - first.part(0, first.size() - 1)


def _broken(b: Body, net: Value, x: Value, left: Value, node: Value, step: Value) -> tuple[Value, Value, Value]:
    """Node and interval of x [n, k] where its table has breaks, else as given: number, position, width."""
    first, count = b["breaks_first"].take(net), _lengths(b).take(net)
    breaks = b["breaks"]
    number = b.count_up(breaks.size())
    own = (number >= first.unsqueeze(2)) & ~(number >= (first + count).unsqueeze(2))
    passed = (own & ~(breaks > x.unsqueeze(2))).cast(I64).sum(2)
    row = b.op("Max", b.op("Min", passed - 1, count - 2), 0)
    has_breaks, place = count > 0, b.op("Min", first + row, breaks.size() - 2)
    begin, end = breaks.take(place), breaks.take(place + 1)
    return b.where(has_breaks, row * 2, left), b.where(has_breaks, begin, node), b.where(has_breaks, end - begin, step)


def _row(b: Body, offset: Value, step: Value) -> Value:
    return b.op("Floor", offset / step).cast(I64)


def _polynomial(u: Value, coefficients: np.ndarray) -> Value:
    """One polynomial in u for each column."""
    *rest, result = coefficients
    for row in reversed(rest):
        result = u * result + row
    return result


def embedding_net(name: str, nets: tuple[Net, ...], real: np.dtype) -> Body:
    b = Body(name, EMBEDDING_DOC, {"x": (real, "n k"), "net": (I64, "n k")} | embedding_parameters(nets, real), ["x"])
    x, net_of_slot = b["x"].reshape(-1, 1), b["net"].reshape(-1)
    value = b.full(0, real, x.size(), nets[0].width)
    for number, net in enumerate(nets):
        place = b.op("NonZero", net_of_slot.equals(number)).squeeze(0)
        value = value.put_rows(place, forward(b, f"embed.{number}.", net, x.rows(place)))
    value.reshape(b["x"].size(0), b["x"].size(1), nets[0].width).named("value")
    return b.returns("value")


def embedding_parameters(nets: tuple[Net, ...], real: np.dtype) -> Kinds:
    return {name: kind for k, net in enumerate(nets) for name, kind in parameters(f"embed.{k}.", net, real).items()}


def architectures(nets: tuple[Net, ...]) -> tuple:
    return tuple(architecture(net) for net in nets)
