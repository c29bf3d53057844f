"""atoms - from the surroundings of atoms to what the fitting nets make of them, and to their energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..model import Term
from . import environment, fitting
from .blocks import repeated
from .builder import F64, I64, Body, Kinds, Value
from .gradient import with_gradient
from .layers import architecture, parameter_names
from .members import Member, Part, Surroundings, narrowed
from .mixture import pair_mixture
from .repformer import Rounds

if TYPE_CHECKING:
    from .term import Functions

BLOCK_DOC = """Energies of some atoms, each of its own surroundings alone (members.Surroundings) -> atom_energy [n]."""

ROWS: Kinds = {"vector": (F64, "n slots 3"), "distance": (F64, "n slots"), "neighbour": (I64, "n slots")}
ROWS |= {"slot_type": (I64, "n slots"), "local_types": (I64, "n"), "centre_type": (I64, "n"), "aparam": (F64, "n na")}


class Atoms:
    """Evaluates a term for atoms in a function that has its parameters, fparam and aparam as inputs."""

    def __init__(
        self,
        b: Body,
        term: Term,
        members: Sequence[Member],
        rounds: Rounds | None,
        functions: Functions,
        *,
        block: bool = False,
    ):
        """block: whether the atoms are so few that pairs of all their slots may be looked at together."""
        self.b, self.term, self.members, self.rounds, self.functions = b, term, members, rounds, functions
        self.block, self.real = block, members[0].real

    def evaluate(self, around: Surroundings, *, rotation: bool) -> tuple[list[Part], Value, list[Value | None]]:
        """What descriptors give; the nets' outputs [n, k]; rotations, if they are asked for."""
        b = self.b
        parts = [member.evaluate(b, around, block=self.block) for member in self.members]
        features, rotations = b.concat(*(part.features for part in parts), axis=1), [part.rotation for part in parts]
        if self.rounds is not None:
            last = self.rounds.evaluate(b, around, features, rotation=rotation)
            features, rotations = last.features, [last.rotation]
        return parts, self._fit(around, features), rotations

    def energies(self, around: Surroundings, output: Value) -> Value:
        """[n], bias and pair potential included."""
        b = self.b
        values, bias = output.cast(F64), b["bias"]
        if self.term.pair is not None:
            values, bias = self._mixed(around, values + bias.take(around.centre_type)), None
        return self.of_atoms(around, values, bias).squeeze(1)

    def of_atoms(self, around: Surroundings, values: Value, bias: Value | None) -> Value:
        """values [nloc, k] with the bias of the type, zeros where there is no atom."""
        if bias is not None:
            values = values + bias.take(around.centre_type)
        return self.b.where((around.local_types >= 0).unsqueeze(1), values, 0.0)

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
        return output.part(0, local)

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


def energies_in_blocks(
    b: Body, around: Surroundings, term: Term, members: Sequence[Member], functions: Functions, parameters: Kinds
) -> tuple[Value, Value]:
    """atom_energy [n], and the gradient of its sum by around.vector, of a term without messages between atoms.

    Some atoms at a time, from their surroundings to their energies and back, because each has as many numbers as pairs of slots;
    and so that the way back need not begin by going forward again.
    """

    def make(name: str) -> Body:
        return _energies_of_block(name, term, members, functions, parameters)

    key = make("").proto().SerializeToString()  # whatever makes two functions different
    block = functions.get("AtomEnergiesOfBlock", key, make)
    both = functions.get("AtomEnergies", key, lambda name: repeated(
        name, with_gradient(block), [*ROWS, "grad_atom_energy"], lambda b: b.full(0, F64, 0)))  # fmt: skip
    own = {"grad_atom_energy": b.full(1, F64, around.local_types.size())}
    own |= {name: getattr(around, name) for name in ROWS if name != "aparam"}
    energy, vector_grad = b.call(both, **{name: own[name] if name in own else b[name] for name in both.inputs})
    return energy, vector_grad


def _energies_of_block(
    name: str, term: Term, members: Sequence[Member], functions: Functions, parameters: Kinds
) -> Body:
    b = Body(name, BLOCK_DOC, ROWS | {"fparam": (F64, "nf")} | parameters, ["vector"])
    given = {name: b[name] for name in ROWS if name != "aparam"}
    around = Surroundings(types=b["local_types"], **given)
    around = narrowed(b, around, around.slot_type >= 0)
    atoms = Atoms(b, term, members, None, functions, block=True)
    _, output, _ = atoms.evaluate(around, rotation=False)
    atoms.energies(around, output).named("atom_energy")
    return b.returns("atom_energy")
