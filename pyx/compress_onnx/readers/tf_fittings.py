"""tf_fittings - the fitting nets of a frozen graph, and all that it adds to and multiplies with their outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model import Fitting, Layer, ModelError, Net
from ..nets import values
from . import parts
from .fittings import adapted
from .tf_descriptors import MASKED
from .tf_graph import Frozen, base

# Every operation outside the descriptors, in the spellings of several TensorFlow versions.
_COMMON = """
Add AddN AddV2 BiasAdd Cast ConcatV2 Const ExpandDims Fill GatherV2 GeluCustom GreaterEqual Identity Less MatMul Maximum
Minimum Mul NoOp OneHot Pack Placeholder Pow ProdForceSeA ProdForceSeAMask ProdForceSeR ProdVirialSeA ProdVirialSeR Relu Relu6 Reshape
Select SelectV2 Shape Sigmoid Slice Softplus Sqrt StridedSlice Sub Sum Tanh Tile ZerosLike
"""
_TENSOR = (
    _COMMON + "BatchMatMul BatchMatMulV2 BatchMatMulV3 BroadcastTo MatrixDiag MatrixDiagV3 Max Prod Range Split "
    "Squeeze Transpose Where"
)
OPERATIONS = {
    "ener": _COMMON,
    "dos": _COMMON,
    "dipole": _TENSOR,
    "polar": _TENSOR,
}
# with spin also: forces on virtual atoms are taken apart
SPIN_OPERATIONS = " All Assert Cumsum DenseBincount Equal Greater Max Merge Size Switch UniqueWithCounts"
# on the way from a number to where it is applied to atoms
_SPREAD = {"Identity", "Cast", "Reshape", "ExpandDims", "Tile", "GatherV2"}


def read_fitting(
    graph: Frozen, kind: str, suffix: str, embedding: np.ndarray | None, types: int, features: int
) -> Fitting:
    """What is fitted to `features` numbers, by nets whose names end with `suffix`."""
    if any(name.startswith("share_") for name in graph.nodes):
        raise parts.unsupported("layer_name of the fitting net (shared layers)")
    masked = bool(graph.of_kind(MASKED))
    if graph.optional(f"fitting_attr{suffix}/aparam_nall", False) and not masked:
        raise parts.unsupported("aparam of ghost atoms")
    # Dipoles and polarisabilities may be those of some types alone.
    chosen = np.unique(graph.optional("model_attr/sel_type", range(types))).astype(int)
    mixed = f"final_layer{suffix}/matrix" in graph
    tails = [suffix] if mixed else [f"_type_{number}{suffix}" for number in chosen]
    net = np.full(types, -1)
    net[chosen] = 0 if mixed else np.arange(len(chosen))
    nets = tuple(_fitting_net(graph, tail) for tail in tails)
    precisions = {graph[f"final_layer{tail}/matrix"].dtype.name for tail in tails}
    parameters = {name: _parameter(graph, name, suffix) for name in ("fparam", "aparam")[: 1 if masked else 2]}
    parameters.setdefault("aparam", np.zeros((2, 0)))
    fitting = Fitting(
        kind=kind,
        nets=nets,
        net=net,
        bias=np.zeros((types, {"dipole": 3, "polar": 9}.get(kind, nets[0].width))),
        precision=parts.precision(precisions.pop(), "fitting net"),
        constant=_constant(nets[0], embedding, types, features, parameters),
        **parameters,
    )
    if kind in ("dipole", "polar"):
        return _tensor(graph, fitting, tails)
    return _biased(graph, fitting, suffix, _vacuum(graph, fitting, tails, features))


def _fitting_net(graph: Frozen, tail: str) -> Net:
    layers, scope = [], f"layer_0{tail}"
    while f"{scope}/matrix" in graph:
        inputs, outputs = graph[f"{scope}/matrix"].shape
        # No shortcut in the first layer, and none where the width doubles.
        layers.append(_fitting_layer(graph, scope, residual=int(len(layers) > 0 and inputs == outputs)))
        scope = f"layer_{len(layers)}{tail}"
    return Net((*layers, _fitting_layer(graph, f"final_layer{tail}", residual=0)))


def _fitting_layer(graph: Frozen, scope: str, residual: int) -> Layer:
    return graph.layer(f"{scope}/matrix", f"{scope}/bias", f"{scope}/idt", residual)


def _parameter(graph: Frozen, name: str, suffix: str) -> np.ndarray:
    """[2, n], what is subtracted from a parameter of frames or atoms, and what it is multiplied with then."""
    number = int(graph.optional(f"fitting_attr{suffix}/d{name}", 0))
    if number == 0:
        return np.zeros((2, 0))
    values = [graph[f"fitting_attr{suffix}/t_{name}_{kind}"] for kind in ("avg", "istd")]
    return parts.array(values, name, (2, number))


def _constant(net: Net, embedding: np.ndarray | None, types: int, features: int, parameters: dict) -> np.ndarray:
    """[types, k], the type embeddings that are inputs of the net beside the descriptor."""
    width = net.layers[0].weight.shape[0] - features - sum(values.shape[1] for values in parameters.values())
    if width == 0:
        return np.zeros((types, 0))
    if embedding is None or width != embedding.shape[1]:
        raise ModelError(f"a fitting net does not fit a descriptor of {features} numbers: the graph is damaged")
    return parts.array(embedding[:types], "type embedding", (types, width))


def _vacuum(graph: Frozen, fitting: Fitting, tails: list[str], features: int) -> np.ndarray:
    """[types, outputs] of nets that the graph evaluates once more without neighbours, to subtract that (atom_ener)."""
    result = np.zeros_like(fitting.bias)
    for number, tail in enumerate(tails):
        if len(graph.products(f"final_layer{tail}/matrix")) == 1:
            continue
        if fitting.fparam.size or fitting.aparam.size:
            raise parts.unsupported("atom_ener together with fparam or aparam")
        for kind in np.flatnonzero(fitting.net == number):
            inputs = np.concatenate([np.zeros(features), fitting.constant[kind]])
            result[kind] = values(fitting.nets[number], inputs[None])[0]
    return result


def _biased(graph: Frozen, fitting: Fitting, suffix: str, vacuum: np.ndarray) -> Fitting:
    """Energies and densities of states: the bias of the fitting net, then scale and bias of the model."""
    shape = fitting.bias.shape
    bias = -vacuum
    if fitting.kind == "ener":
        energies = graph.optional(f"fitting_attr{suffix}/t_bias_atom_e", np.zeros(shape))
        bias = bias + parts.array(energies, "t_bias_atom_e", shape)
    # The scope is written twice in every graph so far.
    for scope in (f"model_attr{suffix}/model_attr{suffix}", f"model_attr{suffix}"):
        if f"{scope}/t_out_bias" in graph:
            scale = parts.array(graph[f"{scope}/t_out_std"], "t_out_std", shape)
            added = parts.array(graph[f"{scope}/t_out_bias"], "t_out_bias", shape)
            nets, net = adapted(fitting.nets, fitting.net, scale, np.zeros(shape))
            return replace(fitting, nets=nets, net=net, bias=bias * scale + added)
    return replace(fitting, bias=bias)


def _tensor(graph: Frozen, fitting: Fitting, tails: list[str]) -> Fitting:
    """Dipoles and polarisabilities: with what the graph does to a net's outputs on their way to the model's."""
    types, width = len(fitting.net), fitting.nets[0].width
    factor, shift = np.ones((types, 1)), np.zeros((types, 1))
    symmetric = False
    for number, tail in enumerate(tails):
        here = fitting.net == number
        (product,) = graph.products(f"final_layer{tail}/matrix")
        way = graph.descendants(graph.total(product), lambda node: node.op in ("Split", "Sum"))
        for node in way.values():
            value = _applied(graph, node, way, types)
            if node.op == "Transpose":
                factor[here] *= 2  # O + Oᵀ is twice the symmetric part
                symmetric = True
            elif value is not None and node.op == "Mul":
                factor[here], shift[here] = factor[here] * value[here], shift[here] * value[here]
            elif value is not None:
                shift[here] += value[here]
    chosen, of_type = fitting.net >= 0, fitting.net.copy()
    factor = np.tile(factor[chosen], width)
    nets, of_type[chosen] = adapted(fitting.nets, of_type[chosen], factor, np.zeros_like(factor), symmetric)
    bias = shift * np.eye(3).ravel() if fitting.kind == "polar" else fitting.bias
    return replace(fitting, nets=nets, net=of_type, bias=bias)


def _applied(graph: Frozen, node, way: dict, types: int) -> np.ndarray | None:
    """[types, 1], the constants that a product or sum on the way has beside what comes along it."""
    others = [name for name in node.input if base(name) not in way]
    if node.op not in ("Mul", "Add", "AddV2") or len(others) != 1:
        return None
    return _by_type(graph, others[0], types)


def _by_type(graph: Frozen, name: str, types: int) -> np.ndarray | None:
    node = graph.behind(name, _SPREAD)
    value = graph.constant(node.name)
    if value is not None:
        return np.broadcast_to(np.reshape(value, (-1, 1)).astype(float), (types, 1))
    # a number times the identity matrix
    inputs = node.input if node.op == "Mul" else ()
    return next((value for source in inputs if (value := _by_type(graph, source, types)) is not None), None)
