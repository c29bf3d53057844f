"""builder - ONNX functions written as expressions: a Value is a tensor in the making, its operators append nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import FunctionProto, NodeProto, helper, numpy_helper

from .shapes import Shape, infer, parse

DOMAIN = "dpc"
DOMAIN_VERSION = 1
OPSET = 18
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I32, I64 = np.dtype(np.int32), np.dtype(np.int64)
BOOL = np.dtype(bool)

Kinds = dict[str, tuple[np.dtype, "str | Shape"]]  # of inputs: dtype and shape, as in (F64, "n slots 4")

_RESULT = {"Less": BOOL, "Greater": BOOL, "GreaterOrEqual": BOOL, "Equal": BOOL, "And": BOOL, "Or": BOOL, "Not": BOOL}
_RESULT |= {"Shape": I64, "NonZero": I64}


class Value:
    """A tensor of known dtype. Numbers mix with it as constants of that dtype; lists of int are int64 constants.

    shape and contents: what is known of them before anything runs, see shapes.py.
    """

    def __init__(
        self, body: Body, name: str, dtype: np.dtype, shape: Shape | None = None, contents: Shape | None = None
    ):
        self.body, self.name, self.dtype, self.shape, self.contents = body, name, dtype, shape, contents

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

    def sum(self, *axes: int, keepdims: bool = False) -> Value:
        return self.body.op("ReduceSum", self, list(axes), keepdims=int(keepdims))

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

    def reshape_as(self, other: Value) -> Value:
        return self.body.op("Reshape", self, self.body.op("Shape", other), allowzero=1)

    def expand(self, *shape: int | Value) -> Value:
        return self.body.op("Expand", self, self.body.shape(*shape))

    def expand_as(self, other: Value) -> Value:
        return self.body.op("Expand", self, self.body.op("Shape", other))

    def unsqueeze(self, *axes: int) -> Value:
        return self.body.op("Unsqueeze", self, list(axes))

    def squeeze(self, *axes: int) -> Value:
        return self.body.op("Squeeze", self, list(axes))

    def transpose(self, *order: int) -> Value:
        return self.body.op("Transpose", self, perm=list(order))

    def transposed(self) -> Value:
        """Matrices with rows for columns, for products.

        Sum of one operand keeps onnxruntime 1.18 from fusing Transpose and MatMul to something that it lacks in float64;
        Einsum of no rows is a division by zero that kills the process, up to 1.32 at least.
        """
        *rest, rows, columns = range(len(self.shape))
        return self.body.op("Sum", self.transpose(*rest, columns, rows))

    def scaled(self, factor: Value | float) -> Value:
        """This times a number, beside a product of matrices.

        Every element of the first axis gets its own copy of the number: a constant is what onnxruntime 1.30 puts
        into the product as an attribute, which is float32.
        """
        factor = self.body._value(factor, self.dtype)
        return self * factor.expand(self.size(0), *[1] * (len(self.shape) - 1))

    def times_transposed(self, other: Value) -> Value:
        """Product [n, m] of matrices [n, k] and [m, k]."""
        return self.body.op("Gemm", self, other, transB=1)

    def take(self, index: Value | np.ndarray | list[int], axis: int = 0) -> Value:
        return self.body.op("Gather", self, index, axis=axis)

    def entries(self, row: Value, column: Value) -> Value:
        """The numbers of a matrix at rows and columns, which broadcast.

        Not GatherElements, of which onnx.reference takes no more than 64 columns.
        """
        return self.reshape(-1).take(row * self.size(1) + column)

    def take_each(self, index: Value, axis: int) -> Value:
        return self.body.op("GatherElements", self, index, axis=axis)

    def rows(self, places: Value) -> Value:
        """The rows at `places` [k], all different; put_rows is the way back."""
        return self.body.op("GatherND", self, places.unsqueeze(1))

    def put_rows(self, places: Value, rows: Value) -> Value:
        """This tensor with other rows at `places` [k], all different."""
        return self.body.op("ScatterND", self, places.unsqueeze(1), rows)

    def part(self, start: int | Value, stop: int | Value, axis: int = 0) -> Value:
        return self.body.op("Slice", self, self.body.shape(start), self.body.shape(stop), [axis])

    def column(self, number: int) -> Value:
        """One of the last axis, which goes."""
        axis = len(self.shape) - 1
        return self.part(number, number + 1, axis).squeeze(axis)

    def size(self, axis: int = 0) -> Value:
        """The length of one axis, int64 [1]."""
        return self.body.op("Shape", self, start=axis, end=axis + 1)

    def named(self, name: str) -> Value:
        """Rename this result, which nothing uses yet; a function's outputs get their names so."""
        self.body.rename(self, name)
        return self


