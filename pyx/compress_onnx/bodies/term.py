"""term - bodies of EnergyForce and AtomicTensor: all parts of one term of a model, forward, then back to the atoms."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from ..model import Term
from . import environment, fitting, ranges
from .builder import F64, I32, I64, Body, Kinds, Value
from .forces import force_virial
from .gradient import pullback
from .layers import architecture, parameter_names
from .members import Member, Surroundings
from .mixture import pair_mixture
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
        self.real = members[0].real
        kind = "a compressed" if members[0].tables else "an uncompressed"
        what = "Energy, forces and virial" if term.fitting.kind == "ener" else f"The {term.fitting.kind}"
        self.b = Body(name, DOC.format(what, kind), INPUTS | parameters)

    def made(self) -> Body:
        b, fitted = self.b, self.term.fitting
        around = self._surroundings()
        parts = [member.evaluate(b, around) for member in self.members]
        features, rotations = b.concat(*(part.features for part in parts), axis=1), [part.rotation for part in parts]
        if self.rounds is not None:
            last = self.rounds.evaluate(b, around, features, rotation=fitted.kind in DIRECTED)
            features, rotations = last.features, [last.rotation]
        output = self._fit(around, features)
        if fitted.kind == "ener":
            self._energy(around, output)
        else:
            self._tensor(around, self._composed(output, rotations))
        self._ranges(parts)
        results = ENERGY if fitted.kind == "ener" else TENSOR
        return b.returns(*results, *RANGE, attributes=["layout"])

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

    def _fit(self, around: Surroundings, features: Value) -> Value:
        """The nets' outputs, zeros where there is no net; one net after the other, on its types' atoms.

        Each net gets one atom more, all zeros: runtimes differ in how they fail on tensors without rows.
        """
        b, fitted, local = self.b, self.term.fitting, features.size()
        x = self._with_constants(around, features)
        x = b.concat(x, b.full(0, self.real, len(fitted.nets), x.size(1)))
        net = b["fit_net"].take(around.centre_type)
        net = b.where(around.local_types >= 0, net, -1)
        output = b.full(0, self.real, x.size(), fitted.nets[0].width)
        for number, one in enumerate(fitted.nets):
            make = self.functions.get(
                "FittingNet",
                (architecture(one), self.real),
                lambda name, one=one: fitting.fitting_net(name, one, self.real),
            )
            weights = {name: b[f"fit.{number}.{name}"] for name in parameter_names("", one.layers)}
            place = b.concat(b.op("NonZero", net.equals(number)).squeeze(0), local + number)
            output = output.put_rows(place, b.call(make, x=x.rows(place), **weights))
        return output.part(0, local).named("output")

    def _with_constants(self, around: Surroundings, features: Value) -> Value:
        """Features and what else the nets take: constants of the type, frame and atom parameters."""
        b, parts, local = self.b, [features], features.size()
        if "fit_constant" in b.inputs:
            parts.append(b["fit_constant"].take(around.centre_type))
        for name in ("fparam", "aparam"):
            if f"{name}_norm" in b.inputs:
                mean, inverse = (b[f"{name}_norm"].take(np.array(k)) for k in (0, 1))
                parts.append(((b[name] - mean) * inverse).expand(local, mean.size()))
        return b.concat(*(part.cast(self.real) for part in parts), axis=1)

    def _of_atoms(self, around: Surroundings, values: Value, bias: Value | None) -> Value:
        """values [nloc, k] with the bias of the type, zeros where there is no atom."""
        if bias is not None:
            values = values + bias.take(around.centre_type)
        return self.b.where((around.local_types >= 0).unsqueeze(1), values, 0.0)

    def _energy(self, around: Surroundings, output: Value) -> None:
        b = self.b
        values, bias = output.cast(F64), b["bias"]
        if self.term.pair is not None:
            values, bias = self._mixed(around, values + bias.take(around.centre_type)), None
        atom_energy = self._of_atoms(around, values, bias).squeeze(1).named("atom_energy")
        atom_energy.sum(0).reshape(1).named("energy")
        one = b.full(1, F64, atom_energy.size())
        force, virial, atom_virial = self._forces(around, atom_energy, one)
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

    def _mixed(self, around: Surroundings, fitted: Value) -> Value:
        """What is fitted, and the pair potential where atoms are near."""
        b = self.b
        types = b["pair_bias"].size()
        nothing = b.full(0, I64, types, types)
        kept, _ = b.call(
            self.functions.only(environment.slots),
            slot_type=around.slot_type, distance=around.distance, centre_type=around.centre_type,
            switch=b["pair_range"], sel=b["pair_sel"], total=b["pair_total"],
            ignored=b.inputs.get("pair_ignored", nothing),
        )  # fmt: skip
        names = ("pair_range", "pair_mix", "pair_table", "pair_bias")
        return b.call(
            self.functions.only(pair_mixture),
            vector=around.vector, kept=kept, slot_type=around.slot_type, centre_type=around.centre_type, fitted=fitted,
            **{name: b[name] for name in names},
        )  # fmt: skip

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
        tensor = self._of_atoms(around, values.cast(F64), bias).named("atom_tensor")
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
            results.append([value.unsqueeze(0) for value in self._forces(around, tensor, seed)])
        for name, parts in zip(("force", "virial", "atom_virial"), zip(*results, strict=True), strict=True):
            b.concat(*parts).named(name)

    def _forces(self, around: Surroundings, result: Value, seed: Value) -> tuple[Value, ...]:
        """Force, virial and atom_virial of the sum of result times seed."""
        (vector_grad,) = pullback(self.b, {result.name: seed}, [around.vector])
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
