"""tensorflow - a frozen TensorFlow graph (.pb) as a Model, without TensorFlow.

What the graph computes decides, not the training script inside it: activation functions, exclusions and
normalisation are read from the operations.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
from google.protobuf.message import DecodeError

from ..model import EnergyFitting, Layer, Model, ModelError, Net, SeA, Switch
from . import graphdef, parts

# By the operations that read a layer's sum; gelu is the hyperbolic tangent form, fused or written out.
_ACTIVATIONS = {
    frozenset({"Tanh"}): "tanh",
    frozenset({"GeluCustom"}): "gelu",
    frozenset({"Mul", "Pow", "AddV2"}): "gelu_tf",
    frozenset({"Relu"}): "relu",
    frozenset({"Relu6"}): "relu6",
    frozenset({"Softplus"}): "softplus",
    frozenset({"Sigmoid"}): "sigmoid",
    frozenset({"Sigmoid", "Mul"}): "silu",
    frozenset({"Reshape"}): "linear",
    frozenset({"Cast"}): "linear",  # the last layer of a float32 fitting net
}

# Every operation of a se_e2_a energy model, in the spellings of several TensorFlow versions.
_OPERATIONS = """
Add AddN AddV2 BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Cast ConcatV2 Const ExpandDims GatherV2 GeluCustom
GreaterEqual Identity MatMul Maximum Minimum Mul NoOp Pack Placeholder Pow ProdEnvMatA ProdForceSeA ProdVirialSeA
RealDiv Relu Relu6 Reshape Select SelectV2 Shape Sigmoid Slice Softplus StridedSlice Sum Tanh Tile ZerosLike
"""

# What tells a part that is not supported by the name of an operation; the first that is found is named.
_FOREIGN = {
    "DescrptNorot": "a graph of DeePMD-kit 0.12",
    "DescrptSeA": "a graph of DeePMD-kit 1",
    "ProdEnvMatAMix": "descriptor se_atten (DPA-1)",
    "ProdEnvMatR": "descriptor se_e2_r",
    "DescrptSeAMask": "descriptor se_a_mask",
    "Einsum": "descriptor se_e3",
    "OneHot": "type embedding",
}
_SHORT_FLOATS = (14, 19)  # bfloat16, float16


class _Frozen:
    """The nodes of a frozen graph by name, and who reads whom, without the gradients."""

    def __init__(self, data: bytes):
        try:
            graph = graphdef.Graph.FromString(data)
        except DecodeError:
            raise ModelError("is no model, or a truncated TensorFlow graph: give a .pb, .pth, .dp or .yaml") from None
        self.nodes = {node.name: node for node in graph.node if not node.name.startswith("gradients")}
        self.constants = {name: node for name, node in self.nodes.items() if node.op == "Const"}
        self.readers = defaultdict(list)
        for node in self.nodes.values():
            for name in node.input:
                self.readers[name].append(node)
        self.operations = {node.op for node in self.nodes.values()}

    def __contains__(self, name: str) -> bool:
        return name in self.constants

    def __getitem__(self, name: str):
        if name not in self.constants:
            raise ModelError(f"the graph has no {name}: it is truncated or was not frozen by 'dp freeze'")
        return graphdef.tensor(self.constants[name])

    def optional(self, name: str, default: object = None):
        node = self.constants.get(name)
        return default if node is None else graphdef.tensor(node)

    def text(self, name: str) -> str:
        return self.optional(name, b"").decode()

    def of_kind(self, operation: str) -> list:
        return [node for node in self.nodes.values() if node.op == operation]

    def activation(self, variable: str) -> str:
        """The function that the layer with this weight applies: weight -> product -> sum -> function."""
        sums = [
            total
            for product in self.readers[variable + "/read"]
            for total in self.readers[product.name]
            if product.op == "MatMul" and total.op == "BiasAdd"
        ]
        if len(sums) != 1:
            raise parts.unsupported(f"a net that is evaluated {len(sums)} times, as with atom_ener ({variable})")
        readers = frozenset(node.op for node in self.readers[sums[0].name])
        if readers not in _ACTIVATIONS:
            raise parts.unsupported(f"the activation function after {variable} ({', '.join(sorted(readers))})")
        return _ACTIVATIONS[readers]


def read_graph(path: str, data: bytes) -> Model:
    graph = _Frozen(data)
    _refuse_foreign(graph)
    script = json.loads(graph.text("train_attr/training_script") or "null")
    names = graph.text("model_attr/tmap").split() or (script or {}).get("model", {}).get("type_map", ())
    types = int(graph["descrpt_attr/ntypes"])
    fitting = _energy(graph, types)
    descriptor = _se_a(graph, types, features=fitting.nets[0].layers[0].weight.shape[0])
    unknown = sorted(graph.operations.difference(_OPERATIONS.split()))
    if unknown:
        raise parts.unsupported(f"a graph with operations that a se_e2_a energy model lacks ({', '.join(unknown)})")
    distance = float(graph.optional("train_attr/min_nbor_dist", -1.0))
    return Model(
        type_map=tuple(names),
        descriptor=descriptor,
        fitting=fitting,
        source=parts.source(path, data, "tensorflow .pb"),
        min_distance=distance if distance > 0 else None,
        training_script=script,
    )


def _refuse_foreign(graph: _Frozen) -> None:
    """Refuse whatever the graph computes beyond descriptor se_e2_a and a per-type energy net."""
    if any(operation.startswith("TabulateFusion") for operation in graph.operations):
        raise parts.unsupported("a model that dp compress has compressed", "give the original, uncompressed model")
    if "spin_attr/ntypes_spin" in graph:
        raise parts.unsupported("spin")
    if "modifier_attr/type" in graph:
        raise parts.unsupported("a data modifier (DPLR)")
    if sum(node.op.startswith("ProdEnvMat") for node in graph.nodes.values()) > 1:
        raise parts.unsupported("a model with several descriptors (hybrid, linear or pairwise)")
    for operation, part in _FOREIGN.items():
        if operation in graph.operations:
            raise parts.unsupported(part)
    if "model_attr/model_type" not in graph:
        raise ModelError("is not a Deep Potential: give a .pb, .pth, .dp or .yaml file of a trained model")
    kind = graph.text("model_attr/model_type")
    if kind != "ener":
        raise parts.unsupported(f"a model of type {kind!r}")
    version = graph.text("model_attr/model_version")
    if version not in ("1.0", "1.1"):
        raise parts.unsupported(f"graph version {version!r}", "update it with 'dp convert-from auto -i OLD -o NEW'")
    for name in ("dfparam", "daparam"):
        if graph.optional(f"fitting_attr/{name}", 0) != 0:
            raise parts.unsupported(name.removeprefix("d"))
    if any(graphdef.attribute(cast, "DstT").type in _SHORT_FLOATS for cast in graph.of_kind("Cast")):
        raise parts.unsupported("mixed or 16-bit precision")


def _se_a(graph: _Frozen, types: int, features: int) -> SeA:
    environment = graph.of_kind("ProdEnvMatA")
    if not environment:
        raise ModelError("the graph has no environment matrix: it was not frozen by 'dp freeze'")
    values = {name: graphdef.attribute(environment[0], name) for name in ("sel_a", "rcut_r", "rcut_r_smth")}
    sel = tuple(values["sel_a"].list.i)
    smooth, cutoff = np.float32(values["rcut_r_smth"].f), np.float32(values["rcut_r"].f)

    one_side = any(name.startswith("filter_type_all/") for name in graph.nodes)
    nets, index, precision = [], {}, set()
    for centre, neighbour in np.ndindex(1 if one_side else types, types):
        scope = "filter_type_all" if one_side else f"filter_type_{centre}"
        # An excluded pair has no net, and its padding contributes nothing either.
        if f"{scope}/matrix_1_{neighbour}" in graph:
            index[centre, neighbour] = len(nets)
            nets.append(_embedding_net(graph, scope, neighbour))
            precision.add(graph[f"{scope}/matrix_1_{neighbour}"].dtype.name)
    if one_side:
        index = {(i, j): index[0, j] for i in range(types) for j in range(types)}
    for pair in _masked_pairs(graph, types):
        index.pop(pair, None)
    net = parts.pair_table(types, index)
    width = nets[0].width if nets else 1
    if len(precision) != 1 or features % width:
        raise ModelError(f"the embedding nets do not fit a fitting net of {features} inputs: the graph is damaged")
    return SeA(
        # The operation takes the difference of its float32 attributes in float32.
        switch=Switch(float(smooth), float(cutoff), float(cutoff - smooth)),
        sel=sel,
        total_first=False,
        count=_normalisation(graph, sel),
        mean=parts.per_type(graph["descrpt_attr/t_avg"], types, sum(sel), "t_avg"),
        std=parts.per_type(graph["descrpt_attr/t_std"], types, sum(sel), "t_std"),
        nets=tuple(nets),
        net=net,
        pad_net=net.copy(),
        axis=features // width,
        precision=parts.precision(precision.pop(), "descriptor"),
        type_one_side=one_side,
        exclude_types=tuple((int(i), int(j)) for i, j in np.argwhere(net < 0)),
    )


def _embedding_net(graph: _Frozen, scope: str, neighbour: int) -> Net:
    layers = []
    while (name := f"{scope}/matrix_{len(layers) + 1}_{neighbour}") in graph:
        weight = graph[name]
        bias, idt = (graph.optional(name.replace("/matrix_", f"/{kind}_")) for kind in ("bias", "idt"))
        layers.append(parts.layer(weight, bias, idt, graph.activation(name), parts.shortcut(weight.shape), name))
    return Net(tuple(layers))


def _masked_pairs(graph: _Frozen, types: int) -> list[tuple[int, int]]:
    """Pairs that a model with one net per neighbour type excludes: it looks them up in a constant of ones and zeros."""
    for lookup in graph.of_kind("GatherV2"):
        flat = graph.nodes.get(lookup.input[0])
        if flat is not None and flat.op == "Reshape" and flat.input[0] in graph:
            mask = graph[flat.input[0]]
            if mask.shape == (types, types):
                return [(int(i), int(j)) for i, j in np.argwhere(mask == 0)]
    return []


def _normalisation(graph: _Frozen, sel: tuple[int, ...]) -> float:
    """N: the constant that the graph divides by; a sel that was enlarged for MPI divides by a variable instead."""
    divisors = {node.input[1] for node in graph.of_kind("RealDiv") if node.name.startswith("filter_type_")}
    constants = {float(graph[name]) for name in divisors if name in graph}
    if len(constants) > 1 or not divisors:
        raise parts.unsupported(f"a descriptor that is divided by {sorted(constants) or 'nothing'}")
    return constants.pop() if constants else float(np.sum(graph.optional("descrpt_attr/original_sel", sel)))


def _energy(graph: _Frozen, types: int) -> EnergyFitting:
    if any(name.startswith("share_") for name in graph.nodes):
        raise parts.unsupported("layer_name of the fitting net (shared layers)")
    bias = parts.array(graph.optional("fitting_attr/t_bias_atom_e", np.zeros(types)), "t_bias_atom_e", (types,))
    nets = tuple(_fitting_net(graph, kind) for kind in range(types))
    # A graph converted from another backend has its bias here, under a scope that is written twice.
    for scope in ("model_attr/model_attr", "model_attr"):
        if f"{scope}/t_out_bias" in graph:
            scale = parts.array(graph[f"{scope}/t_out_std"], "t_out_std", (types,))
            bias = bias * scale + parts.array(graph[f"{scope}/t_out_bias"], "t_out_bias", (types,))
            nets = tuple(_scaled(net, factor) for net, factor in zip(nets, scale, strict=True))
            break
    precision = graph["final_layer_type_0/matrix"].dtype.name
    return EnergyFitting(nets, bias, parts.precision(precision, "fitting net"))


def _fitting_net(graph: _Frozen, kind: int) -> Net:
    layers = []
    while f"layer_{len(layers)}_type_{kind}/matrix" in graph:
        scope = f"layer_{len(layers)}_type_{kind}"
        inputs, outputs = graph[f"{scope}/matrix"].shape
        # No shortcut in the first layer, and none where the width doubles.
        layers.append(_fitting_layer(graph, scope, residual=int(len(layers) > 0 and inputs == outputs)))
    return Net((*layers, _fitting_layer(graph, f"final_layer_type_{kind}", residual=0)))


def _fitting_layer(graph: _Frozen, scope: str, residual: int) -> Layer:
    name = f"{scope}/matrix"
    bias, idt = graph.optional(f"{scope}/bias"), graph.optional(f"{scope}/idt")
    return parts.layer(graph[name], bias, idt, graph.activation(name), residual, scope)


def _scaled(net: Net, factor: float) -> Net:
    """The net times a factor, which its linear last layer takes up."""
    last = net.layers[-1]
    return Net((*net.layers[:-1], replace(last, weight=last.weight * factor, bias=last.bias * factor)))
