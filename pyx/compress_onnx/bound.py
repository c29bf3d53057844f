"""bound - how far a table can be from its net at most: interval arithmetic on Taylor series, rounding included.

Between nodes a table errs by at most the largest sixth derivative of the net times a power of the interval's width
(docs/math.md). That derivative is enclosed over cells of x, which are halved where the enclosure is much wider than
what the net does there; then come what the stored nodal values are off by, and the rounding of an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .model import GELU_CUBIC, Layer, Net, TabulatedNet
from .nets import is_kinked
from .tabulate import Table

# error of the quintic Hermite interpolant of g: value and slope, over h^6 max |g^(6)| and h^5 max |g^(6)|
VALUE, SLOPE = 1 / 46080, math.sqrt(5) / 30000
# largest sums of the weights of nodal values, slopes and curvatures, in units of 1, h, h² and 1/h, 1, h
VALUE_WEIGHTS, SLOPE_WEIGHTS = (1.0, 5 / 16, 1 / 32), (15 / 4, 1.0, 0.097)
ROUNDINGS = 16  # of an evaluation, each of at most one epsilon of its terms
FIRST_CELLS, MOST_CELLS, TIGHT = 32, 1000, 1.1
FLOAT64, FLOAT32 = np.finfo(np.float64).eps, np.finfo(np.float32).eps
EPSILONS = {"float64": (FLOAT64, FLOAT64), "mixed": (FLOAT32, FLOAT64), "float32": (FLOAT32, FLOAT32)}  # tables, inputs
LIBRARY = 4 * FLOAT64  # relative error that tanh and logaddexp may have
SMALLEST = 1e-300  # covers what underflows
DRAWS, LINEAR = 15, 1e-7


@dataclass(frozen=True)
class Bound:
    """What a table's value and derivative differ from the net's by at most, in its first and second sub-table."""

    value: tuple[float, float]
    derivative: tuple[float, float]


@dataclass
class Series:
    """Intervals mid ± rad, [orders, cells, width], that hold Taylor coefficients at every point of each cell."""

    mid: np.ndarray
    rad: np.ndarray

    @classmethod
    def zeros(cls, like: Series) -> Series:
        return cls(np.zeros_like(like.mid), np.zeros_like(like.mid))

    @property
    def largest(self) -> np.ndarray:
        """[orders] absolute values, over all cells and channels."""
        return (np.abs(self.mid) + self.rad).max(axis=(1, 2))

    def __add__(self, other: Series) -> Series:
        mid = self.mid + other.mid
        return Series(mid, (self.rad + other.rad) * (1 + 2 * FLOAT64) + FLOAT64 * np.abs(mid))

    def __mul__(self, other: Series) -> Series:
        result = Series.zeros(self)
        for k in range(len(self.mid)):
            result.put(k, _convolved(self, other, k))
        return result

    def times(self, factor: float | np.ndarray) -> Series:
        """Times a number, or one of each channel."""
        mid = self.mid * factor
        return Series(mid, self.rad * np.abs(factor) * (1 + 2 * FLOAT64) + FLOAT64 * np.abs(mid))

    def plus(self, constant: float | np.ndarray) -> Series:
        """The function plus a number, or one of each channel."""
        mid, rad = self.mid.copy(), self.rad.copy()
        mid[0] += constant
        rad[0] = rad[0] * (1 + 2 * FLOAT64) + FLOAT64 * np.abs(mid[0])
        return Series(mid, rad)

    def put(self, k: int, interval: tuple[np.ndarray, np.ndarray]) -> None:
        self.mid[k], self.rad[k] = interval


def certify(net: Net | TabulatedNet, table: Table, precision: str = "float64") -> Bound | None:
    """The bound for `table` evaluated in `precision`; None where a net has a kink, or is a table, without derivatives."""
    if isinstance(net, TabulatedNet) or is_kinked(net):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [_part(net, table, part, *EPSILONS[precision]) for part in (0, 1)]
    if not np.isfinite(parts).all():
        return None
    return Bound(*zip(*parts, strict=True))


def _part(net: Net, table: Table, part: int, epsilon: float, of_input: float) -> tuple[float, float]:
    """Of value and derivative in one sub-table, whose numbers are rounded to `epsilon` and inputs to `of_input`."""
    first, last = ((0, table.rows0), (table.rows0, table.rows0 + table.rows1))[part]
    x, h = table.positions()[first : last + 1], (table.step0, table.step1)[part]
    stored = table.nodes[first : last + 1].astype(np.float32 if epsilon == FLOAT32 else np.float64)
    error = _nodal_error(net, x, stored)
    noise = ROUNDINGS * epsilon * np.abs(stored[:, 0]).max() / (SLOPE * h**6)
    size, sixth = _largest_derivatives(net, x[0], x[-1], noise)
    shift = 2 * of_input * max(x[-1] - x[0], abs(x[0]), abs(x[-1]))
    value = VALUE * sixth * h**6 + np.dot(VALUE_WEIGHTS, error * [1, h, h**2])
    slope = SLOPE * sixth * h**5 + np.dot(SLOPE_WEIGHTS, error * [1 / h, 1, h])
    value += ROUNDINGS * epsilon * np.dot(VALUE_WEIGHTS, size * [1, h, h**2]) + shift * size[1]
    slope += ROUNDINGS * epsilon * np.dot(SLOPE_WEIGHTS, size * [1 / h, 1, h]) + shift * size[2]
    return float(value * (1 + 1e-12)), float(slope * (1 + 1e-12))


def _nodal_error(net: Net, x: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """[3]: how far stored values, slopes and curvatures [nodes, 3, M] can be from the net's."""
    exact = _enclosed(net, x, x, 3)
    factorial = np.array([1, 1, 2])[:, None, None]
    off = np.abs(stored.swapaxes(0, 1) - factorial * exact.mid) + factorial * exact.rad
    return off.max(axis=(1, 2)) * (1 + 4 * FLOAT64)


