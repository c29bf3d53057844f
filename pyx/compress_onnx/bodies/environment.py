"""environment - from pairs to the environments of slots: Neighbourhood, Slots, Environment, and Lookup of pairs of types."""

from __future__ import annotations

import numpy as np

from .builder import F64, I32, I64, Body, Value

NEIGHBOURHOOD_DOC = """The neighbours of every local atom, nearest first, in a table as wide as the longest list.
coord [nall, 3], types int64 [nall] (negative: no atom), cell [3, 3], the pair list, cutoff [] ->
vector [nloc, slots, 3] and distance [nloc, slots] in angstrom, neighbour [nloc, slots], slot_type [nloc, slots];
a place without a neighbour has type -1, neighbour 0 and the vector (1, 0, 0)."""

SLOTS_DOC = """Which neighbours, nearest first, a descriptor takes: by cutoff, by room in its sections, and then not `ignored`.
slot_type [nloc, slots] (-1: none), distance [nloc, slots], centre_type [nloc], switch, sel, total, ignored [nt, nt]
-> kept int64 [nloc, slots], 1 or 0; empty [nloc, sections], slots that no neighbour took."""

ENVIRONMENT_DOC = """The normalised environment of neighbours, and the weight of gated channels.
vector [nloc, slots, 3], kept [nloc, slots], centre_type [nloc], switch, env_mean, env_std, gate [],
gate_smooth [] ->
env [nloc, slots, 4] and gate_weight [nloc, slots], zeros where not kept."""

LOOKUP_DOC = """Entries of a table for pairs of types: table int64 [nt, nt], first_type [nloc], slot_type [nloc, slots], kept ->
entry [nloc, slots], -1 where not kept."""


def neighbourhood() -> Body:
    inputs = {"coord": (F64, "nall 3"), "types": (I64, "nall"), "cell": (F64, "3 3"), "pair_first": (I64, "nloc+1")}
    inputs |= {"pair_index": (I32, "pairs"), "pair_shift": (I32, "pairs 3"), "cutoff": (F64, "")}
    b = Body("Neighbourhood", NEIGHBOURHOOD_DOC, inputs)
    centre, neighbour, vector, distance = _pairs_inside(b)
    pairs = centre.size()
    local = b["pair_first"].size() - 1
    counts = b.tally(centre, local)
    width = b.concat(counts, b.shape(1)).max().named("slots")
    place = b.count_up(pairs) - counts.cumsum(0, exclusive=True).take(centre)
    place = centre * width + place
    rows = local + 1  # one too many, because onnxruntime 1.18 dies of TopK without rows
    number = b.scatter(pairs.expand(rows * width), place, b.count_up(pairs)).reshape(rows, width)
    spread = b.scatter(b.full(np.inf, F64, rows * width), place, distance).reshape(rows, width)
    _, nearest = b.sort(spread, width, axis=1)
    number = number.entries(b.count_up(rows).unsqueeze(1), nearest).part(0, local)

    # pair number `pairs` stands for "none"
    b.concat(neighbour, b.shape(0)).take(number).named("neighbour")
    b.concat(vector, b.constant(np.array([[1.0, 0, 0]]))).take(number).named("vector")
    b.concat(distance, b.full(1, F64, 1)).take(number).named("distance")
    b.concat(b["types"].take(neighbour), b.shape(-1)).take(number).named("slot_type")
    return b.returns("vector", "distance", "neighbour", "slot_type")


def _pairs_inside(b: Body) -> tuple[Value, Value, Value, Value]:
    """Centre, neighbour, vector and distance of the pairs within the cutoff whose atoms both have a type."""
    pairs = b["pair_index"].size()
    begin = b.tally(b["pair_first"].part(1, -1), pairs + 1)  # marks where the next centre's pairs begin
    centre = begin.cumsum(0).part(0, pairs)
    neighbour = b["pair_index"].cast(I64)
    coord, types = b["coord"], b["types"]
    # Without products of matrices and sums over axes, whose rounding depends on the row: a virtual atom may be where its
    # atom is, and then which of them takes the last slot must not be left to chance.
    shift = b["pair_shift"].cast(F64)
    along = [shift.part(k, k + 1, axis=1) * b["cell"].part(k, k + 1) for k in range(3)]
    vector = coord.take(neighbour) + (along[0] + along[1] + along[2]) - coord.take(centre)
    squared = [vector.column(k) * vector.column(k) for k in range(3)]
    distance = b.op("Sqrt", squared[0] + squared[1] + squared[2])
    inside = ~(distance >= b["cutoff"])  # so that NaN stays, and shows in the results
    typed = (types.take(centre) >= 0) & (types.take(neighbour) >= 0)
    chosen = b.op("NonZero", inside & typed).squeeze(0)
    return centre.take(chosen), neighbour.take(chosen), vector.take(chosen), distance.take(chosen)


