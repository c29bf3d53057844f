"""test_gradient - backward functions of bodies, against differences; run by onnx.reference."""

import numpy as np
import pytest
from compress_onnx.bodies.builder import DOMAIN, F32, F64, I64, OPSET, Body
from compress_onnx.bodies.gradient import gradient, pullback
from onnx import helper
from onnx.reference import ReferenceEvaluator

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 4)), 0.5 + RNG.random((3, 4))
INDEX = np.array([[2, 0, 1, 1], [0, 0, 2, 1]])


def run(body: Body, **inputs) -> list[np.ndarray]:
    def described(values):
        return [helper.make_tensor_value_info(v.name, helper.np_dtype_to_tensor_dtype(v.dtype), None) for v in values]

    call = helper.make_node(body.name, list(body.inputs), list(body.outputs), domain=DOMAIN)
    graph = helper.make_graph([call], "one", described(body.inputs.values()), described(body.outputs.values()))
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    functions = [function.proto() for function in body.functions()]
    return ReferenceEvaluator(helper.make_model(graph, functions=functions, opset_imports=imports)).run(None, inputs)


def made(make, name="Function") -> Body:
    """y = make(b, x, p), all of them [n, 4] with n = 3 for x and p."""
    b = Body(name, "A function.", {"x": (F64, "n 4"), "p": (F64, "n 4")}, ["x", "p"])
    b.op("Identity", make(b, b["x"], b["p"])).named("y")
    return b.returns("y")


def assert_gradient(body: Body, **inputs) -> None:
    (y,) = run(body, **inputs)
    weight = np.random.default_rng(1).normal(size=y.shape)
    backward = gradient(body)
    found = run(backward, **{name: (inputs | {"grad_y": weight})[name] for name in backward.inputs})
    step = 1e-3
    for name, result in zip(body.differentiable, found, strict=True):
        expected = np.zeros_like(inputs[name])
        assert result.shape == expected.shape
        for place in np.ndindex(expected.shape):

            def at(factor, place=place, name=name):
                moved = inputs[name].copy()
                moved[place] += factor * step
                return (run(body, **(inputs | {name: moved}))[0] * weight).sum()

            expected[place] = (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step)
        assert result == pytest.approx(expected, abs=1e-8)


