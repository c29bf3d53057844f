"""reference_attention - DPA-1's attention layers, beside reference.py, which calls this for descriptors that have them.

All slots are there, empty ones too, as in the original. Derivatives by p numbers are the imaginary parts of complex
arrays [p, ...] with a step so small that its square vanishes: exact, and no formula is differentiated by hand.
"""

import numpy as np
from compress_onnx.model import ATTENTION_SHIFT, Attention, AttentionLayer, Layer, Normalisation, Repformer, TwoBody
from reference import Dual, activation, constant, embedding, environment

STEP = 1e-60


def dual(x: np.ndarray) -> Dual:
    """Value [...] and slopes [..., p] of x [p, ...]."""
    return Dual(x[0].real.copy(), np.moveaxis(x.imag, 0, -1) / STEP)


def lifted(part: Dual, changes: np.ndarray) -> np.ndarray:
    """[p, ...] of a part with slopes [..., n, 3] by vectors, whose derivatives are changes [p, n, 3]."""
    return part.value + 1j * STEP * np.einsum("...nc,pnc->p...", part.slope, changes)


def attentive(descriptor: TwoBody, centre: int, kinds, d, empty) -> tuple[Dual, Dual]:
    """As reference.two_body: D [features] and rot [3, channels], slopes by each neighbour's vector: [..., n, 3]."""
    count, size = len(d), len(d) + int(empty.sum())
    seen = np.zeros(size, bool)
    seen[:count] = descriptor.net[centre, kinds] >= 0
    directions = max(3 * count, 1)  # one even where there is no neighbour
    changes = np.eye(directions, 3 * count).reshape(directions, count, 3)
    env, gate = environments(descriptor, centre, d, changes)
    env = padded(np.where(seen[:count, None], env, 0), size, descriptor.pad_env[centre, 0])
    variants = np.full(size, descriptor.pad_net[centre, 0])
    variants[:count] = descriptor.net[centre, kinds]
    g = channels(descriptor, variants, env[:, :, 0])
    w = np.zeros((len(env), size))
    if gate is not None:
        w = padded(np.where(seen[:count], gate, 0), size)
        gated = np.full(size, -1)
        gated[:count] = descriptor.gate_net[centre, kinds]
        g = g + w[:, :, None] * channels(descriptor, gated, env[:, :, 0])
    for layer in descriptor.attention.layers:
        g = attention_layer(descriptor.attention, layer, g, env[:, :, 1:], w, seen)
    x = np.einsum("pna,pnm->pam", env, g) / descriptor.count
    feature = np.einsum("pam,pab->pmb", x, x[:, :, : descriptor.axis]).reshape(len(x), -1)
    parts = (dual(part) for part in (feature, x[:, 1:]))
    return tuple(Dual(part.value, part.slope[..., : 3 * count].reshape(*part.value.shape, count, 3)) for part in parts)


def environments(part: TwoBody | Repformer, centre: int, d, changes) -> tuple[np.ndarray, np.ndarray | None]:
    """env [p, n, 4] and gate [p, n] of vectors d [n, 3], whose derivatives are changes [p, n, 3]."""
    env, gate = environment(part, centre, d)
    x = env.value + 1j * STEP * np.einsum("nac,pnc->pna", env.slope, changes)
    return x, None if gate is None else gate.value + 1j * STEP * np.einsum("nc,pnc->pn", gate.slope, changes)


def padded(x: np.ndarray, size: int, value=0.0) -> np.ndarray:
    """x [p, n, ...] with more slots, up to `size`, of `value`."""
    rest = np.broadcast_to(value, (len(x), size - x.shape[1], *x.shape[2:]))
    return np.concatenate([x, rest], axis=1)


def channels(descriptor: TwoBody, variants: np.ndarray, s: np.ndarray) -> np.ndarray:
    """[p, slots, channels] of the variant of each slot at s [p, slots]."""
    one = constant(s[0].real[:, None], 1)
    one.slope[:] = 1
    g = embedding(descriptor, variants, one)
    return g.value + 1j * s.imag[:, :, None] * g.slope[:, :, 0]


def attention_layer(attention: Attention, layer: AttentionLayer, g, direction, w, seen) -> np.ndarray:
    q, k, v = (dense(part, g) for part in (layer.query, layer.key, layer.value))
    if attention.unit:
        q, k, v = (x / length(x, attention.shortest) for x in (q, k, v))
    a = softmax(layer.scale * np.einsum("pna,pma->pnm", q, k), w if attention.smooth else None, w, seen)
    a = a * seen[:, None]
    if attention.angular:
        unit = direction / length(direction, attention.shortest)
        a = a * np.einsum("pnc,pmc->pnm", unit, unit)
    return normalised(layer.norm, g + dense(layer.out, np.einsum("pnm,pma->pna", a, v)))


def length(x: np.ndarray, shortest: float) -> np.ndarray:
    square = (x * x).sum(-1, keepdims=True)
    return np.sqrt(np.where(square.real > shortest**2, square, shortest**2))


def softmax(a: np.ndarray, rows: np.ndarray | None, columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Over the last axis of a [p, ..., n, m]: with rows [p, n] and columns [p, m] smooth, with rows None of those seen."""
    if rows is None:
        a = np.where(seen, a, -np.inf)
        a = np.exp(a - a.real.max(-1, keepdims=True)) if seen.any() else np.zeros_like(a)
        return a / (a.sum(-1, keepdims=True) if seen.any() else 1)
    more = (slice(None), *[None] * (a.ndim - 3))
    w = rows[more][..., :, None] * columns[more][..., None, :]
    a = (a + ATTENTION_SHIFT) * w - ATTENTION_SHIFT
    a = np.exp(a - a.real.max(-1, keepdims=True))
    return a / a.sum(-1, keepdims=True) * w


def normalised(norm: Normalisation, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + norm.epsilon) * norm.weight + norm.bias


def dense(layer: Layer, x: np.ndarray) -> np.ndarray:
    return activated(layer, x @ layer.weight + (0 if layer.bias is None else layer.bias))


def activated(layer: Layer, y: np.ndarray) -> np.ndarray:
    value, slope = activation(layer, y.real)
    return value + 1j * slope * y.imag