def _largest_derivatives(net: Net, lower: float, upper: float, enough: float) -> tuple[np.ndarray, float]:
    """Bounds over [lower, upper] and all channels of value, slope and curvature [3], and of the sixth derivative.

    Cells are halved while the last exceeds both `enough` and TIGHT times what it is seen to reach, if not for too long.
    """
    edges = np.sinh(np.linspace(np.arcsinh(lower), np.arcsinh(upper), FIRST_CELLS + 1))  # nets change near 0
    edges[[0, -1]] = lower, upper
    low, high = edges[:-1], edges[1:]
    enough /= math.factorial(6)
    size, settled, reached, spent = None, 0.0, 0.0, 0
    while True:
        cells, middle = _enclosed(net, low, high, 8), _enclosed(net, (low + high) / 2, (low + high) / 2, 7)
        if size is None:
            size = cells.largest[:3] * [1, 1, 2]
        sixth = _sixth(cells, middle, (high - low) / 2)
        reached = max(reached, float(np.abs(middle.mid[6]).max()))
        wide = sixth > max(TIGHT * reached, enough)
        settled = max(settled, sixth[~wide].max(initial=0.0))
        low, high, left = low[wide], high[wide], sixth[wide]
        spent += len(sixth)
        if not len(left) or spent + 2 * len(left) > MOST_CELLS:
            return size, max(settled, left.max(initial=0.0)) * math.factorial(6)
        middle = (low + high) / 2
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])


def _sixth(cells: Series, middle: Series, half: np.ndarray) -> np.ndarray:
    """[cells]: the largest coefficient 6, as enclosed, or by its value in the middle and coefficient 7 between."""
    direct, seventh = (np.abs(cells.mid[k]) + cells.rad[k] for k in (6, 7))
    half = half[:, None] * (1 + 4 * FLOAT64) + 4 * FLOAT64 * np.abs(middle.mid[0])
    stepwise = np.abs(middle.mid[6]) + middle.rad[6] + 7 * half * seventh
    return np.nan_to_num(np.fmin(direct, stepwise).max(axis=1), nan=np.inf) * (1 + 8 * FLOAT64)


# ---- a net over cells ---------------------------------------------------------------


def _enclosed(net: Net, low: np.ndarray, high: np.ndarray, orders: int) -> Series:
    """Taylor coefficients of the net over cells from low to high [cells], `orders` of them."""
    mid = np.zeros((orders, len(low), 1))
    rad = np.zeros_like(mid)
    mid[0, :, 0], mid[1] = (low + high) / 2, 1
    rad[0, :, 0] = np.where(low < high, (high - low) / 2 + 2 * FLOAT64 * np.maximum(np.abs(low), np.abs(high)), 0)
    series = Series(mid, rad)
    for layer in net.layers:
        series = _layer(series, layer)
    return series


def _layer(x: Series, layer: Layer) -> Series:
    """The layer's series; a product with n rows errs by at most n roundings of its terms."""
    weight, rounding = layer.weight, (len(layer.weight) + 2) * FLOAT64
    rad = (x.rad + rounding * np.abs(x.mid)) @ np.abs(weight) * (1 + 2 * rounding) + SMALLEST
    u = Series(x.mid @ weight, rad)
    if layer.bias is not None:
        u = u.plus(layer.bias)
    h = _ACTIVATIONS[layer.activation](u)
    if layer.idt is not None:
        h = h.times(layer.idt)
    if layer.residual:
        h = h + Series(np.tile(x.mid, layer.residual), np.tile(x.rad, layer.residual))
    return h


