"""builder - ONNX functions written as expressions: a Value is a tensor in the making, its operators append nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import FunctionProto, NodeProto, helper, numpy_helper

DOMAIN = "dpc"
DOMAIN_VERSION = 1
OPSET = 18
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I32, I64 = np.dtype(np.int32), np.dtype(np.int64)
BOOL = np.dtype(bool)

_RESULT = {"Less": BOOL, "Greater": BOOL, "GreaterOrEqual": BOOL, "Equal": BOOL, "And": BOOL, "Or": BOOL, "Not": BOOL}
_RESULT |= {"Shape": I64, "NonZero": I64}


class Value:
    """A tensor of known dtype. Numbers mix with it as constants of that dtype; lists of int are int64 constants."""

    def __init__(self, body: Body, name: str, dtype: np.dtype, node: NodeProto | None = None):
        self.body, self.name, self.dtype, self._node = body, name, dtype, node

    def __add__(self, other):
        return self.body.op("Add", self, other)

    def __sub__(self, other):
        return self.body.op("Sub", self, other)

    def __mul__(self, other):
        return self.body.op("Mul", self, other)

    def __truediv__(self, other):
        return self.body.op("Div", self, other)

    def __matmul__(self, other):
        return self.body.op("MatMul", self, other)

    def __rsub__(self, other):
        return self.body.op("Sub", other, self)

    def __neg__(self):
        return self.body.op("Neg", self)

    def __lt__(self, other):
        return self.body.op("Less", self, other)

    def __gt__(self, other):
        return self.body.op("Greater", self, other)

    def __ge__(self, other):
        return self.body.op("GreaterOrEqual", self, other)

    def __and__(self, other):
        return self.body.op("And", self, other)

    def __or__(self, other):
        return self.body.op("Or", self, other)

    def __invert__(self):
        return self.body.op("Not", self)

    def equals(self, other) -> Value:
        return self.body.op("Equal", self, other)

    def sum(self, *axes: int) -> Value:
        return self.body.op("ReduceSum", self, list(axes), keepdims=0)

    def norm(self, axis: int) -> Value:
        # not ReduceL2, which onnxruntime 1.18 computes in float32
        return self.body.op("Sqrt", (self * self).sum(axis))

    def max(self) -> Value:
        """The largest of all elements, [1]."""
        return self.body.op("ReduceMax", self.reshape(-1), [0], keepdims=1)

    def cumsum(self, axis: int, *, exclusive: bool = False) -> Value:
        return self.body.op("CumSum", self, np.array(axis), exclusive=int(exclusive))

    def cast(self, dtype: np.dtype) -> Value:
        if dtype == self.dtype:
            return self
        return self.body.op("Cast", self, dtype=dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def reshape(self, *shape: int | Value) -> Value:
        return self.body.op("Reshape", self, self.body.shape(*shape))

    def expand(self, *shape: int | Value) -> Value:
        return self.body.op("Expand", self, self.body.shape(*shape))

    def unsqueeze(self, *axes: int) -> Value:
        return self.body.op("Unsqueeze", self, list(axes))

    def squeeze(self, *axes: int) -> Value:
        return self.body.op("Squeeze", self, list(axes))

    def transpose(self, *order: int) -> Value:
        return self.body.op("Transpose", self, perm=list(order))

    def turned(self, axis: int) -> Value:
        """[n, 4, m] to [n, m, 4] where axis is 1, back where it is 2, for products.

        onnxruntime 1.18 fuses Transpose and MatMul to something that it lacks in float64, and Einsum of no rows is a
        division by zero that kills the process, up to 1.32 at least.
        """
        other = 3 - axis
        columns = (self.take(np.array(k), axis=axis).unsqueeze(other) for k in range(4))
        return self.body.concat(*columns, axis=other)

    def times_transposed(self, other: Value) -> Value:
        """Product [n, m] of matrices [n, k] and [m, k]."""
        return self.body.op("Gemm", self, other, transB=1)

    def take(self, index: Value | np.ndarray | list[int], axis: int = 0) -> Value:
        return self.body.op("Gather", self, index, axis=axis)

    def take_each(self, index: Value, axis: int) -> Value:
        return self.body.op("GatherElements", self, index, axis=axis)

    def part(self, start: int | Value, stop: int | Value, axis: int = 0) -> Value:
        return self.body.op("Slice", self, self.body.shape(start), self.body.shape(stop), [axis])

    def size(self, axis: int = 0) -> Value:
        """The length of one axis, int64 [1]."""
        return self.body.op("Shape", self, start=axis, end=axis + 1)

    def named(self, name: str) -> Value:
        """Rename this result, which nothing uses yet; a function's outputs get their names so."""
        self.body.claim(name)
        if any(self.name in node.input for node in self.body.nodes):
            raise ValueError(f"{self.body.name}: {name} is in use as {self.name}")
        position = list(self._node.output).index(self.name)
        self._node.output[position] = self.name = name
        self._node.name = name
        return self


