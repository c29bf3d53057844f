"""term - bodies of EnergyForce and AtomicTensor: all parts of one term of a model, forward, then back to the atoms."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from ..model import Term
from . import environment, fitting, ranges
from .atoms import Atoms, energies_in_blocks
from .builder import F64, I32, I64, Body, Kinds, Value
from .forces import force_virial
from .gradient import pullback
from .members import Member, Surroundings
from .repformer import Rounds
from .virtual import virtual_atoms, virtual_forces

DOC = "{} of a term of {} model. Inputs, parameters and outputs: docs/format.md."

INPUTS: Kinds = {"coord": (F64, "nall 3"), "atype": (I32, "nall"), "cell": (F64, "3 3"), "pair_first": (I64, "nloc+1")}
INPUTS |= {"pair_index": (I32, "pairs"), "pair_shift": (I32, "pairs 3")}
INPUTS |= {"fparam": (F64, "nf"), "aparam": (F64, "nloc na"), "spin": (F64, "nspin 3")}
ENERGY = ("energy", "force", "virial", "atom_energy", "atom_virial", "force_mag")
TENSOR = ("tensor", "atom_tensor", "force", "virial", "atom_virial")
DIRECTED = ("dipole", "polar")  # whose atoms' results turn with the atoms
RANGE = {"range": I64, "range_worst": F64}


class Functions:
    """The inner functions of a model: one of each kind, numbered where several have one purpose."""

    def __init__(self):
        self._made: dict[tuple[str, Hashable], Body] = {}

    def get(self, purpose: str, key: Hashable, make: Callable[[str], Body]) -> Body:
        """make(name), once for each key."""
        if (purpose, key) not in self._made:
            number = 1 + sum(other == purpose for other, _ in self._made)
            self._made[purpose, key] = make(purpose if number == 1 else f"{purpose}{number}")
        return self._made[purpose, key]

    def only(self, make: Callable[..., Body], *arguments) -> Body:
        """A function of which there is one for each tuple of arguments."""
        return self.get(make.__name__, arguments, lambda name: make(*arguments))


def term_body(
    name: str, term: Term, members: Sequence[Member], rounds: Rounds | None, functions: Functions, parameters: Kinds
) -> Body:
    """The outer function `name`; `parameters` are the kinds of its inputs after the first nine."""
    return _TermBody(name, term, members, rounds, functions, parameters).made()


class _TermBody:
    def __init__(self, name, term, members, rounds, functions, parameters):
        self.term, self.members, self.rounds, self.functions = term, members, rounds, functions
        self.parameters, self.real = parameters, members[0].real
        kind = "a compressed" if members[0].tables else "an uncompressed"
        what = "Energy, forces and virial" if term.fitting.kind == "ener" else f"The {term.fitting.kind}"
        self.b = Body(name, DOC.format(what, kind), INPUTS | parameters)
        self.atoms = Atoms(self.b, term, members, rounds, functions)

    def made(self) -> Body:
        b, fitted = self.b, self.term.fitting
        around = self._surroundings()
        parts, output, rotations = self.atoms.evaluate(around, rotation=fitted.kind in DIRECTED)
        if fitted.kind == "ener":
            self._energy(around, output.named("output"))
        else:
            self._tensor(around, self._composed(output.named("output"), rotations))
        self._ranges(parts)
        results = ENERGY if fitted.kind == "ener" else TENSOR
        return b.returns(*results, *RANGE, attributes=["layout"]).tidied()

    def _surroundings(self) -> Surroundings:
        b = self.b
        types = b["atype"].cast(I64).named("types")
        local_types = types.part(0, b["pair_first"].size() - 1)
        reaches = [f"{member.prefix}switch" for member in self.members] + ["pair_range"] * (self.term.pair is not None)
        cutoff = b.op("Max", *(b[name].take(np.array(1)) for name in reaches))
        given = {name: b[name] for name in ("coord", "pair_first", "pair_index", "pair_shift")}
        seen = types
        if "aparam_mask" in b.inputs:
            seen = b.where(b["aparam"].column(0).equals(0.0), -1, types)
        if "spin_scale" in b.inputs:
            atoms = {name: b[name] for name in ("spin", "spin_scale")}
            coord, types, self.moved, *pairs = b.call(self.functions.only(virtual_atoms), types=types, **atoms, **given)
            given, seen = {"coord": coord, **dict(zip(list(given)[1:], pairs, strict=True))}, types
        found = b.call(
            self.functions.only(environment.neighbourhood), types=seen, cell=b["cell"], cutoff=cutoff, **given
        )
        return Surroundings(types, local_types, b.op("Max", local_types, 0).named("centre_type"), *found)

    def _energy(self, around: Surroundings, output: Value) -> None:
        b = self.b
        if self.term.attentive and self.rounds is None:
            given = self.term, self.members, self.functions, self.parameters
            atom_energy, vector_grad = energies_in_blocks(b, around, *given)
        else:
            atom_energy = self.atoms.energies(around, output)
            (vector_grad,) = pullback(b, {atom_energy.name: b.full(1, F64, atom_energy.size())}, [around.vector])
        b.op("Identity", atom_energy).named("atom_energy").sum(0).reshape(1).named("energy")
        force, virial, atom_virial = self._forces(around, vector_grad)
        magnetic = b.full(0, F64, b["spin"].size(), 3)
        if "spin_scale" in b.inputs:
            force, virial, atom_virial, magnetic = b.call(
                self.functions.only(virtual_forces), all_force=force, all_virial=atom_virial, moved=self.moved,
                types=around.types.part(0, self.moved.size()), spin_scale=b["spin_scale"],
            )  # fmt: skip
        if "aparam_mask" in b.inputs:  # whose models have no cell
            virial, atom_virial = b.zeros_as(virial), b.zeros_as(atom_virial)
        for name, value in zip(ENERGY[1:3] + ENERGY[4:], (force, virial, atom_virial, magnetic), strict=True):
            b.op("Identity", value).named(name)

    def _composed(self, output: Value, rotations: Sequence[Value | None]) -> Value:
        """The tensor [nloc, k] that the nets' outputs and the descriptors' directions make."""
        b, kind = self.b, self.term.fitting.kind
        if kind not in DIRECTED:
            return output
        rotation = b.concat(*rotations, axis=2)
        if kind == "dipole":
            made = self.functions.get("Dipole", self.real, lambda name: fitting.dipole(name, self.real))
        else:
            diagonal = self.term.fitting.nets[0].width == self.term.channels
            made = self.functions.get(
                "Polar", (self.real, diagonal), lambda name: fitting.polar(name, self.real, diagonal=diagonal)
            )
        return b.call(made, output=output, rotation=rotation)

    def _tensor(self, around: Surroundings, values: Value) -> None:
        b, kind = self.b, self.term.fitting.kind
        bias = {"dipole": None}.get(kind, b["bias"])
        if kind == "polar":
            bias = b["bias"].part(0, 1, axis=1) * np.eye(3).reshape(1, 9)
        tensor = self.atoms.of_atoms(around, values.cast(F64), bias).named("atom_tensor")
        total = tensor.sum(0)
        if "intensive" in b.inputs:
            atoms = b.op("Max", (around.local_types >= 0).cast(F64).sum(0), 1.0)
            total = b.where(b["intensive"].equals(1), total / atoms, total)
        total.named("tensor")
        atoms = around.types.size()
        if kind not in DIRECTED:
            b.full(0, F64, 0, atoms, 3).named("force")
            b.full(0, F64, 0, 3, 3).named("virial")
            b.full(0, F64, 0, atoms, 3, 3).named("atom_virial")
            return
        results = []
        for row in np.eye(self.term.fitting.outputs):
            seed = b.constant(row[None]).expand_as(tensor)
            (vector_grad,) = pullback(b, {tensor.name: seed}, [around.vector])
            results.append([value.unsqueeze(0) for value in self._forces(around, vector_grad)])
        for name, parts in zip(("force", "virial", "atom_virial"), zip(*results, strict=True), strict=True):
            b.concat(*parts).named(name)

    def _forces(self, around: Surroundings, vector_grad: Value) -> tuple[Value, ...]:
        """Force, virial and atom_virial."""
        return self.b.call(
            self.functions.only(force_virial),
            vector_grad=vector_grad, vector=around.vector, neighbour=around.neighbour, types=around.types,
        )  # fmt: skip

    def _ranges(self, parts) -> None:
        b = self.b
        if not self.members[0].tables:
            b.full(0, I64, 0, 4).named("range")
            b.full(0, F64, 0, 3).named("range_worst")
            return
        function = self.functions.only(ranges.table_range)
        found = [
            b.call(function, x=x, net=net, distance=r, grid=b[f"{m.prefix}grid"], rows=b[f"{m.prefix}rows"])
            for m, (x, net, r) in ((member, part.inputs) for member, part in zip(self.members, parts, strict=True))
        ]
        for name, values in zip(RANGE, zip(*found, strict=True), strict=True):
            b.op("Identity", b.concat(*values)).named(name)
