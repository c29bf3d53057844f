"""virtual - the atoms that stand for spins: SpinReach, VirtualAtoms and VirtualForces."""

from __future__ import annotations

from .builder import F64, I32, I64, Body, Value

REACH_DOC = """How far a neighbour list must reach for virtual atoms to be within the cutoff.
atype [n], spin [n, 3], spin_scale [nt], cutoff [] -> reach []."""

ATOMS_DOC = """Each atom's virtual one behind all atoms, at its position + spin · spin_scale, of type nt + its own; and to every
neighbour its virtual one, beginning with the centre's own. Indices may be of images, which share the shift.
coord [nall, 3], types int64 [nall], spin [nall, 3], spin_scale [nt], pair_first [nloc + 1], pair_index [p], pair_shift [p, 3]
-> all_coord [2 nall, 3], all_types [2 nall], moved [nall, 3], first [nloc + 1], index [2 p + nloc], shift [2 p + nloc, 3]."""

FORCES_DOC = """Forces and virials of atoms and virtual ones, which are where their atoms are as far as virials go.
all_force [2 nall, 3], all_virial [2 nall, 3, 3], moved [nall, 3], types [nall], spin_scale [nt]
-> force [nall, 3], virial [3, 3], atom_virial [nall, 3, 3], force_mag [nall, 3]."""


def spin_reach() -> Body:
    b = Body(
        "SpinReach",
        REACH_DOC,
        {"atype": (I32, "n"), "spin": (F64, "n 3"), "spin_scale": (F64, "nt"), "cutoff": (F64, "")},
    )
    moved = (b["spin"] * _scale(b, b["atype"].cast(I64))).norm(1)
    (b["cutoff"] + b.concat(moved, b.full(0, F64, 1)).max().squeeze(0)).named("reach")
    return b.returns("reach")


def _scale(b: Body, types: Value) -> Value:
    """[n, 1]"""
    return b["spin_scale"].take(b.op("Max", types, 0)).unsqueeze(1)


def virtual_atoms() -> Body:
    inputs = {"coord": (F64, "nall 3"), "types": (I64, "nall"), "spin": (F64, "nall 3"), "spin_scale": (F64, "nt")}
    inputs |= {"pair_first": (I64, "nloc+1"), "pair_index": (I32, "pairs"), "pair_shift": (I32, "pairs 3")}
    b = Body("VirtualAtoms", ATOMS_DOC, inputs)
    types, before = b["types"], b["pair_first"]
    moved = (b["spin"] * _scale(b, types)).named("moved")
    b.concat(b["coord"], b["coord"] + moved).named("all_coord")
    b.concat(types, b.where(types >= 0, types + b["spin_scale"].size(), -1)).named("all_types")

    atoms, local, pairs = types.size(), before.size() - 1, b["pair_index"].size()
    (before * 2 + b.count_up(before.size())).named("first")
    begin = b.tally(before.part(1, -1), pairs + 1)  # marks where the next centre's pairs begin
    centre = begin.cumsum(0).part(0, pairs)
    place = b.count_up(pairs) * 2 + centre + 1
    total = pairs * 2 + local
    neighbour = b["pair_index"].cast(I64)
    own = b.count_up(local)
    index = b.scatter(b.full(0, I64, total), before.part(0, local) * 2 + own, own + atoms)
    index = b.scatter(index, place, neighbour)
    b.scatter(index, place + 1, neighbour + atoms).cast(I32).named("index")
    shift = b.full(0, I32, total, 3)
    for row in (place, place + 1):
        shift = b.scatter(shift, row.unsqueeze(1).expand_as(b["pair_shift"]), b["pair_shift"])
    b.op("Identity", shift).named("shift")
    return b.returns("all_coord", "all_types", "moved", "first", "index", "shift")


def virtual_forces() -> Body:
    inputs = {"all_force": (F64, "all 3"), "all_virial": (F64, "all 3 3"), "moved": (F64, "nall 3")}
    b = Body("VirtualForces", FORCES_DOC, inputs | {"types": (I64, "nall"), "spin_scale": (F64, "nt")})
    atoms, everything = b["moved"].size(), b["all_force"].size()
    real, on_spin = b["all_force"].part(0, atoms), b["all_force"].part(atoms, everything)
    (real + on_spin).named("force")
    (on_spin * _scale(b, b["types"])).named("force_mag")
    there = on_spin.unsqueeze(2) * b["moved"].unsqueeze(1)
    both = b["all_virial"].part(0, atoms) + b["all_virial"].part(atoms, everything)
    (both - there).named("atom_virial").sum(0).named("virial")
    return b.returns("force", "virial", "atom_virial", "force_mag")
