"""ranges - body of TableRange: where inputs fall in their tables."""

from __future__ import annotations

from .builder import F64, I64, Body

DOC = """Where inputs fall in their tables.
x [n, k], net [n, k] (-1: not counted), distance [n, k] -> range [tables, 4]: how many lie below the table, in its first
sub-table, in the second, beyond; range_worst [tables, 3]: the input furthest outside, its centre n and its distance,
or zeros."""


def table_range() -> Body:
    inputs = {"x": (F64, "n k"), "net": (I64, "n k"), "distance": (F64, "n k")}
    b = Body("TableRange", DOC, inputs | {"grid": (F64, "tables 3"), "rows": (I64, "tables 2")})
    columns, tables = b["net"].size(1), b["rows"].size()
    net, x = b["net"].reshape(-1), b["x"].reshape(-1)
    counted = net >= 0
    lower, step0, step1 = (b["grid"].column(k) for k in range(3))
    rows0, rows1 = (b["rows"].column(k).cast(F64) for k in range(2))
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
    values = (x, (number / columns).cast(F64), b["distance"].reshape(-1))
    values = (b.concat(value, b.full(0, F64, 1)).take(worst).unsqueeze(1) for value in values)
    b.concat(*values, axis=1).named("range_worst")
    return b.returns("range", "range_worst")
