"""pairs - the pair table of a native dictionary that takes the place of what is fitted at short distances (ZBL)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model import PairTable, Term
from . import parts, trees

PARAMETERS = ("smin_alpha", "sw_rmin", "sw_rmax")  # of the whole, beside its two models


def read_mixture(tree: dict, term: Term) -> Term:
    """`term`, the first of the two models of a dictionary, with the pair table of the second."""
    trees.version(tree, "model", 2)
    trees.absent(tree, "model", "atom_exclude_types")
    pair, types = tree["models"][1], len(term.fitting.net)
    trees.version(pair, "pair table", 2)
    trees.absent(pair, "pair table", "atom_exclude_types", "pair_exclude_types")
    bias = parts.array(tree["@variables"]["out_bias"], "out_bias", (types, 1))
    table = pair_table(
        parts.array(pair["tab"]["@variables"]["tab_info"], "tab_info", (4,)),
        pair["tab"]["@variables"]["tab_data"],
        types,
        cutoff=float(pair["rcut"]),
        sel=(int(np.sum(pair["sel"])),),
        total=int(np.sum(pair["sel"])),
        bias=(parts.array(pair["@variables"]["out_bias"], "out_bias", (types, 1)) + bias)[:, 0],
        **dict(zip(("alpha", "inner", "outer"), (float(tree[key]) for key in PARAMETERS), strict=True)),
    )
    if table.total < max(sum(descriptor.sel) for descriptor in term.descriptors):
        raise parts.unsupported("a pair table with fewer neighbours (sel) than the descriptor")
    return replace(term, fitting=replace(term.fitting, bias=term.fitting.bias + bias), pair=table)


def pair_table(info: np.ndarray, table: object, types: int, *, cutoff: float, **fields) -> PairTable:
    """The intervals that begin before the cutoff, of a table with `info` = [start, step, intervals, types]."""
    start, step, intervals, _ = info.tolist()
    table = parts.array(table, "tab_data", (types, types, int(intervals), 4))
    used = min(int(intervals), max(1, int(np.ceil((cutoff - start) / step))))
    return PairTable(cutoff=cutoff, start=start, step=step, table=table[:, :, :used].copy(), **fields)
