"""tabulate - embedding nets to tables of nodal values, with the measured error of each.

A table has two sub-tables: intervals of `step0` over the range that the training data reaches, then
intervals of `step1` for atoms closer than that. Between nodes it is the quintic Hermite interpolant of
value, first and second derivative; outside it goes on as its tangent (docs/format.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from .model import Model, Net, SeA, Switch
from .nets import derivatives

FEWEST_ROWS, MOST_ROWS = 16, 8192  # of a sub-table: where automatic strides begin, and where they give up
# Where in an interval the error of a quintic Hermite interpolant is largest: derivative, value, derivative.
SAMPLES = np.array([0.5 - math.sqrt(0.05), 0.5, 0.5 + math.sqrt(0.05)])


@dataclass(frozen=True)
class Grid:
    """The nodes of one table. Counts are integers, so that bounds follow from them and never the reverse."""

    name: str
    lower: float
    step0: float
    rows0: int
    step1: float
    rows1: int

    @property
    def upper(self) -> float:
        """End of the first sub-table."""
        return self.lower + self.rows0 * self.step0

    @property
    def maximum(self) -> float:
        """End of the second sub-table."""
        return self.upper + self.rows1 * self.step1

    def steps(self) -> np.ndarray:
        """Width of each interval, [rows0 + rows1]."""
        return np.repeat([self.step0, self.step1], [self.rows0, self.rows1])

    def positions(self) -> np.ndarray:
        """The nodes, [rows0 + rows1 + 1]."""
        first = self.lower + self.step0 * np.arange(self.rows0)
        return np.concatenate([first, self.upper + self.step1 * np.arange(self.rows1 + 1)])


@dataclass(frozen=True, eq=False)
class Table(Grid):
    nodes: np.ndarray  # [rows0 + rows1 + 1, 3, M] value, first and second derivative

    @property
    def grid(self) -> Grid:
        """The same without its nodal values."""
        return Grid(**{part.name: getattr(self, part.name) for part in fields(Grid)})

    def coefficients(self) -> np.ndarray:
        """The polynomial of each interval in x - node, constant term first: DeePMD-kit's form, [rows, M, 6]."""
        h = self.steps()[:, None]
        (f0, d0, c0), (f1, d1, c1) = self.nodes[:-1].swapaxes(0, 1), self.nodes[1:].swapaxes(0, 1)
        rise = f1 - f0
        a3 = (20 * rise - (8 * d1 + 12 * d0) * h - (3 * c0 - c1) * h**2) / (2 * h**3)
        a4 = (-30 * rise + (14 * d1 + 16 * d0) * h + (3 * c0 - 2 * c1) * h**2) / (2 * h**4)
        a5 = (12 * rise - 6 * (d1 + d0) * h + (c1 - c0) * h**2) / (2 * h**5)
        return np.stack([f0, d0, c0 / 2, a3, a4, a5], axis=-1)

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and derivative at x [n], each [n, M]."""
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, self.lower, self.maximum)
        positions = self.positions()
        row = np.clip(np.searchsorted(positions, inside, side="right") - 1, 0, len(positions) - 2)
        h = self.steps()[row]
        value, slope = hermite((inside - positions[row]) / h, h, self.nodes[row], self.nodes[row + 1])
        return value + slope * (x - inside)[:, None], slope


def hermite(u: np.ndarray, h: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative [n, M] at offsets u [n] in [0, 1] of intervals of width h [n] between nodes [n, 3, M]."""
    basis = [
        1 + u**3 * (-10 + u * (15 - 6 * u)),
        h * u * (1 + u**2 * (-6 + u * (8 - 3 * u))),
        h**2 * u**2 / 2 * (1 - u) ** 3,
        u**3 * (10 + u * (-15 + 6 * u)),
        h * u**3 * (-4 + u * (7 - 3 * u)),
        h**2 * u**3 / 2 * (1 - u) ** 2,
    ]
    ends = (u * (1 - u)) ** 2
    slope = [
        -30 * ends / h,
        1 + u**2 * (-18 + u * (32 - 15 * u)),
        h * u * (1 - u) ** 2 * (1 - 2.5 * u),
        30 * ends / h,
        u**2 * (-12 + u * (28 - 15 * u)),
        h * u**2 * (1 - u) * (1.5 - 2.5 * u),
    ]
    nodes = np.concatenate([left, right], axis=1)
    return np.einsum("kn,nkm->nm", basis, nodes), np.einsum("kn,nkm->nm", slope, nodes)


@dataclass(frozen=True)
class SampledError:
    """Largest error of a table's value and derivative, in its first and in its second sub-table."""

    value: tuple[float, float]
    derivative: tuple[float, float]

    def worst(self, part: int) -> float:
        return max(self.value[part], self.derivative[part])


