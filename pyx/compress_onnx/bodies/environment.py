"""environment - body of EnvironmentMatrix: pairs to slots, nearest first where `sel` is short, and their environment."""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto

from .builder import F64, I32, I64, Body, Value

DOC = """The normalised environment of every local atom, in a table of slots as wide as the longest neighbour list.
coord [nall, 3], types int64 [nall], cell [3, 3], the pair list, and parameters as in docs/format.md ->
env [nloc, slots, 4], zero where slot_net is -1;
slot_net [nloc, slots], the table of the pair, or -1: no pair, or one that contributes nothing;
neighbour [nloc, slots], index of the neighbour; distance [nloc, slots] and vector [nloc, slots, 3] in angstrom;
radial [nloc, slots, 3]: d(env_0)/d(vector) = radial_0 vector,
  d(env_b)/d(vector_a) = radial_1 delta_ab + radial_2 vector_a vector_b, both before the division by env_std;
empty [nloc, nt], slots of each type that no neighbour took."""

INPUTS = {"coord": F64, "types": I64, "cell": F64, "pair_first": I64, "pair_index": I32, "pair_shift": I32}
INPUTS |= {"switch": F64, "sel": I64, "total_first": I64, "env_mean": F64, "env_std": F64, "net": I64}
OUTPUTS = {"env": F64, "slot_net": I64, "neighbour": I64, "distance": F64, "vector": F64, "radial": F64, "empty": I64}


def environment_matrix() -> FunctionProto:
    b = Body("EnvironmentMatrix", DOC, INPUTS)
    centre, neighbour, vector, distance = _pairs_inside(b)
    pair, slot_type, kept = _slots(b, centre, b["types"].take(neighbour), distance)

    local_types = b["types"].part(0, b["pair_first"].size() - 1)
    centre_type = b.op("Max", local_types, 0)
    no_table = b.full(-1, I64, b["sel"].size(), 1)  # for empty slots, whose type is nt
    tables = b.concat(b["net"], no_table, axis=1).take(centre_type)
    used_net = b.where(kept, tables.take_each(slot_type, axis=1), -1).named("slot_net")
    used = used_net >= 0

    # pair number `pairs` stands for "none": at distance 1, in no direction
    b.concat(neighbour, b.shape(0)).take(pair).named("neighbour")
    vector = b.concat(vector, b.full(0, F64, 1, 3)).take(pair).named("vector")
    distance = b.concat(distance, b.full(1, F64, 1)).take(pair).named("distance")
    mean, std = (b[name].take(centre_type).unsqueeze(1) for name in ("env_mean", "env_std"))
    raw, radial = _environment(b, vector, distance)
    b.where(used.unsqueeze(2), (raw - mean) / std, 0.0).named("env")
    b.where(used.unsqueeze(2), radial, 0.0).named("radial")
    return b.function(*OUTPUTS)


def _pairs_inside(b: Body) -> tuple[Value, Value, Value, Value]:
    """Centre, neighbour, vector and distance of the pairs within the cutoff whose atoms both have a type."""
    pairs = b["pair_index"].size()
    begin = b.tally(b["pair_first"].part(1, -1), pairs + 1)  # marks where the next centre's pairs begin
    centre = begin.cumsum(0).part(0, pairs)
    neighbour = b["pair_index"].cast(I64)
    coord, types = b["coord"], b["types"]
    vector = coord.take(neighbour) + b["pair_shift"].cast(F64) @ b["cell"] - coord.take(centre)
    distance = vector.norm(1)
    inside = ~(distance >= b["switch"].take(np.array(1)))  # so that NaN stays, and shows in the results
    typed = (types.take(centre) >= 0) & (types.take(neighbour) >= 0)
    chosen = b.op("NonZero", inside & typed).squeeze(0)
    return centre.take(chosen), neighbour.take(chosen), vector.take(chosen), distance.take(chosen)


def _slots(b: Body, centre: Value, types: Value, distance: Value) -> tuple[Value, Value, Value]:
    """Pairs in a table [nloc, slots], by type, then distance: pair number, neighbour type, and whether `sel` has room."""
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
    number = number.take_each(nearest, axis=1)
    sel = b["sel"]
    kinds = sel.size()
    slot_type, rank = b.sort(b.concat(types, kinds).take(number), width, axis=1)
    number, slot_type, rank = (v.part(0, local) for v in (number.take_each(rank, axis=1), slot_type, rank))

    start = b.tally(slot_type, local, kinds + 1, axis=1).cumsum(1, exclusive=True)
    rank_of_type = b.count_up(width) - start.take_each(slot_type, axis=1)
    room_of_type = rank_of_type < b.concat(sel, b.shape(0)).take(slot_type)
    room = (rank < sel.sum(0)) | b["total_first"].equals(0)
    kept = room & room_of_type
    taken = b.tally(slot_type, local, kinds + 1, axis=1, weight=kept.cast(I64))
    (sel - taken.part(0, kinds, axis=1)).named("empty")
    return number, slot_type, kept


def _environment(b: Body, vector: Value, distance: Value) -> tuple[Value, Value]:
    """[sw/(r+p), sw d/(r+p)^2] before normalisation, and `radial`."""
    smooth, width, protection = (b["switch"].take(np.array(k)) for k in (0, 2, 3))
    r = distance.unsqueeze(2)
    u = b.op("Max", (r - smooth) / width, 0.0).named("u")
    rest = u - 1.0
    sw = (u * u * u * ((u * -6.0 + 15.0) * u - 10.0) + 1.0).named("switched")
    slope = (u * u * rest * rest * -30.0 / width).named("switch_slope")
    q = r + protection
    first, second = sw / q, sw / (q * q)
    first_slope = (slope - first) / (q * r)
    second_slope = (slope / q - second * 2.0) / (q * r)
    return b.concat(first, second * vector, axis=2), b.concat(first_slope, second, second_slope, axis=2)
