"""forces - body of ForceVirial: the gradient of the environment back onto atoms and cell."""

from __future__ import annotations

from onnx import FunctionProto

from .builder import F64, I64, Body

DOC = """Forces and virial from the gradient of the normalised environment.
env_grad [nloc, slots, 4], env_std [nt, 4], types [nall], and of EnvironmentMatrix neighbour [nloc, slots],
vector [nloc, slots, 3], radial [nloc, slots, 3] ->
force [nall, 3], virial [3, 3], atom_virial [nall, 3, 3] (a pair's term is the neighbour's)."""

INPUTS = {"env_grad": F64, "env_std": F64, "types": I64, "neighbour": I64, "vector": F64, "radial": F64}
OUTPUTS = {"force": F64, "virial": F64, "atom_virial": F64}


def force_virial() -> FunctionProto:
    b = Body("ForceVirial", DOC, INPUTS)
    types, vector, radial = b["types"], b["vector"], b["radial"]
    local, atoms = vector.size(0), types.size()
    centre_type = b.op("Max", types.part(0, local), 0)
    grad = b["env_grad"] / b["env_std"].take(centre_type).unsqueeze(1)
    first, rest = grad.part(0, 1, axis=2), grad.part(1, 4, axis=2)
    along, across, both = (radial.part(k, k + 1, axis=2) for k in range(3))
    projection = (rest * vector).sum(2).unsqueeze(2)
    pair_force = ((first * along + projection * both) * vector + across * rest).named("pair_force")  # dE/d(vector)

    products = pair_force.unsqueeze(3) * vector.unsqueeze(2)
    terms = b.concat(pair_force, products.reshape(0, 0, 9), axis=2).reshape(-1, 12)
    index = b["neighbour"].reshape(-1, 1)
    index = b.op("Expand", index, b.op("Shape", terms))
    on_neighbours = -b.tally(index, atoms, 12, weight=terms)
    ghosts = b.shape(0, 0, atoms - local, 0)
    on_centres = b.op("Pad", pair_force.sum(1), ghosts)
    (on_neighbours.part(0, 3, axis=1) + on_centres).named("force")
    atom_virial = on_neighbours.part(3, 12, axis=1).reshape(-1, 3, 3).named("atom_virial")
    atom_virial.sum(0).named("virial")
    return b.function(*OUTPUTS)
