"""contraction - bodies of Contraction and ContractionGrad: environments with tables, in the space of the nodes."""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto

from .builder import F64, I64, Body, Value

INTERPOLATION_DOC = """The six node rows that a table's value at x is a combination of, and the factors.
x [n, slots], net [n, slots] (-1: any finite row), grid, rows, table as in docs/format.md ->
nodes [n, 6 slots, M]: value, first and second derivative at both ends of each interval;
weight [n, slots, 6]: value = sum of weight times nodes; slope [n, slots, 6]: derivative likewise.
Outside the table the tangent at its end goes on."""

CONTRACTION_DOC = """X[a, m] = sum over slots of env[a] g_m(env[0]), g being table `net` of the slot; none for -1.
env [n, slots, 4], net [n, slots] -> contraction [n, 4, M]."""

CONTRACTION_GRAD_DOC = """Backward of Contraction, through the tables too: grad [n, 4, M] -> env_grad [n, slots, 4]."""

RANGE_DOC = """Where the inputs env[..., 0] of the slots fall in their tables.
env [n, slots, 4], net [n, slots] (-1: not counted), distance [n, slots] -> range [tables, 4]: how many lie below the
table, in its first sub-table, in the second, beyond; range_worst [tables, 3]: the input furthest outside, its centre
and its distance, or zeros."""

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
# its derivative by u, coefficients of u^0 ... u^4
BASIS_SLOPE = np.arange(1.0, 6.0)[:, None] * BASIS[1:]


def interpolation(real: np.dtype) -> FunctionProto:
    inputs = {"x": real, "net": I64, "grid": F64, "rows": I64, "table": real}
    b = Body("Interpolation", INTERPOLATION_DOC, inputs)
    x, table, rows = b["x"].cast(F64), b["table"], b["rows"]
    net = b.op("Max", b["net"], 0)
    lower, step0, step1 = _columns(b["grid"].take(net), 3)
    rows0, rows1 = _columns(rows.take(net), 2)
    upper = (lower + rows0.cast(F64) * step0).named("upper")
    end = (upper + rows1.cast(F64) * step1).named("end")
    inside = b.op("Min", b.op("Max", x, lower), end).named("inside")

    row0 = b.op("Min", _row(b, inside - lower, step0), rows0 - 1)
    row1 = b.op("Min", _row(b, inside - upper, step1), rows1 - 1) + rows0
    row = b.op("Max", b.where((inside >= upper) & (rows1 > 0), row1, row0), 0).named("row")
    first = row < rows0
    step = b.where(first, step0, step1).named("step")
    node = b.where(first, lower + row.cast(F64) * step0, upper + (row - rows0).cast(F64) * step1)
    u = ((inside - node) / step).named("u")

    h = step.unsqueeze(2)
    scale = b.op("Pow", h, np.array([0.0, 1, 2, 0, 1, 2]))
    value = _polynomial(u.unsqueeze(2), BASIS) * scale
    slope = _polynomial(u.unsqueeze(2), BASIS_SLOPE) * scale / h
    slope.cast(real).named("slope")
    (value + slope * (x - inside).unsqueeze(2)).cast(real).named("weight")

    size = rows.sum(1) + 1  # nodes of each table
    begin = (size.cumsum(0, exclusive=True).take(net) + row) * 3
    numbers = begin.unsqueeze(2) + list(range(6))
    flat = table.reshape(-1, table.size(2))
    flat.take(numbers.reshape(net.size(0), net.size(1) * 6)).named("nodes")
    return b.function("nodes", "weight", "slope")


def _columns(values: Value, count: int) -> list[Value]:
    return [values.take(np.array(k), axis=2) for k in range(count)]


def _row(b: Body, offset: Value, step: Value) -> Value:
    return b.op("Floor", offset / step).cast(I64)


def _polynomial(u: Value, coefficients: np.ndarray) -> Value:
    """One polynomial in u for each column."""
    *rest, result = coefficients
    for row in reversed(rest):
        result = u * result + row
    return result


