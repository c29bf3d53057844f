"""members - one descriptor of a term inside the outer function: its slots, channels and features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..flat import architecture
from ..model import Descriptor, ThreeBody
from ..nets import is_piecewise_linear
from . import attention, channels, descriptors, environment
from .builder import F64, I64, Body, Value

if TYPE_CHECKING:
    from .term import Functions


@dataclass(frozen=True)
class Surroundings:
    """Of all local atoms."""

    types: Value  # [nall]
    local_types: Value  # [nloc]
    centre_type: Value  # [nloc], 0 where there is no atom
    vector: Value  # [nloc, slots, 3]
    distance: Value  # [nloc, slots]
    neighbour: Value  # [nloc, slots]
    slot_type: Value  # [nloc, slots]


def narrowed(b: Body, around: Surroundings, near: Value) -> Surroundings:
    """The first slots alone, as many as there are `near` bool [nloc, slots] of the atom that has most."""
    width = b.concat(near.cast(I64).sum(1), b.shape(1)).max()
    names = ("vector", "distance", "neighbour", "slot_type")
    return replace(around, **{name: getattr(around, name).part(0, width, axis=1) for name in names})


@dataclass(frozen=True)
class Part:
    """What a descriptor gives."""

    features: Value  # [nloc, features]
    rotation: Value | None  # [nloc, 3, M], for dipoles and polarisabilities
    inputs: tuple[Value, Value, Value] | None  # of its tables: x, table, distance, [nloc, k] each


@dataclass(frozen=True)
class Slots:
    """Of one descriptor."""

    centre_type: Value  # [nloc]
    type: Value  # [nloc, slots]
    kept: Value  # [nloc, slots]
    empty: Value  # [nloc, sections]
    vector: Value  # [nloc, slots, 3]
    distance: Value  # [nloc, slots]
    neighbour: Value  # [nloc, slots]
    env: Value  # float64 [nloc, slots, 4]
    weight: Value  # float64 [nloc, slots], of gated channels


class Sited:
    """Takes slots by parameters that are the outer function's inputs with `prefix`."""

    gate = 0  # where there is no parameter of that name

    def __init__(self, prefix: str, functions: Functions, *, all_near: bool):
        """all_near: whether no neighbour that is offered is beyond the cutoff."""
        self.prefix, self.functions, self.all_near = prefix, functions, all_near

    def own(self, b: Body, name: str, otherwise: Value | None = None) -> Value:
        """A parameter, without prefix."""
        return b[self.prefix + name] if otherwise is None else b.inputs.get(self.prefix + name, otherwise)

    def slots(self, b: Body, around: Surroundings) -> Slots:
        near = around if self.all_near else self._near(b, around)
        given = {"centre_type": around.centre_type, "switch": self.own(b, "switch")}
        types = self.own(b, "env_mean").size()
        kept, empty = b.call(
            self.functions.only(environment.slots),
            slot_type=near.slot_type, distance=near.distance, sel=self.own(b, "sel"), total=self.own(b, "total"),
            ignored=self.own(b, "ignored", b.full(0, I64, types, types)), **given,
        )  # fmt: skip
        env, weight = b.call(
            self.functions.only(environment.environment),
            vector=near.vector, kept=kept, env_mean=self.own(b, "env_mean"), env_std=self.own(b, "env_std"),
            gate=self.own(b, "gate", b.constant(np.array(self.gate))),
            gate_smooth=self.own(b, "gate_smooth", b.constant(np.array(0.0))), **given,
        )  # fmt: skip
        return Slots(
            around.centre_type, near.slot_type, kept, empty, near.vector, near.distance, near.neighbour, env, weight
        )

    def _near(self, b: Body, around: Surroundings) -> Surroundings:
        """The nearest neighbours alone, as many as may be within the cutoff."""
        within = around.distance < self.own(b, "switch").take(np.array(1))
        return narrowed(b, around, within & (around.slot_type >= 0))