class Body:
    """The body of one function: named inputs with their dtypes, then nodes that the Values' operators append."""

    def __init__(self, name: str, doc: str, inputs: dict[str, np.dtype]):
        self.name, self.doc = name, doc
        self.inputs = {key: Value(self, key, dtype) for key, dtype in inputs.items()}
        self._names = set(inputs)
        self._constants: list[NodeProto] = []
        self._constant_names: dict[tuple, str] = {}
        self.nodes: list[NodeProto] = []

    def __getitem__(self, name: str) -> Value:
        return self.inputs[name]

    def claim(self, name: str) -> None:
        if name in self._names:
            raise ValueError(f"{self.name}: two values are named {name}")
        self._names.add(name)

    def _fresh(self, stem: str) -> str:
        name = f"{stem}_{len(self._names)}"
        self.claim(name)
        return name

    def constant(self, value: np.ndarray) -> Value:
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constant_names:
            stem = f"constant_{value.item()}" if value.ndim == 0 else "constant"
            name = self._fresh(stem)
            node = helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(value))
            self._constants.append(node)
            self._constant_names[key] = name
        return Value(self, self._constant_names[key], value.dtype)

    def _value(self, operand, dtype: np.dtype) -> Value:
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, list):
            return self.constant(np.array(operand, I64))
        if isinstance(operand, np.ndarray):
            return self.constant(operand)
        return self.constant(np.array(operand, dtype))

    def op(self, kind: str, *operands, dtype: np.dtype | None = None, **attributes) -> Value:
        """Append a standard node with one output, of `dtype` or what the operands imply."""
        operand_dtype = next((o.dtype for o in operands if isinstance(o, Value) and o.dtype != BOOL), BOOL)
        inputs = [self._value(o, operand_dtype) for o in operands]
        return self._append(kind, inputs, [dtype or _RESULT.get(kind, operand_dtype)], **attributes)[0]

    def _append(self, kind: str, inputs: Sequence[Value], dtypes: Sequence[np.dtype], **attributes) -> list[Value]:
        names = [self._fresh(kind.lower()) for _ in dtypes]
        node = helper.make_node(kind, [v.name for v in inputs], names, name=names[0], **attributes)
        self.nodes.append(node)
        return [Value(self, name, dtype, node) for name, dtype in zip(names, dtypes)]

    def call(self, function: str, *operands: Value, outputs: dict[str, np.dtype]) -> list[Value]:
        """Append a node of domain `dpc`; its results are named as `outputs`."""
        values = self._append(function, operands, list(outputs.values()), domain=DOMAIN)
        return [value.named(name) for value, name in zip(values, outputs)]

    def sort(self, values: Value, count: Value, axis: int) -> tuple[Value, Value]:
        """Ascending along `axis` of length `count` [1]: values and their places before; equal ones keep their order."""
        return tuple(self._append("TopK", [values, count], [values.dtype, I64], axis=axis, largest=0, sorted=1))

    def where(self, condition: Value, yes, no) -> Value:
        """Choose between Values and numbers of one dtype, at least one a Value."""
        return self.op("Where", condition, yes, no)

    def concat(self, *values: Value, axis: int = 0) -> Value:
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def shape(self, *lengths: int | Value) -> Value:
        """An int64 vector of numbers and of [1]-shaped Values."""
        if not any(isinstance(length, Value) for length in lengths):
            return self.constant(np.array(lengths, I64))
        return self.concat(*(x if isinstance(x, Value) else self.constant(np.array([x], I64)) for x in lengths))

    def full(self, value: float, dtype: np.dtype, *shape: int | Value) -> Value:
        filling = numpy_helper.from_array(np.array([value], dtype))
        return self.op("ConstantOfShape", self.shape(*shape), dtype=dtype, value=filling)

    def count_up(self, count: Value) -> Value:
        """0, 1, ... as many as `count` [1] says."""
        return self._append("Range", [self._value(0, I64), count.squeeze(0), self._value(1, I64)], [I64])[0]

    def scatter(self, target: Value, index: Value, updates: Value, axis: int = 0, reduction: str = "none") -> Value:
        # never ScatterND(add): it loses updates when onnxruntime has more than one thread
        return self._append(
            "ScatterElements", [target, index, updates], [target.dtype], axis=axis, reduction=reduction
        )[0]

    def tally(self, index: Value, *shape: int | Value, axis: int = 0, weight: Value | None = None) -> Value:
        """Zeros of `shape`, with 1 (or `weight`) added at each index along `axis`."""
        if weight is None:
            weight = self.full(1, I64, self.op("Shape", index))
        return self.scatter(self.full(0, weight.dtype, *shape), index, weight, axis, "add")

    def loop(self, trips: Value, states: dict[str, Value], step: Callable[..., Sequence[Value]]) -> list[Value]:
        """Repeat `states = step(iteration, **states)`, states of any shape."""
        outside, self.nodes = self.nodes, []
        iteration = Value(self, self._fresh("iteration"), I64)
        condition = Value(self, self._fresh("condition"), BOOL)
        before = {name: Value(self, self._fresh(name), state.dtype) for name, state in states.items()}
        after = step(iteration, **before)
        go_on = self._append("Identity", [condition], [BOOL])[0]
        scalars = [self._info(v, []) for v in (iteration, condition)]
        graph = helper.make_graph(
            self.nodes,
            f"{self.name}_loop",
            scalars + [self._info(v) for v in before.values()],
            [self._info(go_on, [])] + [self._info(v) for v in after],
        )
        self.nodes = outside
        inputs = [trips, self._value(True, BOOL), *states.values()]
        return self._append("Loop", inputs, [s.dtype for s in states.values()], body=graph)

    @staticmethod
    def _info(value: Value, shape: Sequence | None = None):
        return helper.make_tensor_value_info(value.name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)

    def function(self, *outputs: str, attributes: Sequence[str] = ()) -> FunctionProto:
        """The finished function; every output must have been `named`."""
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
        nodes = self._constants + self.nodes
        missing = set(outputs).difference(*(node.output for node in nodes))
        if missing:
            raise ValueError(f"{self.name}: nothing computes {sorted(missing)}")
        result = helper.make_function(
            DOMAIN, self.name, list(self.inputs), list(outputs), nodes, imports, attributes=list(attributes)
        )
        result.doc_string = self.doc
        return result
