"""nets - an embedding net of one input and its first two derivatives, in numpy."""

from __future__ import annotations

from functools import partial

import numpy as np

from .model import GELU_CUBIC, SILUT_THRESHOLD, Net, TabulatedNet

LEVELS = {"relu": (0.0,), "relu6": (0.0, 6.0)}  # activations that are straight lines, and where they bend
KINKED = frozenset({*LEVELS, "silut"})  # those that are not smooth


def derivatives(net: Net | TabulatedNet, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, first and second derivative of `net` at x [n], each [n, net.width] float64 (exact, forward mode)."""
    if isinstance(net, TabulatedNet):
        return _between_nodes(net, np.asarray(x, dtype=np.float64))
    x = np.asarray(x, dtype=np.float64)[:, None]
    value, first, second = _propagated(net, np.stack([x, np.ones_like(x), np.zeros_like(x)]))
    return value, first, second


def values(net: Net, x: np.ndarray) -> np.ndarray:
    """Outputs [n, net.width] at inputs x [n, in]."""
    x = np.asarray(x, dtype=np.float64)
    return _propagated(net, np.stack([x, np.zeros_like(x), np.zeros_like(x)]))[0]


def _propagated(net: Net, state: np.ndarray) -> np.ndarray:
    """Value and derivatives [3, n, net.width] from those of the inputs [3, n, in]."""
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
    return state


def _between_nodes(net: TabulatedNet, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of a table, which goes on as its tangent beyond its ends."""
    positions, steps = net.grid.positions(), net.grid.steps()
    inside = np.clip(x, positions[0], positions[-1])
    row = np.clip(np.searchsorted(positions, inside, side="right") - 1, 0, len(steps) - 1)
    a = np.moveaxis(quintics(steps[row], net.nodes[row], net.nodes[row + 1]), -1, 0)
    t, beyond = (inside - positions[row])[:, None], (x - inside)[:, None]
    slope = a[1] + t * (2 * a[2] + t * (3 * a[3] + t * (4 * a[4] + t * 5 * a[5])))
    value = a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * (a[4] + t * a[5]))))
    curvature = 2 * a[2] + t * (6 * a[3] + t * (12 * a[4] + t * 20 * a[5]))
    return value + slope * beyond, slope, np.where(beyond == 0, curvature, 0.0)


def quintics(h: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Polynomials in the distance from the left end of intervals of width h [n], constant term first: [n, M, 6].

    left, right [n, 3, M]: value, first and second derivative at the ends.
    """
    h = h[:, None]
    (f0, d0, c0), (f1, d1, c1) = left.swapaxes(0, 1), right.swapaxes(0, 1)
    rise = f1 - f0
    a3 = (20 * rise - (8 * d1 + 12 * d0) * h - (3 * c0 - c1) * h**2) / (2 * h**3)
    a4 = (-30 * rise + (14 * d1 + 16 * d0) * h + (3 * c0 - 2 * c1) * h**2) / (2 * h**4)
    a5 = (12 * rise - 6 * (d1 + d0) * h + (c1 - c0) * h**2) / (2 * h**5)
    return np.stack([f0, d0, c0 / 2, a3, a4, a5], axis=-1)


def is_piecewise_linear(net: Net | TabulatedNet) -> bool:
    """Whether the net bends somewhere and is straight elsewhere."""
    if isinstance(net, TabulatedNet):
        return False
    activations = {layer.activation for layer in net.layers}
    return activations <= {"linear", *LEVELS} and activations != {"linear"}


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


def _silut(u):
    at, slope, _ = (part.item() for part in _silu(np.array(SILUT_THRESHOLD)))
    t, dt, d2t = _tanh(slope * (u - SILUT_THRESHOLD))
    beyond = t + at, slope * dt, slope**2 * d2t
    return tuple(np.where(u < SILUT_THRESHOLD, *pair) for pair in zip(_silu(u), beyond, strict=True))


_FUNCTIONS = {
    "linear": _linear,
    "tanh": _tanh,
    **{name: partial(_gelu, a=cubic) for name, cubic in GELU_CUBIC.items()},
    "relu": _relu,
    "relu6": _relu6,
    "softplus": _softplus,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "silut": _silut,
}
