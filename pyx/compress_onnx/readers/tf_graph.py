"""tf_graph - a frozen graph as a graph: its constants, what follows from them alone, and who reads whom."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

import numpy as np

from ..model import SILUT_THRESHOLD, Layer, ModelError, Net
from . import graphdef, parts
from .refusals import refused

# What graphs of DeePMD-kit 0.12, 1 and 2.0 call the operations of today, which compute the same.
_RENAMED = {
    "DescrptNorot": "ProdEnvMatA",
    "DescrptSeA": "ProdEnvMatA",
    "DescrptSeR": "ProdEnvMatR",
    "ProdForceNorot": "ProdForceSeA",
    "ProdVirialNorot": "ProdVirialSeA",
    "TabulateFusion": "TabulateFusionSeA",
}
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
    frozenset({"Less", "Sigmoid", "Mul", "Sub"}): "silut",
    frozenset({"Reshape"}): "linear",
    frozenset({"Cast"}): "linear",  # the last layer of a float32 fitting net
    frozenset({"Sub"}): "linear",  # the last layer, less its value without neighbours
}
_FORWARDED = {"Identity", "Cast"}  # between a variable and what uses it
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "|b1", 19: "<f2"}  # numpy's name of a type's number

# What operations on constants give; the activations in the precision of their argument.
_FOLDED = {
    "Identity": lambda x: x,
    "Reshape": np.reshape,
    "ExpandDims": np.expand_dims,
    "Slice": lambda x, begin, size: x[tuple(map(slice, begin, np.where(size < 0, x.shape, begin + size)))],
    "Tile": np.tile,
    "ConcatV2": lambda *x: np.concatenate(x[:-1], axis=x[-1]),
    "GatherV2": lambda x, index, axis: np.take(x, index, axis),
    "OneHot": lambda index, depth, on, off: np.where(index[:, None] == np.arange(depth), on, off),
    "MatMul": np.matmul,
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Less": np.less,
    "Select": np.where,
    "SelectV2": np.where,
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "GeluCustom": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
}


_LARGEST = 1 << 22  # numbers in what follows from constants


def _size(operation: str, inputs: list) -> int:
    """How many numbers the operation gives, at most."""
    shapes = [np.shape(value) for value in inputs]
    if operation in ("Tile", "OneHot"):
        return math.prod(shapes[0]) * int(np.prod(inputs[1], dtype=object))
    if operation == "MatMul":
        return shapes[0][0] * shapes[1][-1]
    if operation == "GatherV2":
        return math.prod(shapes[0]) * math.prod(shapes[1])
    if operation == "ConcatV2":
        return sum(map(math.prod, shapes))
    return math.prod(map(max, zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)))


def base(name: str) -> str:
    """The node that an input's name means, without the number of its output."""
    return name.removeprefix("^").partition(":")[0]


