"""layers - one layer of a net with its derivative, written out in ops that have float64 kernels."""

from __future__ import annotations

import math

from ..model import GELU_CUBIC, Layer
from .builder import Body, Value


def activate(b: Body, kind: str, y: Value) -> tuple[Value, Value | None]:
    """activation(y) and its derivative there; None where that is 1."""
    if kind == "linear":
        return y, None
    if kind == "tanh":
        h = b.op("Tanh", y)
        return h, 1.0 - h * h
    if kind in GELU_CUBIC:
        # not the Gelu operator: it computes with float32 constants
        scale, cubic = math.sqrt(2 / math.pi), GELU_CUBIC[kind]
        t = b.op("Tanh", (y + y * y * y * cubic) * scale)
        inner = (y * y * (3 * cubic) + 1.0) * scale
        return y * 0.5 * (t + 1.0), (t + 1.0) * 0.5 + y * 0.5 * (1.0 - t * t) * inner
    if kind == "relu":
        return b.op("Relu", y), (y > 0.0).cast(y.dtype)
    if kind == "relu6":
        return b.op("Min", b.op("Relu", y), 6.0), ((y > 0.0) & (y < 6.0)).cast(y.dtype)
    s = b.op("Sigmoid", y)
    if kind == "softplus":
        return b.op("Relu", y) + b.op("Log", b.op("Exp", -b.op("Abs", y)) + 1.0), s
    if kind == "sigmoid":
        return s, s * (1.0 - s)
    if kind == "silu":
        return y * s, s * (y * (1.0 - s) + 1.0)
    raise ValueError(f"no activation {kind}")


def parameter_names(prefix: str, layers: tuple[Layer, ...]) -> list[str]:
    """Names of a net's tensors, in the order in which they are listed: `prefix`.layer.weight, .bias and .idt."""
    return [
        f"{prefix}{number}.{part}"
        for number, layer in enumerate(layers)
        for part in ("weight", "bias", "idt")
        if part != "idt" or layer.idt is not None
    ]


class Forward:
    """h = activation(x weight + bias) * idt with a shortcut; keeps what a derivative needs."""

    def __init__(self, b: Body, prefix: str, layer: Layer, x: Value):
        self.b, self.layer = b, layer
        self.weight = b[prefix + "weight"]
        h, factor = activate(b, layer.activation, x @ self.weight + b[prefix + "bias"])
        if layer.idt is not None:
            idt = b[prefix + "idt"]
            h = h * idt
            factor = idt if factor is None else factor * idt
        self.factor = factor
        self.output = self._shortcut(x, h)

    def _shortcut(self, x: Value, h: Value) -> Value:
        if self.layer.residual == 2:
            x = self.b.concat(x, x, axis=1)
        return x + h if self.layer.residual else h

    def _scaled(self, values: Value) -> Value:
        return values if self.factor is None else values * self.factor

    def tangent(self, slope: Value) -> Value:
        """Derivative of the output [n, out], given that of the input [n, in]."""
        return self._shortcut(slope, self._scaled(slope @ self.weight))

    def gradient(self, grad: Value) -> Value:
        """Gradient of the input [n, in], given that of the output [n, out]."""
        back = self._scaled(grad).times_transposed(self.weight)
        if self.layer.residual == 0:
            return back
        if self.layer.residual == 1:
            return back + grad
        width = self.layer.weight.shape[0]
        return back + grad.part(0, width, axis=1) + grad.part(width, 2 * width, axis=1)
