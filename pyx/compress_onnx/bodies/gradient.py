"""gradient - backward of a function body: the function NameGrad, from one rule for each operator.

A rule gets its node's operands x, its result y and the result's gradient g, and gives what makes the gradient of
each operand, None for operands that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from onnx import NodeProto, helper

from .builder import DOMAIN, F32, F64, Body, Value

Rule = Callable[[Body, dict, Sequence[Value], Value, Value], Sequence[Callable[[], Value] | None]]


def gradient(body: Body) -> Body:
    """The function NameGrad: of `body`'s inputs those that it needs, then grad_OUTPUT for each output of real numbers ->
    INPUT_grad for each differentiable input. What it needs of the forward pass it computes again, which
    onnxruntime, after inlining, does not.
    """
    if body.backward is None:
        about = f"Backward of {body.name}: gradients of outputs to gradients of inputs."
        body.backward = _derived(body, body.copy(f"{body.name}Grad", about))
    return body.backward


def with_gradient(body: Body) -> Body:
    """The function NameAndGrad: outputs of `body`, and gradients as of `gradient`, without computing anything twice:
    inside loops onnxruntime does.
    """
    b = body.inlined(f"{body.name}AndGrad")
    b.doc += f" Then the backward of {body.name}: gradients of outputs to gradients of inputs."
    return _derived(body, b, body.outputs)


def _derived(body: Body, b: Body, outputs: Sequence[str] = ()) -> Body:
    seeds = {name: b.input(f"grad_{name}", v.dtype, v.shape) for name, v in body.outputs.items() if _real(v)}
    found = pullback(b, seeds, [b[name] for name in body.differentiable])
    names = [f"{name}_grad" for name in body.differentiable]
    for name, value in zip(names, found, strict=True):
        b.op("Identity", value).named(name)
    return b.returns(*outputs, *names).pruned()


def _real(value: Value) -> bool:
    return value.dtype in (F32, F64)


def pullback(b: Body, seeds: dict[str, Value], by: Sequence[Value]) -> list[Value]:
    """Append the backward pass: gradients by `by` of the sum over `seeds` of (value of that name) times (its seed)."""
    nodes, active = list(b.nodes), {value.name for value in by}
    for node in nodes:
        if active.intersection(_differentiable(b, node)):
            active |= {name for name in node.output if _real(b.values[name])}
    grads = dict(seeds)
    for node in reversed(nodes):
        arrived = {name: grads[name] for name in node.output if name in grads}
        wanted = active.intersection(_differentiable(b, node))
        if not arrived or not wanted:
            continue
        for name, make in _contributions(b, node, arrived):
            if name in wanted and make is not None:
                part = make()
                grads[name] = grads[name] + part if name in grads else part
    return [grads[value.name] if value.name in grads else b.zeros_as(value) for value in by]


def _differentiable(b: Body, node: NodeProto) -> list[str]:
    """The operands through which gradients pass."""
    if node.domain != DOMAIN:
        return list(node.input)
    callee = b.callees[node.op_type]
    return [name for name, formal in zip(node.input, callee.inputs, strict=True) if formal in callee.differentiable]


def _contributions(b: Body, node: NodeProto, arrived: dict[str, Value]):
    """Pairs of operand name and what makes its gradient."""
    if node.domain == DOMAIN:
        return _through_call(b, node, arrived)
    if node.op_type not in _RULES:
        raise ValueError(f"{b.name}: no gradient of {node.op_type}")
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, y = [b.values[name] for name in node.input], b.values[node.output[0]]
    return zip(node.input, _RULES[node.op_type](b, attributes, x, y, arrived[y.name]), strict=False)


def _through_call(b: Body, node: NodeProto, arrived: dict[str, Value]):
    callee = b.callees[node.op_type]
    backward = gradient(callee)
    actual = {formal: b.values[name] for formal, name in zip(callee.inputs, node.input, strict=True)}
    for formal, name in zip(callee.outputs, node.output, strict=True):
        if f"grad_{formal}" in backward.inputs:
            actual[f"grad_{formal}"] = arrived.get(name) or b.zeros_as(b.values[name])
    results = b.call(backward, **{name: actual[name] for name in backward.inputs})
    results = results if isinstance(results, tuple) else (results,)
    names = dict(zip(callee.inputs, node.input, strict=True))
    for formal, result in zip(callee.differentiable, results, strict=True):
        yield names[formal], lambda result=result: result


def _sum_to(g: Value, x: Value) -> Value:
    """The gradient of an operand that was broadcast: `g` summed over the axes that it lacks."""
    if x.shape is None or g.shape is None:
        raise ValueError(f"{x.body.name}: a gradient needs the ranks of {x.name} and {g.name}")
    more = len(g.shape) - len(x.shape)
    if more:
        g = g.sum(*range(more))
    ones = [axis for axis, length in enumerate(x.shape) if length == 1 and g.shape[axis] != 1]
    return g.sum(*ones, keepdims=True) if ones else g


def _elementwise(rule) -> Rule:
    """Of an operator with broadcasting, whose `rule` gives the gradients before that is undone."""

    def wrapped(b, attributes, x, y, g):
        return [make and (lambda make=make, operand=operand: _sum_to(make(), operand))
                for make, operand in zip(rule(b, x, y, g), x, strict=True)]  # fmt: skip

    return wrapped


def _div(b, attributes, x, y, g):
    return lambda: _sum_to(g / x[1], x[0]), lambda: -(_sum_to(g * y, x[1]) / x[1])


def _unary(factor) -> Rule:
    """Of y = f(x) with f' = factor(b, x, y)."""
    return lambda b, attributes, x, y, g: [lambda: g * factor(b, x[0], y)]