def slots() -> Body:
    inputs = {"slot_type": (I64, "nloc slots"), "distance": (F64, "nloc slots"), "centre_type": (I64, "nloc")}
    inputs |= {"switch": (F64, "4"), "sel": (I64, "sections"), "total": (I64, ""), "ignored": (I64, "nt nt")}
    b = Body("Slots", SLOTS_DOC, inputs)
    slot_type, sel = b["slot_type"], b["sel"]
    ignored = b["ignored"].entries(b["centre_type"].unsqueeze(1), b.op("Max", slot_type, 0))
    within = ~(b["distance"] >= b["switch"].take(np.array(1)))
    candidate = (within & (slot_type >= 0)).cast(I64).named("candidate")
    section = b.op("Min", slot_type, sel.size() - 1)  # 0 where all types share one
    one_hot = section.unsqueeze(2).equals(b.count_up(sel.size())).cast(I64) * candidate.unsqueeze(2)
    before = one_hot.cumsum(1, exclusive=True)
    room = ((before < sel).cast(I64) * one_hot).sum(2)
    first = (candidate.cumsum(1, exclusive=True) < b["total"]) | b["total"].equals(0)
    kept = (room * (first & ignored.equals(0)).cast(I64)).named("kept")
    (sel - (one_hot * kept.unsqueeze(2)).sum(1)).named("empty")
    return b.returns("kept", "empty")


def environment() -> Body:
    inputs = {"vector": (F64, "nloc slots 3"), "kept": (I64, "nloc slots"), "centre_type": (I64, "nloc")}
    inputs |= {"switch": (F64, "4"), "env_mean": (F64, "nt 4"), "env_std": (F64, "nt 4"), "gate": (I64, "")}
    inputs["gate_smooth"] = F64, ""
    b = Body("Environment", ENVIRONMENT_DOC, inputs, ["vector"])
    kept = (b["kept"] > 0).unsqueeze(2)
    vector = b.where(kept, b["vector"], b.constant(np.array([[[1.0, 0, 0]]])))
    smooth, _, width, protection = (b["switch"].take(np.array(k)) for k in range(4))
    squared = (vector * vector).sum(2).unsqueeze(2)
    apart = squared > 0.0  # a virtual atom may be where its atom is
    r = b.where(apart, b.op("Sqrt", b.where(apart, squared, 1.0)), 0.0)
    u = b.op("Max", (r - smooth) / width, 0.0).named("u")
    switched = (u * u * u * ((u * -6.0 + 15.0) * u - 10.0) + 1.0).named("switched")
    q = r + protection
    first = switched / q
    raw = b.concat(first, first / q * vector, axis=2)
    mean, std = (b[name].take(b["centre_type"]).unsqueeze(1) for name in ("env_mean", "env_std"))
    b.where(kept, (raw - mean) / std, 0.0).named("env")
    rest = 1.0 - b["gate_smooth"] * first
    surrogate = b.op("Min", b.op("Max", 1.0 - rest * rest * rest, 0.0), 1.0)
    weight = b.where(b["gate"].equals(2), surrogate, switched)
    b.where(kept, weight, 0.0).squeeze(2).named("gate_weight")
    return b.returns("env", "gate_weight")


def lookup() -> Body:
    inputs = {"table": (I64, "nt nt"), "first_type": (I64, "nloc"), "slot_type": (I64, "nloc slots")}
    b = Body("Lookup", LOOKUP_DOC, inputs | {"kept": (I64, "nloc slots")})
    entry = b["table"].entries(b["first_type"].unsqueeze(1), b.op("Max", b["slot_type"], 0))
    b.where(b["kept"] > 0, entry, -1).named("entry")
    return b.returns("entry")