def make(net: Net, grid: Grid) -> Table:
    """The table of `net` on the nodes of `grid`."""
    nodes = np.stack(derivatives(net, grid.positions()), axis=1)
    return Table(**asdict(grid), nodes=nodes)


def sampled_error(net: Net, table: Table) -> SampledError:
    """The error of `table` where that of an interpolant is largest, three points of each interval."""
    x = (table.positions()[:-1, None] + table.steps()[:, None] * SAMPLES).ravel()
    pairs = zip(derivatives(net, x), table.evaluate(x), strict=False)  # of value, then of derivative
    first = len(SAMPLES) * table.rows0
    errors = [np.abs(exact - tabulated).max(axis=1) for exact, tabulated in pairs]
    parts = ((error[:first], error[first:]) for error in errors)
    return SampledError(*((float(a.max()), float(b.max())) for a, b in parts))


def switch_value(switch: Switch, r: float) -> float:
    """sw(r): 1 up to switch.smooth, 0 from switch.cutoff on."""
    if r >= switch.cutoff:
        return 0.0
    u = max((r - switch.smooth) / switch.width, 0.0)
    return u**3 * (u * (15 - 6 * u) - 10) + 1


def input_range(descriptor: SeA, index: int, distance: float) -> tuple[float, float]:
    """Whole numbers around the inputs of net `index` at distances from `distance` Å on, padded slots included."""
    used = _users(descriptor, index).any(axis=1)
    if not used.any():
        return 0.0, 1.0
    mean, std = descriptor.mean[used, 0], descriptor.std[used, 0]
    nearest = switch_value(descriptor.switch, distance) / (distance + descriptor.switch.protection)
    lower, upper = np.floor(-mean / std).min(), np.ceil((nearest - mean) / std).max()
    return float(lower) + 0.0, float(max(upper, lower + 1)) + 0.0  # + 0.0: no negative zero


def _users(descriptor: SeA, index: int) -> np.ndarray:
    """Which pairs (centre, neighbour) of types go through net `index`, bool [nt, nt]."""
    return (descriptor.net == index) | (descriptor.pad_net == index)


def table_name(descriptor: SeA, index: int) -> str:
    """The seed's name for net `index`: filter_CENTRE_net_NEIGHBOUR, centre -1 for all."""
    centres, neighbours = np.nonzero(_users(descriptor, index))
    if not len(centres):
        return f"unused_{index}"
    centre = -1 if descriptor.type_one_side else centres[0]
    return f"filter_{centre}_net_{neighbours[0]}"


def fixed_grid(name: str, lower: float, upper: float, extrapolate: float, step0: float, step1: float) -> Grid:
    """Intervals of exactly these steps; a range that is no multiple of its step is enlarged to one."""
    grid = Grid(name, lower, step0, count_rows(upper - lower, step0), step1, 1)
    return replace(grid, rows1=count_rows(max(extrapolate * upper - grid.upper, 0), step1))


def count_rows(length: float, step: float) -> int:
    """Steps that cover `length`, at least one; 11 / 0.01 is 1100 whatever its rounding."""
    return max(1, math.ceil(length / step * (1 - 1e-12)))


def model_grids(model: Model, distance: float, extrapolate: float, step: float) -> list[Grid]:
    """The seed's two sub-tables, of `step` and 10 `step`, for each net of the model."""
    grids = []
    for index in range(len(model.descriptor.nets)):
        lower, upper = input_range(model.descriptor, index, distance)
        name = table_name(model.descriptor, index)
        grids.append(fixed_grid(name, lower, upper, extrapolate, step, 10 * step))
    return grids


def refine(net: Net, grid: Grid, targets: Sequence[float]) -> tuple[Table, SampledError]:
    """Over the ranges of `grid`, the first table whose sampled errors in its two parts meet `targets`, or the finest.

    Errors fall with the fifth power of a step: each try takes the rows that this predicts, at most twice as many.
    """
    rows = [FEWEST_ROWS, FEWEST_ROWS]
    while True:
        table = make(net, divide(grid, *rows))
        error = sampled_error(net, table)
        wanted = [more_rows(rows[part], error.worst(part) / targets[part]) for part in (0, 1)]
        if wanted == rows:
            return table, error
        rows = wanted


def more_rows(rows: int, excess: float) -> int:
    """What to try after `rows`, whose error is `excess` times what it may be."""
    if excess <= 1:
        return rows
    return min(math.ceil(rows * min(max(excess**0.2, 1.05), 2)), MOST_ROWS)


def divide(grid: Grid, rows0: int, rows1: int) -> Grid:
    """The same two ranges in so many intervals."""
    first, second = grid.upper - grid.lower, grid.maximum - grid.upper
    return replace(grid, step0=first / rows0, rows0=rows0, step1=second / rows1, rows1=rows1)