def _reshaped(b, attributes, x, y, g):
    return (lambda: g.reshape_as(x[0]),)


def _matmul(b, attributes, x, y, g):
    def first():
        if len(x[1].shape) == 2 and len(x[0].shape) == 2:
            return g.times_transposed(x[1])
        if x[0].shape[-2] == 1:
            return (x[1] @ _upright(g)).reshape_as(x[0])
        if x[0].shape[-2] is not None:  # few rows: then these are the small ones to transpose
            return (x[1] @ g.transposed()).transposed()
        return g @ x[1].transposed()

    return first, lambda: _sum_to(x[0].transposed() @ g, x[1])


def _upright(g: Value) -> Value:
    """Matrices of one row as matrices of one column."""
    rank = len(g.shape)
    return g.squeeze(rank - 2).unsqueeze(rank - 1)


def _max_or_min(compare) -> Rule:
    def rule(b, x, y, g):
        first = compare(x[0], x[1])
        return lambda: b.where(first, g, 0.0), lambda: b.where(first, 0.0, g)

    return _elementwise(rule)


def _gather(b, attributes, x, y, g):
    def grad():
        axis, index = attributes["axis"], x[1]
        if len(index.shape) > 1:
            raise ValueError(f"{b.name}: no gradient of Gather with an index of rank {len(index.shape)}")
        rows = g if index.shape else g.unsqueeze(axis)
        index = index.reshape(*(-1 if k == axis else 1 for k in range(len(x[0].shape)))).expand_as(rows)
        return b.scatter(b.zeros_as(x[0]), index, rows, axis, "add")

    return (grad,)


def _gather_elements(b, attributes, x, y, g):
    return (lambda: b.scatter(b.zeros_as(x[0]), x[1], g, attributes["axis"], "add"),)


def _gather_rows(b, attributes, x, y, g):
    return (lambda: b.op("ScatterND", b.zeros_as(x[0]), x[1], g),)


def _scatter_rows(b, attributes, x, y, g):
    return lambda: b.op("ScatterND", g, x[1], b.zeros_as(x[2])), None, lambda: b.op("GatherND", g, x[1])


