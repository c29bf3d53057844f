"""forces - body of ForceVirial: the gradient by pair vectors onto atoms and cell."""

from __future__ import annotations

from .builder import F64, I64, Body

DOC = """Forces and virial from an energy's gradient by the vectors to neighbours.
vector_grad [nloc, slots, 3], vector [nloc, slots, 3], neighbour [nloc, slots], types [nall] ->
force [nall, 3], virial [3, 3], atom_virial [nall, 3, 3] (a pair's term is the neighbour's)."""


def force_virial() -> Body:
    inputs = {"vector_grad": (F64, "nloc slots 3"), "vector": (F64, "nloc slots 3"), "neighbour": (I64, "nloc slots")}
    b = Body("ForceVirial", DOC, inputs | {"types": (I64, "nall")})
    pair_force, vector = b["vector_grad"], b["vector"]
    local, atoms = vector.size(0), b["types"].size()
    products = pair_force.unsqueeze(3) * vector.unsqueeze(2)
    terms = b.concat(pair_force, products.reshape(0, 0, 9), axis=2).reshape(-1, 12)
    index = b["neighbour"].reshape(-1, 1).expand_as(terms)
    on_neighbours = -b.tally(index, atoms, 12, weight=terms)
    ghosts = b.shape(0, 0, atoms - local, 0)
    on_centres = b.op("Pad", pair_force.sum(1), ghosts)
    (on_neighbours.part(0, 3, axis=1) + on_centres).named("force")
    atom_virial = on_neighbours.part(3, 12, axis=1).reshape(-1, 3, 3).named("atom_virial")
    atom_virial.sum(0).named("virial")
    return b.returns("force", "virial", "atom_virial")