def _convolved(a: Series, b: Series, k: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient k of the product, from coefficients of `a` from `first` on."""
    mid_a, rad_a = a.mid[first : k + 1], a.rad[first : k + 1]
    mid_b, rad_b = b.mid[k - first :: -1], b.rad[k - first :: -1]
    size_b = np.abs(mid_b)
    rad = (np.abs(mid_a) + rad_a) * (rad_b + (k + 3) * FLOAT64 * size_b) + rad_a * size_b
    return (mid_a * mid_b).sum(axis=0), rad.sum(axis=0) * (1 + 16 * FLOAT64) + SMALLEST


def _increasing(function: Callable, u: Series) -> tuple[np.ndarray, np.ndarray]:
    """The interval of an increasing function of coefficient 0."""
    low, high = function(u.mid[0] - u.rad[0]), function(u.mid[0] + u.rad[0])
    mid = (low + high) / 2
    return mid, (high - low) / 2 + (LIBRARY + 2 * FLOAT64) * np.maximum(np.abs(low), np.abs(high)) + SMALLEST


def _integrated(u: Series, slope: Series, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient k > 0 of the function of u whose slope is the function `slope` of u: k y_k = sum of i u_i s_(k-i)."""
    order = np.arange(len(u.mid))[:, None, None]
    mid, rad = _convolved(Series(order * u.mid, order * u.rad), slope, k, first=1)
    return mid / k, rad / k * (1 + FLOAT64) + FLOAT64 * np.abs(mid)


def _tanh(u: Series) -> Series:
    """By its differential equation, y' = (1 - y²) u'."""
    y, slope = Series.zeros(u), Series.zeros(u)
    y.put(0, _increasing(np.tanh, u))
    slope.put(0, _tanh_slope(u))
    for k in range(1, len(u.mid)):
        y.put(k, _integrated(u, slope, k))
        mid, rad = _convolved(y, y, k)
        slope.put(k, (-mid, rad))
    return y


def _tanh_slope(u: Series) -> tuple[np.ndarray, np.ndarray]:
    """1 - tanh² of coefficient 0 without its cancellation, which falls with the distance from 0."""
    away = np.abs(u.mid[0])
    decay = [np.exp(-2 * end) for end in (away + u.rad[0], np.maximum(away - u.rad[0], 0))]
    low, high = (4 * e / (1 + e) ** 2 for e in decay)
    return (low + high) / 2, (high - low) / 2 + 4 * LIBRARY * (1 + away) * high + SMALLEST


def _sigmoid(u: Series) -> Series:
    return _tanh(u.times(0.5)).plus(1).times(0.5)


def _softplus(u: Series) -> Series:
    y, slope = Series.zeros(u), _sigmoid(u)
    y.put(0, _increasing(partial(np.logaddexp, 0), u))
    for k in range(1, len(u.mid)):
        y.put(k, _integrated(u, slope, k))
    return y


def _silu(u: Series) -> Series:
    return u * _sigmoid(u)


def _gelu(cubic: float, u: Series) -> Series:
    inner = (u + (u * u * u).times(cubic)).times(math.sqrt(2 / math.pi))
    return u * _tanh(inner).plus(1).times(0.5)


_ACTIVATIONS = {
    "linear": lambda u: u,
    "tanh": _tanh,
    **{name: partial(_gelu, cubic) for name, cubic in GELU_CUBIC.items()},
    "softplus": _softplus,
    "sigmoid": _sigmoid,
    "silu": _silu,
}


# ---- what forces make of it ---------------------------------------------------------


def force_estimate(
    tables: Sequence[Table], bounds: Sequence[Bound], responses: Callable[[list[Table]], list[np.ndarray]]
) -> float:
    """The largest change that tables off by their bounds, each number in the worse direction, make in any response.

    responses(tables): arrays of forces, the same for each call. To first order a response changes by sum a_k t_k for
    changes t_k of nodal numbers; for t_k independent and Cauchy-distributed with width e_k its median modulus is
    sum |a_k| e_k, which is what changes of up to e_k can do. Estimated from DRAWS draws.
    """
    amplified = LINEAR / max(max(bound.derivative) for bound in bounds)
    plain = np.concatenate([response.ravel() for response in responses(list(tables))])
    changes = []
    for drawn in _draws(tables, bounds, amplified):
        changed = np.concatenate([response.ravel() for response in responses(drawn)])
        changes.append(np.abs(changed - plain))
    return float(np.median(changes, axis=0).max() / amplified)


def _draws(tables: Sequence[Table], bounds: Sequence[Bound], factor: float) -> Iterator[list[Table]]:
    """Tables with values and slopes of their nodes changed, DRAWS times."""
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        drawn = []
        for table, bound in zip(tables, bounds, strict=True):
            rows = [table.rows0 + 1, table.rows1]
            width = [np.repeat(bound.value, rows), np.repeat(bound.derivative, rows), np.zeros(sum(rows))]
            change = np.clip(rng.standard_cauchy(table.nodes.shape), -1e3, 1e3)
            drawn.append(replace(table, nodes=table.nodes + factor * change * np.stack(width, axis=1)[:, :, None]))
        yield drawn