def _slice(b, attributes, x, y, g):
    def grad():
        (axis,), rank = x[3].contents, len(x[0].shape)
        before, after = [0] * rank, [0] * rank
        before[axis], after[axis] = x[1], x[0].size(axis) - x[2]
        padded = b.op("Pad", g, b.shape(*before, *after))
        padded.shape = x[0].shape
        return padded

    return (grad,)


def _concat(b, attributes, x, y, g):
    axis = attributes["axis"]
    lengths = [b.shape(value.size(axis)) if value.shape[axis] is None else value.shape[axis] for value in x]
    ends = list(accumulate(lengths, lambda a, c: c + a if isinstance(c, Value) else a + c))
    return [lambda start=start, end=end, length=length: g.part(start, end, axis)
            for start, end, length in zip([0, *ends], ends, lengths, strict=False)]  # fmt: skip


def _reduce_sum(b, attributes, x, y, g):
    axes = x[1].contents
    return (lambda: (g if attributes.get("keepdims", 1) else g.unsqueeze(*axes)).expand_as(x[0]),)


def _scatter_elements(b, attributes, x, y, g):
    axis = attributes["axis"]
    if attributes["reduction"] == b"add":
        return lambda: g, None, lambda: g.take_each(x[1], axis)
    return lambda: b.scatter(g, x[1], b.zeros_as(x[2]), axis), None, lambda: g.take_each(x[1], axis)


def _softmax(b, attributes, x, y, g):
    axis = attributes.get("axis", -1) % len(y.shape)
    return (lambda: y * (g - (g * y).sum(axis, keepdims=True)),)


_RULES: dict[str, Rule] = {
    "Add": _elementwise(lambda b, x, y, g: [lambda: g, lambda: g]),
    "Sub": _elementwise(lambda b, x, y, g: [lambda: g, lambda: -g]),
    "Mul": _elementwise(lambda b, x, y, g: [lambda: g * x[1], lambda: g * x[0]]),
    "Div": _div,
    "Pow": _elementwise(lambda b, x, y, g: [lambda: g * x[1] * b.op("Pow", x[0], x[1] - 1.0), None]),
    "Where": _elementwise(lambda b, x, y, g: [None, lambda: b.where(x[0], g, 0.0), lambda: b.where(x[0], 0.0, g)]),
    "Max": _max_or_min(lambda first, second: first >= second),
    "Min": _max_or_min(lambda first, second: second >= first),
    "Neg": lambda b, attributes, x, y, g: [lambda: -g],
    "Identity": lambda b, attributes, x, y, g: [lambda: g],
    "Sum": lambda b, attributes, x, y, g: [lambda: g],  # of one operand
    "Cast": lambda b, attributes, x, y, g: [lambda: g.cast(x[0].dtype)],
    "Tanh": _unary(lambda b, x, y: 1.0 - y * y),
    "Sigmoid": _unary(lambda b, x, y: y * (1.0 - y)),
    "Exp": _unary(lambda b, x, y: y),
    "Log": lambda b, attributes, x, y, g: [lambda: g / x[0]],
    "Sqrt": lambda b, attributes, x, y, g: [lambda: g / (y * 2.0)],
    "Abs": _unary(lambda b, x, y: b.op("Sign", x)),
    "Relu": _unary(lambda b, x, y: (x > 0.0).cast(x.dtype)),
    "MatMul": _matmul,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_rows,
    "ScatterND": _scatter_rows,
    "ScatterElements": _scatter_elements,
    "Reshape": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "Transpose": lambda b, attributes, x, y, g: [lambda: g.transpose(*np.argsort(attributes["perm"]).tolist())],
    "Concat": _concat,
    "Slice": _slice,
    "ReduceSum": _reduce_sum,
    "Expand": lambda b, attributes, x, y, g: [lambda: _sum_to(g, x[0])],
    "Softmax": _softmax,
}