FUNCTIONS = {
    "Add, Sub": lambda b, x, p: x + p - x - x,
    "Mul": lambda b, x, p: x * x * p,
    "Div": lambda b, x, p: x / p / 3.0,
    "Neg, Sum": lambda b, x, p: b.op("Sum", -x),
    "Pow": lambda b, x, p: b.op("Pow", p, 3.0) + b.op("Pow", p, np.array([1.0, 2, -1, 0.5])),
    "Tanh, Sigmoid": lambda b, x, p: b.op("Tanh", x) * b.op("Sigmoid", p),
    "Exp, Log, Sqrt": lambda b, x, p: b.op("Exp", x) + b.op("Log", p) * b.op("Sqrt", p),
    "Relu, Abs": lambda b, x, p: b.op("Relu", x) * p + b.op("Abs", x),
    "Max, Min": lambda b, x, p: b.op("Max", x, p) * b.op("Min", x, 0.2) + b.op("Min", p, x),
    "Where": lambda b, x, p: b.where(x > 0.1, x * p, p),
    "norm": lambda b, x, p: (x * p).norm(1),
    "Softmax": lambda b, x, p: b.op("Softmax", x * p, axis=1),
    "broadcast one": lambda b, x, p: x * p.sum(1, keepdims=True) + p.sum(0, keepdims=True),
    "broadcast rank": lambda b, x, p: x + p.sum(0) * 2.0,
    "Unsqueeze": lambda b, x, p: (x.unsqueeze(1) * p.unsqueeze(0)).sum(0, 2),
    "Expand": lambda b, x, p: p.sum(0).expand(5, 3, 4) * x,
    "MatMul": lambda b, x, p: x.transpose(1, 0) @ p,
    "MatMul batched": lambda b, x, p: x.unsqueeze(2) @ p.unsqueeze(1) @ x.unsqueeze(2),
    "MatMul of one row": lambda b, x, p: x.reshape(-1, 1, 4) @ b.concat(x, p).reshape(-1, 4, 2),
    "MatMul of few rows": lambda b, x, p: x.reshape(1, 3, 4) @ p.transposed().unsqueeze(0),
    "Transpose": lambda b, x, p: (x.unsqueeze(0) * p.unsqueeze(1)).transpose(2, 0, 1),
    "Gather": lambda b, x, p: (
        x.take([2, 0, 2]) * p.take([1, 1, 3, 0], axis=1) + x.take(np.array(1), axis=1).unsqueeze(1)
    ),
    "GatherElements": lambda b, x, p: x.take_each(b.constant(INDEX), 0) * p.part(0, 2),
    "GatherND": lambda b, x, p: x.rows(b.constant(np.array([2, 0]))) * p.part(1, 3),
    "ScatterND": lambda b, x, p: x.put_rows(b.constant(np.array([2, 0])), p.part(0, 2)) * p,
    "ScatterElements": lambda b, x, p: b.scatter(x, b.constant(INDEX), p.part(0, 2), 0, "add") * x,
    "ScatterElements none": lambda b, x, p: b.scatter(x, b.constant(INDEX[:1]), p.part(0, 1)) * p,
    "Concat": lambda b, x, p: b.concat(x, p.part(0, 2), x * p) * b.concat(p, x.part(1, 3), p),
    "Concat columns": lambda b, x, p: b.concat(x.part(1, 3, axis=1), p, axis=1),
    "Slice": lambda b, x, p: x.part(0, b.shape(1) + 1) * p.part(1, p.size()),
    "Reshape": lambda b, x, p: (x.reshape(2, -1) * p.reshape(2, 6)).reshape(-1, 1).squeeze(1),
    "Cast": lambda b, x, p: x.cast(F32).cast(F64) * 0.0 + p,
    "Identity": lambda b, x, p: b.op("Identity", x) * x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_operator(name):
    assert_gradient(made(FUNCTIONS[name]), x=X, p=Y)


def test_through_calls():
    inner = made(lambda b, x, p: b.op("Tanh", x) * p, "Inner")

    def twice(b, x, p):
        first = b.call(inner, x=x, p=p)
        return b.call(inner, x=first, p=x) + first

    outer = made(twice, "Outer")
    assert_gradient(outer, x=X, p=Y)
    assert [body.name for body in gradient(outer).functions()] == ["Inner", "InnerGrad", "OuterGrad"]


def test_only_what_is_needed_remains():
    b = Body("Function", "A function.", {"x": (F64, "n"), "index": (I64, "k"), "unused": (F64, "")}, ["x"])
    b.op("Exp", b["x"].take(b["index"])).named("y")
    (b["x"] * 2.0).cast(I64).named("z")
    backward = gradient(b.returns("y", "z"))
    assert list(backward.inputs) == ["x", "index", "grad_y"]
    assert "Cast" not in {node.op_type for node in backward.nodes}
    assert gradient(b) is backward


def test_a_missing_rule_is_said():
    with pytest.raises(ValueError, match="no gradient of Floor"):
        gradient(made(lambda b, x, p: b.op("Floor", x)))
    loose = made(lambda b, x, p: x * b.op("Reshape", x, p.cast(I64).reshape(-1)))  # of a rank that p says
    with pytest.raises(ValueError, match="a gradient needs the ranks"):
        gradient(loose)


def test_pullback_of_what_does_not_depend_is_zero():
    b = Body("Function", "A function.", {"x": (F64, "n"), "p": (F64, "n")})
    y = b.op("Exp", b["x"]).named("y")
    for name, value in zip(("a", "c"), pullback(b, {"y": y}, [b["x"], b["p"]]), strict=True):
        b.op("Identity", value).named(name)
    a, c = run(b.returns("a", "c"), x=X[0], p=Y[0])
    assert a == pytest.approx(np.exp(2 * X[0])) and not c.any()
