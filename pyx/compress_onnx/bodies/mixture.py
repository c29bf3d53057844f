"""mixture - body of PairMixture: what is fitted, and a pair potential in its place where atoms are near."""

from __future__ import annotations

import numpy as np

from .builder import F64, I64, Body

DOC = """(1 - c) fitted + c (pair_bias + half the sum of V(r) over the neighbours that are kept), see docs/format.md, pair_table.
vector [nloc, slots, 3], kept and slot_type int64 [nloc, slots], centre_type [nloc], fitted [nloc, 1], pair_range,
pair_mix, pair_table, pair_bias -> mixed [nloc, 1]."""

_LEAST = 1e-20  # what the sum of weights counts as that is smaller


def pair_mixture() -> Body:
    inputs = {"vector": (F64, "nloc slots 3"), "kept": (I64, "nloc slots"), "slot_type": (I64, "nloc slots")}
    inputs |= {
        "centre_type": (I64, "nloc"),
        "fitted": (F64, "nloc 1"),
        "pair_range": (F64, "3"),
        "pair_mix": (F64, "3"),
    }
    inputs |= {"pair_table": (F64, "nt nt intervals 4"), "pair_bias": (F64, "nt")}
    b = Body("PairMixture", DOC, inputs, ["vector", "fitted"])
    start, cutoff, step = (b["pair_range"].take(np.array(k)) for k in range(3))
    alpha, inner, outer = (b["pair_mix"].take(np.array(k)) for k in range(3))
    kept, r, table = b["kept"] > 0, b["vector"].norm(2), b["pair_table"]

    types, intervals = table.size(0), table.size(2)
    x = ((r - start) / step).named("x")
    k = b.op("Max", b.op("Floor", b.op("Min", x, intervals.cast(F64))).cast(I64), 0).named("k")
    u = x - k.cast(F64)
    inside = kept & (k < intervals) & (r < cutoff)
    pair = b["centre_type"].unsqueeze(1) * types + b.op("Max", b["slot_type"], 0)
    row = b.where(inside, pair * intervals + k, 0)
    a3, a2, a1, a0 = (table.reshape(-1, 4).take(row).column(number) for number in range(4))
    potential = b.where(inside, ((a3 * u + a2) * u + a1) * u + a0, 0.0)
    energy = potential.sum(1) * 0.5 + b["pair_bias"].take(b["centre_type"])

    weight = b.where(kept, b.op("Exp", -(r / alpha)), 0.0)
    mean = ((weight * r).sum(1) / b.op("Max", weight.sum(1), _LEAST)).named("mean")
    u = b.op("Min", b.op("Max", (mean - inner) / (outer - inner), 0.0), 1.0)
    c = b.where(mean > 0.0, u * u * u * ((u * -6.0 + 15.0) * u - 10.0) + 1.0, 0.0).unsqueeze(1).named("c")
    ((1.0 - c) * b["fitted"] + c * energy.unsqueeze(1)).named("mixed")
    return b.returns("mixed")
