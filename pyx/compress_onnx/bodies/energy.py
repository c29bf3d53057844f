"""energy - bodies of EnergyForce and EnergyForceNet: the parts in order, forward and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import FunctionProto

from ..model import Net
from . import contraction, embedding, environment, fitting, forces
from .builder import F64, I32, I64, Body, Value
from .layers import parameter_names

DOC = "Energy, forces and virial of {} se_e2_a model. Inputs, parameters and outputs: docs/format.md."

INPUTS = {"coord": F64, "atype": I32, "cell": F64, "pair_first": I64, "pair_index": I32, "pair_shift": I32}
INPUTS |= {"fparam": F64, "aparam": F64, "spin": F64}
OUTPUTS = {"energy": F64, "force": F64, "virial": F64, "atom_energy": F64, "atom_virial": F64, "force_mag": F64}
OUTPUTS |= {"range": I64, "range_worst": F64}
DESCRIPTOR = {"switch": F64, "sel": I64, "total_first": I64, "count": F64, "env_mean": F64, "env_std": F64}
DESCRIPTOR |= {"net": I64, "pad_net": I64, "axis": I64}


class Tables:
    """Channels from tables: a compressed model.

    Float32 tables are read in float64: a slope is a difference of nodal values over the stride, which would
    lose in float32 what libdpc's order of summation keeps.
    """

    env = F64  # what the channels take

    def __init__(self, real: np.dtype, folds: Sequence[str] = ()):
        """folds: names of the parameters of folds, which only our kernels read."""
        self.real = real
        self.parameters = {"grid": F64, "rows": I64, "table": real}
        self.parameters |= {name: I64 if name == "fold_rank" else real for name in folds}

    def functions(self) -> list[FunctionProto]:
        makers = (contraction.interpolation, contraction.contraction, contraction.contraction_grad)
        return [make(F64) for make in makers] + [contraction.table_range()]

    def _operands(self, b: Body, env: Value, net: Value) -> list[Value]:
        return [env, net, b["grid"], b["rows"], b["table"].cast(F64)]

    def contract(self, b: Body, env: Value, net: Value, name: str) -> tuple[Value, tuple]:
        """X of every centre, and what `gradient` needs of it."""
        return b.call("Contraction", *self._operands(b, env, net), outputs={name: F64})[0].cast(self.real), ()

    def gradient(self, b: Body, env: Value, net: Value, grad: Value) -> Value:
        operands = *self._operands(b, env, net), grad.cast(F64)
        return b.call("ContractionGrad", *operands, outputs={"env_grad": F64})[0]

    def range(self, b: Body, env: Value, net: Value, distance: Value) -> None:
        outputs = {name: OUTPUTS[name] for name in ("range", "range_worst")}
        b.call("TableRange", env, net, distance, b["grid"], b["rows"], outputs=outputs)


class Nets:
    """Channels from the embedding nets themselves: an uncompressed model."""

    def __init__(self, nets: tuple[Net, ...], real: np.dtype):
        self.nets, self.real, self.env = nets, real, real
        self._weights = embedding.embedding_parameters(nets)
        self.parameters = dict.fromkeys(self._weights, real) | {"embed_activation": I64, "embed_residual": I64}

    def functions(self) -> list[FunctionProto]:
        return [embedding.embedding_net(self.nets, self.real), embedding.net_contraction_grad(self.real)]

    def contract(self, b: Body, env: Value, net: Value, name: str) -> tuple[Value, tuple]:
        """X of every centre, and what `gradient` needs of it."""
        outputs = {f"{name}_value": self.real, f"{name}_slope": self.real}
        value, slope = b.call("EmbeddingNet", env, net, *(b[key] for key in self._weights), outputs=outputs)
        return (env.turned(2) @ value).named(name), (value, slope)

    def gradient(self, b: Body, env: Value, net: Value, grad: Value, value: Value, slope: Value) -> Value:
        return b.call("NetContractionGrad", env, net, value, slope, grad, outputs={"env_grad": self.real})[0]

    def range(self, b: Body, env: Value, net: Value, distance: Value) -> None:
        b.full(0, I64, 0, 4).named("range")
        b.full(0, F64, 0, 3).named("range_worst")


class EnergyForce:
    """The outer function, `name`: its parameters in order, its body and the functions that the body calls."""

    def __init__(self, name: str, channels: Tables | Nets, nets: tuple[Net, ...]):
        self.name, self.channels, self.nets, self.real = name, channels, nets, channels.real
        self.parameters = DESCRIPTOR | channels.parameters | {"fit_activation": I64, "fit_residual": I64}
        for kind, net in enumerate(nets):
            self.parameters |= dict.fromkeys(parameter_names(f"fit.{kind}.", net.layers), self.real)
        self.parameters["energy_bias"] = F64
        self._fitting = _fitting_functions(nets, self.real)

    def functions(self) -> list[FunctionProto]:
        fitting_nets = {function.name: function for function in self._fitting}
        return [  # callees first, which onnx.reference asks for
            environment.environment_matrix(),
            *self.channels.functions(),
            fitting.descriptor(self.real),
            *fitting_nets.values(),
            fitting.descriptor_grad(self.real),
            forces.force_virial(),
            self._body(),
        ]

    def _body(self) -> FunctionProto:
        kind = "a compressed" if isinstance(self.channels, Tables) else "an uncompressed"
        b = Body(self.name, DOC.format(kind), INPUTS | self.parameters)
        types = b["atype"].cast(I64).named("types")
        operands = (types if name == "types" else b[name] for name in environment.INPUTS)
        environments = b.call("EnvironmentMatrix", *operands, outputs=environment.OUTPUTS)
        exact_env, net, neighbour, distance, vector, radial, empty = environments
        env = exact_env.cast(self.channels.env)
        contracted, saved = self.channels.contract(b, env, net, "contraction")
        atom_energy, grad = self._fit(b, types, contracted, empty.cast(self.real))
        atom_energy.sum(0).reshape(1).named("energy")
        env_grad = self.channels.gradient(b, env, net, grad, *saved).cast(F64)
        b.call("ForceVirial", env_grad, b["env_std"], types, neighbour, vector, radial, outputs=forces.OUTPUTS)
        b.full(0, F64, b.op("Shape", b["spin"])).named("force_mag")
        self.channels.range(b, exact_env, net, distance)
        return b.function(*OUTPUTS, attributes=["layout"])

    def _padding(self, b: Body) -> Value:
        """What one empty slot adds to X before the division: [centre type, 4, neighbour type, M]."""
        kinds = len(self.nets)
        env = (-b["env_mean"] / b["env_std"]).cast(self.channels.env).reshape(kinds, 1, 1, 4)
        env = env.expand(kinds, kinds, 1, 4).reshape(-1, 1, 4)
        added = self.channels.contract(b, env, b["pad_net"].reshape(-1, 1), "padding")[0]
        return added.reshape(kinds, kinds, 4, -1).transpose(0, 2, 1, 3)

    def _fit(self, b: Body, types: Value, contracted: Value, empty: Value) -> tuple[Value, Value]:
        """Atom energies [nloc] and dE/dX before the division; one fitting net after the other, on its type's atoms.

        Each type gets one atom more, without neighbours: runtimes differ in how they fail on tensors without rows.
        """
        local, count, axis, kinds = contracted.size(), b["count"].cast(self.real), b["axis"], len(self.nets)
        local_types = types.part(0, local)
        padding = self._padding(b)
        contracted = b.concat(contracted, b.full(0, self.real, kinds, 4, contracted.size(2)))
        empty = b.concat(empty, b.full(0, self.real, kinds, kinds))
        places, energies, grads = [], [], []
        for kind, net in enumerate(self.nets):
            place = b.concat(b.op("NonZero", local_types.equals(kind)).squeeze(0), local + kind)
            padded = (empty.take(place).unsqueeze(0) @ padding.take(np.array(kind))).transpose(1, 0, 2)
            x = (contracted.take(place) + padded) / count
            d = b.call("Descriptor", x, axis, outputs={f"descriptor_{kind}": self.real})[0]
            weights = (b[name] for name in parameter_names(f"fit.{kind}.", net.layers))
            outputs = {f"value_{kind}": self.real, f"descriptor_grad_{kind}": self.real}
            value, grad = b.call(self._fitting[kind].name, d, *weights, outputs=outputs)
            grad = b.call("DescriptorGrad", x, axis, grad, outputs={f"grad_{kind}": self.real})[0]
            places.append(place)
            energies.append(value.cast(F64) + b["energy_bias"].take(np.array(kind)))
            grads.append(grad / count)
        place = b.concat(*places)
        atom_energy = b.scatter(b.full(0, F64, local + kinds), place, b.concat(*energies))
        blank = b.full(0, self.real, b.op("Shape", contracted))
        grad = b.op("ScatterND", blank, place.unsqueeze(1), b.concat(*grads))
        return atom_energy.part(0, local).named("atom_energy"), grad.part(0, local).named("contraction_grad")


def _fitting_functions(nets: tuple[Net, ...], real: np.dtype) -> list[FunctionProto]:
    """A function for each net; nets of one architecture share theirs."""
    functions: dict[tuple, FunctionProto] = {}
    chosen = []
    for net in nets:
        key = tuple((x.weight.shape, x.activation, x.residual, x.idt is None) for x in net.layers)
        if key not in functions:
            name = f"FittingNet{len(functions) + 1}" if functions else "FittingNet"
            functions[key] = fitting.fitting_net(name, net, real)
        chosen.append(functions[key])
    return chosen