class Body:
    """The body of one function: named inputs, then nodes that the Values' operators append, then named outputs.

    differentiable: the inputs that gradient.gradient differentiates by.
    """

    def __init__(self, name: str, doc: str, inputs: Kinds, differentiable: Sequence[str] = ()):
        self.name, self.doc, self.differentiable = name, doc, tuple(differentiable)
        self.values: dict[str, Value] = {}  # all of them, by name
        self.inputs: dict[str, Value] = {}
        for key, (dtype, shape) in inputs.items():
            self.input(key, dtype, parse(shape) if isinstance(shape, str) else shape)
        self.nodes: list[NodeProto] = []
        self.constants: list[NodeProto] = []
        self.outputs: dict[str, Value] = {}
        self.attributes: Sequence[str] = ()
        self.callees: dict[str, Body] = {}
        self.backward: Body | None = None  # gradient.py's
        self._constant_names: dict[tuple, str] = {}
        self._number = 0

    def __getitem__(self, name: str) -> Value:
        return self.inputs[name]

    def rename(self, value: Value, name: str) -> None:
        if name in self.values:
            raise ValueError(f"{self.name}: two values are named {name}")
        node = next(node for node in reversed(self.nodes) if value.name in node.output)
        if any(value.name in node.input for node in self.nodes):
            raise ValueError(f"{self.name}: {name} is in use as {value.name}")
        node.output[list(node.output).index(value.name)] = node.name = name
        del self.values[value.name]
        value.name = name
        self.values[name] = value

    def _fresh(self, stem: str) -> str:
        """A name that is not taken: `stem`_NUMBER."""
        self._number += 1
        return f"{stem}_{self._number}"

    def _new(self, name: str, dtype: np.dtype, shape: Shape | None = None, contents: Shape | None = None) -> Value:
        self.values[name] = Value(self, name, dtype, shape, contents)
        return self.values[name]

    def constant(self, value: np.ndarray) -> Value:
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constant_names:
            name = self._fresh(f"constant_{value.item()}" if value.ndim == 0 else "constant")
            node = helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(value))
            self.constants.append(node)
            self._constant_names[key] = name
            contents = tuple(value.tolist()) if value.dtype == I64 and value.ndim == 1 else None
            self._new(name, value.dtype, value.shape, contents)
        return self.values[self._constant_names[key]]

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
        shape, contents = infer(kind, inputs, attributes)
        results = [self._new(self._fresh(kind.lower()), dtype, shape, contents) for dtype in dtypes]
        names = [value.name for value in results]
        self.nodes.append(helper.make_node(kind, [v.name for v in inputs], names, name=names[0], **attributes))
        return results

    def call(self, callee: Body, **operands: Value) -> Value | tuple[Value, ...]:
        """Append a node of domain `dpc` with the function's inputs by name; returns its results."""
        if self.callees.setdefault(callee.name, callee) is not callee:
            raise ValueError(f"{self.name}: two functions are named {callee.name}")
        if operands.keys() != callee.inputs.keys():
            raise ValueError(f"{callee.name} takes {list(callee.inputs)}, not {list(operands)}")
        for name, operand in operands.items():
            if operand.dtype != callee[name].dtype:
                raise ValueError(f"{callee.name}: {name} is {operand.dtype}, not {callee[name].dtype}")
        results = [self._new(self._fresh(name), v.dtype, v.shape) for name, v in callee.outputs.items()]
        names = [value.name for value in results]
        inputs = [operands[name].name for name in callee.inputs]
        self.nodes.append(helper.make_node(callee.name, inputs, names, name=names[0], domain=DOMAIN))
        return results[0] if len(results) == 1 else tuple(results)

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
        return self._filled(value, dtype, self.shape(*shape))

    def zeros_as(self, other: Value) -> Value:
        return self._filled(0, other.dtype, self.op("Shape", other))

    def _filled(self, value: float, dtype: np.dtype, shape: Value) -> Value:
        filling = numpy_helper.from_array(np.array([value], dtype))
        return self.op("ConstantOfShape", shape, dtype=dtype, value=filling)

    def count_up(self, count: Value) -> Value:
        """0, 1, ... as many as `count` [1] says."""
        return self._append("Range", [self._value(0, I64), count.squeeze(0), self._value(1, I64)], [I64])[0]

    def scatter(self, target: Value, index: Value, updates: Value, axis: int = 0, reduction: str = "none") -> Value:
        # never ScatterND(add): it loses updates when onnxruntime has more than one thread
        return self.op("ScatterElements", target, index, updates, dtype=target.dtype, axis=axis, reduction=reduction)

    def tally(self, index: Value, *shape: int | Value, axis: int = 0, weight: Value | None = None) -> Value:
        """Zeros of `shape`, with 1 (or `weight`) added at each index along `axis`."""
        if weight is None:
            weight = self._filled(1, I64, self.op("Shape", index))
        return self.scatter(self.full(0, weight.dtype, *shape), index, weight, axis, "add")

    def loop(self, trips: Value, states: dict[str, Value], step: Callable[..., Sequence[Value]]) -> list[Value]:
        """Repeat `states = step(iteration, **states)`, states of any shape."""
        outside, self.nodes = self.nodes, []
        iteration, condition = (
            self._new(self._fresh("iteration"), I64, ()),
            self._new(self._fresh("condition"), BOOL, ()),
        )
        before = {name: self._new(self._fresh(name), state.dtype) for name, state in states.items()}
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
        results = [self._new(self._fresh(name), state.dtype) for name, state in states.items()]
        names = [value.name for value in results]
        inputs = [value.name for value in (trips, self._value(True, BOOL), *states.values())]
        self.nodes.append(helper.make_node("Loop", inputs, names, name=names[0], body=graph))
        return results

    @staticmethod
    def _info(value: Value, shape: Sequence | None = None):
        return helper.make_tensor_value_info(value.name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)

    def returns(self, *outputs: str, attributes: Sequence[str] = ()) -> Body:
        """This body, finished; every output must have been `named`."""
        missing = [name for name in outputs if name not in self.values or name in self.inputs]
        if missing:
            raise ValueError(f"{self.name}: nothing computes {missing}")
        self.outputs, self.attributes = {name: self.values[name] for name in outputs}, attributes
        return self

    def proto(self) -> FunctionProto:
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
        nodes = self.constants + self.nodes
        result = helper.make_function(
            DOMAIN, self.name, list(self.inputs), list(self.outputs), nodes, imports, attributes=list(self.attributes)
        )
        result.doc_string = self.doc
        return result

    def copy(self, name: str, doc: str) -> Body:
        """Another body with the same inputs and nodes, to go on with."""
        other = Body(name, doc, {}, self.differentiable)
        other.values = {key: Value(other, key, v.dtype, v.shape, v.contents) for key, v in self.values.items()}
        other.inputs = {key: other.values[key] for key in self.inputs}
        for mine, theirs in ((self.nodes, other.nodes), (self.constants, other.constants)):
            for node in mine:
                theirs.append(NodeProto())
                theirs[-1].CopyFrom(node)
        other.callees, other._constant_names, other._number = (
            dict(self.callees),
            dict(self._constant_names),
            self._number,
        )
        return other

    @property
    def repeats(self) -> bool:
        """Whether there is a loop in it, or in what it calls."""
        return any(node.op_type == "Loop" for node in self.nodes) or any(c.repeats for c in self.callees.values())

    def inlined(self, name: str) -> Body:
        """Another body, of functions that it would call the nodes, but for those that repeat."""
        other = Body(name, self.doc, {key: (v.dtype, v.shape) for key, v in self.inputs.items()}, self.differentiable)
        for key, value in self.outputs.items():
            other._new(key, value.dtype, value.shape, value.contents)
        other._append_nodes(self, {key: key for key in (*self.inputs, *self.outputs)})
        return other.returns(*self.outputs)

    def _append_nodes(self, body: Body, names: dict[str, str]) -> None:
        """Those of another body, whose inputs and outputs have these names here."""
        for node in body.constants:
            names[node.output[0]] = self.constant(numpy_helper.to_array(node.attribute[0].t)).name
        for key in [key for key in body.values if key not in names]:
            value, names[key] = body.values[key], self._fresh(key)
            self._new(names[key], value.dtype, value.shape, value.contents)
        for node in body.nodes:
            inputs, outputs = ([names[name] for name in part] for part in (node.input, node.output))
            callee = body.callees.get(node.op_type) if node.domain == DOMAIN else None
            if callee is not None and not callee.repeats:
                self._append_nodes(
                    callee, dict(zip([*callee.inputs, *callee.outputs], [*inputs, *outputs], strict=True))
                )
                continue
            self.nodes.append(NodeProto())
            self.nodes[-1].CopyFrom(node)
            self.nodes[-1].name = outputs[0]
            self.nodes[-1].input[:], self.nodes[-1].output[:] = inputs, outputs
            if callee is not None:
                self.callees[callee.name] = callee

    def input(self, name: str, dtype: np.dtype, shape: Shape | None) -> Value:
        """One more input."""
        self.inputs[name] = self._new(name, dtype, shape)
        return self.inputs[name]

    def pruned(self) -> Body:
        """This body, `tidied`, without inputs that no node needs."""
        self.tidied()
        needed = set(self.outputs).union(*(node.input for node in self.nodes))
        self.inputs = {name: value for name, value in self.inputs.items() if name in needed}
        return self

    def tidied(self) -> Body:
        """This body without nodes that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = [node for node in self.constants if node.output[0] in needed]
        called = {node.op_type for node in self.nodes if node.domain == DOMAIN}
        self.callees = {name: callee for name, callee in self.callees.items() if name in called}
        return self

    def functions(self) -> list[Body]:
        """This function and all that it calls, callees first, which onnx.reference asks for."""
        found: dict[str, Body] = {}
        for callee in self.callees.values():
            found |= {body.name: body for body in callee.functions()}
        return [*found.values(), self]