def _inputs(real: np.dtype, **more: np.dtype) -> dict[str, np.dtype]:
    return {"env": real, "net": I64, "grid": F64, "rows": I64, "table": real, **more}


def _interpolate(b: Body, real: np.dtype) -> list[Value]:
    x = b["env"].take(np.array(0), axis=2)
    outputs = {"nodes": real, "weight": real, "slope": real}
    return b.call("Interpolation", x, b["net"], b["grid"], b["rows"], b["table"], outputs=outputs)


def contraction(real: np.dtype) -> FunctionProto:
    b = Body("Contraction", CONTRACTION_DOC, _inputs(real))
    nodes, weight, _ = _interpolate(b, real)
    contributes = (b["net"] >= 0).cast(real).unsqueeze(2)
    env = (b["env"] * contributes).transpose(0, 2, 1).unsqueeze(3)  # [n, 4, slots, 1]
    on_nodes = (env * weight.unsqueeze(1)).reshape(0, 4, nodes.size(1)).named("on_nodes")
    (on_nodes @ nodes).named("contraction")
    return b.function("contraction")


def contraction_grad(real: np.dtype) -> FunctionProto:
    b = Body("ContractionGrad", CONTRACTION_GRAD_DOC, _inputs(real, grad=real))
    nodes, weight, slope = _interpolate(b, real)
    slots = b["net"].size(1)
    on_nodes = (nodes @ b["grad"].turned(1)).reshape(0, slots, 6, 4).named("on_nodes")
    through_env = (weight.unsqueeze(2) @ on_nodes).squeeze(2)
    through_table = (slope.unsqueeze(2) @ on_nodes).squeeze(2)
    env_grad(b, through_env, through_table)
    return b.function("env_grad")


def env_grad(b: Body, through_env: Value, through_table: Value) -> Value:
    """dE/d(env) from X's gradient times the nets' values and times their slopes, both [n, slots, 4]."""
    first = (through_table * b["env"]).sum(2).unsqueeze(2)
    total = through_env + first * np.array([1, 0, 0, 0], first.dtype)
    return b.where((b["net"] >= 0).unsqueeze(2), total, 0.0).named("env_grad")


def table_range() -> FunctionProto:
    b = Body("TableRange", RANGE_DOC, {"env": F64, "net": I64, "distance": F64, "grid": F64, "rows": I64})
    slots, tables = b["net"].size(1), b["rows"].size()
    net = b["net"].reshape(-1)
    counted = net >= 0
    x = b["env"].take(np.array(0), axis=2).reshape(-1)
    lower, step0, step1 = (b["grid"].take(np.array(k), axis=1) for k in range(3))
    rows0, rows1 = (b["rows"].take(np.array(k), axis=1).cast(F64) for k in range(2))
    upper = lower + rows0 * step0
    any_table = b.op("Max", net, 0)
    lower, upper, end = (bound.take(any_table) for bound in (lower, upper, upper + rows1 * step1))

    group = (x >= lower).cast(I64) + (x >= upper).cast(I64) + (x >= end).cast(I64)
    cell = b.where(counted, net * 4 + group, tables * 4)
    b.tally(cell, tables * 4 + 1).part(0, tables * 4).reshape(-1, 4).named("range")

    outside = b.op("Max", lower - x, x - end, 0.0)
    table = b.where(counted, net, tables)
    furthest = b.scatter(b.full(0, F64, tables + 1), table, outside, reduction="max")
    is_worst = (outside > 0.0) & ~(outside < furthest.take(table))
    number = b.count_up(net.size())
    none = net.size()
    worst = b.scatter(none.expand(tables + 1), table, b.where(is_worst, number, none), reduction="min")
    worst = worst.part(0, tables)
    columns = (x, (number / slots).cast(F64), b["distance"].reshape(-1))
    columns = (b.concat(column, b.full(0, F64, 1)).take(worst).unsqueeze(1) for column in columns)
    b.concat(*columns, axis=1).named("range_worst")
    return b.function("range", "range_worst")