class Member(Sited):
    """Evaluates `descriptor`, whose parameters are the outer function's inputs with `prefix`."""

    def __init__(
        self, descriptor: Descriptor, prefix: str, functions: Functions, real: np.dtype, *, tables: bool, reach: float
    ):
        """tables: from tables, or else from the embedding nets; reach: cutoff of the neighbours that it is offered."""
        super().__init__(prefix, functions, all_near=descriptor.cutoff == reach)
        self.descriptor, self.real, self.tables = descriptor, real, tables
        nets = descriptor.nets
        if tables:
            broken = any(map(is_piecewise_linear, nets))
            value = functions.get("TableValue", broken, lambda name: channels.table_value(name, real, broken))
            own, inner = {name: v for name, v in value.inputs.items() if name not in ("x", "net")}, F64
        else:
            key = tuple(map(channels.architecture, nets)), real
            value = functions.get("EmbeddingNet", key, lambda name: channels.embedding_net(name, nets, real))
            own, inner = {name: v for name, v in value.inputs.items() if name not in ("x", "net")}, real
        own = {name: (v.dtype, v.shape) for name, v in own.items()}
        self.channels = channels.Channels(descriptor, value, own, inner, real)

    def evaluate(self, b: Body, around: Surroundings, *, block: bool) -> Part:
        """block: as of atoms.Atoms."""
        slots = self.slots(b, around)
        if isinstance(self.descriptor, ThreeBody):
            return self._three_body(b, slots)
        return self._two_body(b, slots, self._contraction(block=block))

    def _lookup(self, b: Body, table: str, slots: Slots) -> Value:
        return b.call(
            self.functions.only(environment.lookup),
            table=self.own(b, table), first_type=slots.centre_type, slot_type=slots.type, kept=slots.kept,
        )  # fmt: skip

    def _call(self, b: Body, function: Body, **given: Value) -> Value:
        """A function of slots, with the parameters that it takes beside what is given."""
        weights = {name: self.own(b, name) for name in function.inputs if name not in given}
        return b.call(function, **given, **weights).cast(self.real)

    def _contraction(self, *, block: bool) -> Body:
        d, c, real = self.descriptor, self.channels, self.real
        if d.attention is None:
            return self.functions.get(
                "Contraction", (c.key, d.axis == 0), lambda name: descriptors.contraction(name, c, radial=d.axis == 0)
            )
        gated = d.gate != "none" and bool((d.gate_net >= 0).any())
        key, purpose = (c.key, architecture(d.attention), real, gated), "AttentiveContraction"
        made = self.functions.get(
            f"{purpose}OfBlock", key, lambda name: attention.contraction(name, c, d.attention, real, gated=gated)
        )
        if block:
            return made
        return self.functions.get(purpose, key, lambda name: attention.in_blocks(name, made, c, real))

    def _two_body(self, b: Body, slots: Slots, function: Body) -> Part:
        """function: the contraction."""
        d, c = self.descriptor, self.channels
        radial = d.axis == 0
        variant = counted = self._lookup(b, "net", slots)
        given = {"env": slots.env, "variant": variant}
        if "gate_variant" in function.inputs:
            given["gate_variant"] = self._lookup(b, "gate_net", slots)
            counted = b.op("Max", variant, given["gate_variant"])
        if "gate_weight" in function.inputs:
            given["gate_weight"] = slots.weight.cast(c.real)
        if d.attention:
            seen = variant >= 0
            given["env"] = b.where(seen.unsqueeze(2), slots.env, 0.0)
            given["seen"] = seen.cast(I64)
            given["absent"] = self.own(b, "sel").sum(0) - given["seen"].sum(1)
        given["env"] = given["env"].cast(c.real)
        found = self._call(b, function, **given)

        def constant(env: Value, variants: Value, counts: Value) -> Value:
            """What counts [nloc, k] of environments env [nt k, 4] add, each through its variant [nt, k], ungated."""
            shape, one = variants.size(0), variants.reshape(-1, 1)
            blank = {"gate_variant": b.full(-1, I64, one.size(), 1), "gate_weight": b.full(0, c.real, one.size(), 1)}
            blank |= {"seen": b.full(0, I64, one.size(), 1), "absent": b.full(0, I64, one.size())}
            blank = {name: value for name, value in blank.items() if name in function.inputs}
            each = self._call(b, function, env=env.cast(c.real).unsqueeze(1), variant=one, **blank)
            each = each.reshape(shape, variants.size(1), -1)
            added = b.call(
                self.functions.only(descriptors.padding, self.real),
                counts=counts, centre_type=slots.centre_type, each=each,
            )  # fmt: skip
            return added.reshape_as(found)

        x = found + constant(self.own(b, "pad_env").reshape(-1, 4), self.own(b, "pad_net"), slots.empty)
        if self.prefix + "mask_net" in b.inputs:
            masked = self.own(b, "mask_net")
            of_type = slots.type.unsqueeze(2).equals(b.count_up(masked.size())).cast(I64) * slots.kept.unsqueeze(2)
            x = x + constant(b.full(0, F64, masked.size() * masked.size(), 4), masked, of_type.sum(1))
        x = x / self.own(b, "count").cast(self.real)
        inputs = (slots.env.column(0), self._table(b, counted), slots.distance) if self.tables else None
        if radial:
            return Part(x, None, inputs)
        made = self.functions.only(descriptors.descriptor, self.real)
        return Part(b.call(made, x=x, axis=self.own(b, "axis")), x.part(1, 4, axis=1), inputs)

    def _table(self, b: Body, variant: Value) -> Value:
        """Number of the table behind a variant, -1 where there is none."""
        if not self.channels.scaled:
            return variant
        return b.where(variant >= 0, self.own(b, "base").take(b.op("Max", variant, 0)), -1)

    def _three_body(self, b: Body, slots: Slots) -> Part:
        c = self.channels
        function = self.functions.get("ThreeBody", c.key, lambda name: descriptors.three_body(name, c))
        kind = b.where(self._lookup(b, "masked", slots).equals(0), slots.type, -1)
        gates = {"gate_weight": slots.weight.cast(c.real)} if c.gated else {}
        found = self._call(b, function, env=slots.env.cast(c.real), kind=kind, **gates)
        if not self.tables:
            return Part(found, None, None)
        x, net, distance = b.call(
            self.functions.only(descriptors.pair_inputs),
            env=slots.env, kind=kind, distance=slots.distance,
            net=b.op("Max", *(self.own(b, name) for name in ("net", *["gate_net"] * c.gated))),
        )  # fmt: skip
        return Part(found, None, (x, self._table(b, net), distance))
