"""fitting - bodies of Descriptor, FittingNet and DescriptorGrad: from the contraction to an energy and back."""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto

from ..model import Net
from .builder import I64, Body, Value
from .layers import Forward, parameter_names

DESCRIPTOR_DOC = """D[m, a] = sum over c of X[c, m] X[c, a] for a < axis, row by row.
contraction [n, 4, M], axis [] -> descriptor [n, M axis]."""

DESCRIPTOR_GRAD_DOC = """Backward of Descriptor: grad [n, M axis] -> contraction_grad [n, 4, M]."""

FITTING_DOC = """The value [n] of a fitting net at x [n, in], and its gradient grad [n, in]."""


def descriptor(real: np.dtype) -> FunctionProto:
    b = Body("Descriptor", DESCRIPTOR_DOC, {"contraction": real, "axis": I64})
    x = b["contraction"]
    product = x.turned(1) @ _first(x, b["axis"])
    product.reshape(0, x.size(2) * b["axis"].reshape(1)).named("descriptor")
    return b.function("descriptor")


def descriptor_grad(real: np.dtype) -> FunctionProto:
    b = Body("DescriptorGrad", DESCRIPTOR_GRAD_DOC, {"contraction": real, "axis": I64, "grad": real})
    x = b["contraction"]
    width, axis = x.size(2), b["axis"].reshape(1)
    grad = b["grad"].reshape(0, width, axis)
    as_first = b.op("Pad", x @ grad, b.shape(0, 0, 0, 0, 0, width - axis))
    as_second = grad @ _first(x, b["axis"]).turned(1)
    (as_first + as_second.transpose(0, 2, 1)).named("contraction_grad")
    return b.function("contraction_grad")


def _first(x: Value, axis: Value) -> Value:
    return x.part(0, axis.reshape(1), axis=2)


def fitting_net(name: str, net: Net, real: np.dtype) -> FunctionProto:
    """The function for every net of this one's architecture; the parameters are its inputs after `x`."""
    b = Body(name, FITTING_DOC, {"x": real} | dict.fromkeys(parameter_names("", net.layers), real))
    value, steps = b["x"], []
    for number, layer in enumerate(net.layers):
        steps.append(Forward(b, f"{number}.", layer, value))
        value = steps[-1].output
    value.squeeze(1).named("value")
    grad = b.full(1, real, value.size(), 1)
    for step in reversed(steps):
        grad = step.gradient(grad)
    grad.named("grad")
    return b.function("value", "grad")
