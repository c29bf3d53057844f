"""layers - one layer of a net, written out in ops that have float64 kernels."""

from __future__ import annotations

import math

import numpy as np

from ..model import GELU_CUBIC, Layer, Net
from .builder import Body, Kinds, Value

SILUT = 3.0  # where silut goes over from x sigmoid(x) to a hyperbolic tangent


def activate(b: Body, kind: str, y: Value) -> Value:
    if kind == "linear":
        return y
    if kind == "tanh":
        return b.op("Tanh", y)
    if kind in GELU_CUBIC:
        # not the Gelu operator: it computes with float32 constants
        t = b.op("Tanh", (y + y * y * y * GELU_CUBIC[kind]) * math.sqrt(2 / math.pi))
        return y * 0.5 * (t + 1.0)
    if kind == "relu":
        return b.op("Relu", y)
    if kind == "relu6":
        return b.op("Min", b.op("Relu", y), 6.0)
    if kind == "softplus":
        return b.op("Relu", y) + b.op("Log", b.op("Exp", -b.op("Abs", y)) + 1.0)
    s = b.op("Sigmoid", y)
    if kind == "sigmoid":
        return s
    # Sum of one operand keeps onnxruntime 1.30 from fusing y · sigmoid(y) to QuickGelu, which it lacks in float64
    silu = y * b.op("Sum", s)
    if kind == "silu":
        return silu
    if kind == "silut":
        at = 1 / (1 + math.exp(-SILUT))
        value, slope = SILUT * at, at * (1 + SILUT * (1 - at))
        return b.where(y < SILUT, silu, b.op("Tanh", (y - SILUT) * slope) + value)
    raise ValueError(f"no activation {kind}")


def parameter_names(prefix: str, layers: tuple[Layer, ...]) -> list[str]:
    """Names of a net's tensors, in the order in which they are listed: `prefix`.layer.weight, .bias and .idt."""
    return [
        f"{prefix}{number}.{part}"
        for number, layer in enumerate(layers)
        for part in ("weight", "bias", "idt")
        if part != "idt" or layer.idt is not None
    ]


def parameters(prefix: str, net: Net, real: np.dtype) -> Kinds:
    """The same with their kinds."""
    return {
        name: (real, "in out" if name.endswith("weight") else "out") for name in parameter_names(prefix, net.layers)
    }


def architecture(net: Net) -> tuple:
    """What the functions of two nets have in common if it is equal."""
    return tuple((layer.weight.shape, layer.activation, layer.residual, layer.idt is None) for layer in net.layers)


def forward(b: Body, prefix: str, net: Net, x: Value) -> Value:
    """The net at x [n, in], [n, out]; its parameters are inputs of the body."""
    for number, layer in enumerate(net.layers):
        name = f"{prefix}{number}."
        h = activate(b, layer.activation, x @ b[name + "weight"] + b[name + "bias"])
        if layer.idt is not None:
            h = h * b[name + "idt"]
        if layer.residual:
            h = (b.concat(x, x, axis=1) if layer.residual == 2 else x) + h
        x = h
    return x
