"""nets - an embedding net of one input and its first two derivatives, in numpy."""

from __future__ import annotations

from functools import partial

import numpy as np

from .model import GELU_CUBIC, Net

KINKED = frozenset({"relu", "relu6"})  # activations whose nets no smooth table resolves


def derivatives(net: Net, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, first and second derivative of `net` at x [n], each [n, net.width] float64 (exact, forward mode)."""
    x = np.asarray(x, dtype=np.float64)
    state = np.stack([x, np.ones_like(x), np.zeros_like(x)])[:, :, None]  # [3, n, width of the layer]
    for layer in net.layers:
        u, du, d2u = state @ layer.weight
        if layer.bias is not None:
            u += layer.bias
        value, first, second = activate(layer.activation, u)
        h = np.stack([value, first * du, first * d2u + second * du**2])
        if layer.idt is not None:
            h *= layer.idt
        if layer.residual:
            h += np.tile(state, layer.residual)
        state = h
    value, first, second = state
    return value, first, second


def is_kinked(net: Net) -> bool:
    """Whether the net is only piecewise smooth."""
    return any(layer.activation in KINKED for layer in net.layers)


def activate(name: str, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The activation `name` (of model.ACTIVATIONS) and its first two derivatives at u."""
    return _FUNCTIONS[name](u)


def _linear(u):
    return u, np.ones_like(u), np.zeros_like(u)


def _tanh(u):
    t = np.tanh(u)
    first = 1 - t**2
    return t, first, -2 * t * first


def _gelu(u, a):
    c = np.sqrt(2 / np.pi)
    t, dt, d2t = _tanh(c * (u + a * u**3))
    dv, d2v = c * (1 + 3 * a * u**2), 6 * c * a * u
    first = dt * dv
    return u * (1 + t) / 2, (1 + t + u * first) / 2, first + u * (d2t * dv**2 + dt * d2v) / 2


def _relu(u):
    return np.maximum(u, 0), (u > 0).astype(u.dtype), np.zeros_like(u)


def _relu6(u):
    return np.clip(u, 0, 6), ((u > 0) & (u < 6)).astype(u.dtype), np.zeros_like(u)


def _sigmoid(u):
    t, dt, d2t = _tanh(u / 2)
    return (1 + t) / 2, dt / 4, d2t / 8


def _softplus(u):
    return np.logaddexp(0, u), *_sigmoid(u)[:2]


def _silu(u):
    s, ds, d2s = _sigmoid(u)
    return u * s, s + u * ds, 2 * ds + u * d2s


_FUNCTIONS = {
    "linear": _linear,
    "tanh": _tanh,
    **{name: partial(_gelu, a=cubic) for name, cubic in GELU_CUBIC.items()},
    "relu": _relu,
    "relu6": _relu6,
    "softplus": _softplus,
    "sigmoid": _sigmoid,
    "silu": _silu,
}