class Frozen:
    """The nodes of a frozen graph by name, without the gradients."""

    def __init__(self, proto):
        self.nodes = {node.name: node for node in proto.node if not node.name.startswith("gradients")}
        self.readers = defaultdict(list)
        self._values = {}
        for node in self.nodes.values():
            node.op = _RENAMED.get(node.op, node.op)
            for name in node.input:
                self.readers[base(name)].append(node)

    def __contains__(self, name: str) -> bool:
        return name in self.nodes and self.nodes[name].op == "Const"

    def __getitem__(self, name: str) -> np.ndarray | bytes:
        if name not in self:
            raise ModelError(f"the graph has no {name}: it is truncated or was not frozen by 'dp freeze'")
        return graphdef.tensor(self.nodes[name])

    def optional(self, name: str, default: object = None):
        if name in self:
            return self[name]
        return default

    def text(self, name: str) -> str:
        return self.optional(name, b"").decode()

    def of_kind(self, *operations: str) -> list:
        return [node for node in self.nodes.values() if node.op in operations]

    def behind(self, name: str, through: set[str] = _FORWARDED):
        """The node that `name` stands for once those that pass it on are skipped."""
        node = self.nodes[base(name)]
        for _ in self.nodes:
            if node.op not in through:
                return node
            node = self.nodes[base(node.input[0])]
        raise ModelError(f"the graph goes round in circles at {name}: it is damaged")

    def users(self, name: str) -> Iterator:
        """The nodes that compute with a variable."""
        waiting, forwarded = [name], {name}
        while waiting:
            for node in self.readers[waiting.pop()]:
                if node.op not in _FORWARDED:
                    yield node
                elif node.name not in forwarded:
                    forwarded.add(node.name)
                    waiting.append(node.name)

    def descendants(self, node, stop) -> dict:
        """All nodes by name that depend on `node`, itself included, but for those behind one for which stop(node)."""
        found, waiting = {node.name: node}, [node]
        while waiting:
            for reader in self.readers[waiting.pop().name]:
                if reader.name not in found:
                    found[reader.name] = reader
                    if not stop(reader):
                        waiting.append(reader)
        return found

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a node that follows from constants alone, None for any other."""
        if (name := base(name)) not in self._values:
            node = self.nodes[name]
            inputs = [] if node.op in ("Const", "Placeholder") else [self.constant(source) for source in node.input]
            self._values[name] = self._folded(node, inputs)
        return self._values[name]

    @staticmethod
    def _folded(node, inputs: list) -> np.ndarray | None:
        if node.op == "Const":
            return graphdef.tensor(node)
        if any(value is None for value in inputs):
            return None
        if node.op == "Cast":
            return inputs[0].astype(_dtype(node))
        if node.op not in _FOLDED:
            return None
        if _size(node.op, inputs) > _LARGEST:
            raise ModelError(f"the constant {node.name} would be larger than any of a model: the file is damaged")
        return _FOLDED[node.op](*inputs)

    def _variable(self, name: str) -> np.ndarray:
        """What a net computes with: the variable, rounded where the graph does so first (mixed precision)."""
        value = self[name]
        for reader in self.readers[f"{name}/read"]:
            if reader.op == "Cast":
                value = value.astype(_dtype(reader))
        return value

    def products(self, weight: str) -> list:
        return [node for node in self.users(weight) if node.op == "MatMul"]

    def total(self, product):
        """The node that adds the bias to a product."""
        (total,) = (node for node in self.readers[product.name] if node.op in ("BiasAdd", "Add", "AddV2"))
        return total

    def layer(self, weight: str, bias: str, idt: str, residual: int) -> Layer:
        """The layer whose variables have these names."""
        optional = (self._variable(name) if name in self else None for name in (bias, idt))
        return parts.layer(
            self._variable(weight), *optional, self.activation(weight), residual, weight.rpartition("/")[0]
        )

    def activation(self, weight: str) -> str:
        """The function of the layer with this weight, wherever the layer is evaluated: product -> sum -> function."""
        totals = [self.total(product) for product in self.products(weight)]
        kinds = {frozenset(node.op for node in self.readers[total.name]) for total in totals}
        if len(kinds) != 1 or (name := _ACTIVATIONS.get(*kinds)) is None:
            operations = " or ".join(sorted(", ".join(sorted(kind)) for kind in kinds))
            raise parts.unsupported(f"the activation function after {weight} ({operations or 'none'})")
        if name == "silut":
            compared = (node for node in self.readers[totals[0].name] if node.op == "Less")
            (threshold,) = {float(self.constant(node.input[1])) for node in compared}
            if threshold != SILUT_THRESHOLD:
                raise parts.unsupported(f"activation function silut:{threshold:g}")
        return name

    def embedding_net(self, scope: str, tail: str) -> Net:
        """The net whose layer L has the weight SCOPE/matrix_L + TAIL."""
        layers = []
        while (weight := f"{scope}/matrix_{len(layers) + 1}{tail}") in self:
            bias, idt = (weight.replace("/matrix_", f"/{kind}_") for kind in ("bias", "idt"))
            layers.append(self.layer(weight, bias, idt, parts.shortcut(self[weight].shape)))
        return Net(tuple(layers))


def _dtype(cast) -> str:
    number = graphdef.attribute(cast, "DstT").type
    if number not in _DTYPES:
        raise refused("bfloat16")
    return _DTYPES[number]
