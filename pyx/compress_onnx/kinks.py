"""kinks - tables of piecewise linear nets (relu, relu6), exact because every kink is one of their nodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .model import Net
from .nets import LEVELS, activate, derivatives
from .tabulate import Grid, Table, divide, hermite

APART = 1e-12  # of the range: kinks nearer than that are one


@dataclass(frozen=True, eq=False)
class BrokenTable(Table):
    """Intervals between `breaks`, each with nodes of its own at both ends: nodes [2 (rows0 + rows1), 3, M]."""

    breaks: np.ndarray  # [rows0 + rows1 + 1], ascending; step0 and step1 are the mean widths

    @property
    def upper(self) -> float:
        return float(self.breaks[self.rows0])

    @property
    def maximum(self) -> float:
        return float(self.breaks[-1])

    def positions(self) -> np.ndarray:
        return self.breaks

    def steps(self) -> np.ndarray:
        return np.diff(self.breaks)

    def evaluate(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and derivative at x [n], each [n, M]."""
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, self.lower, self.maximum)
        row = np.clip(np.searchsorted(self.breaks, inside, side="right") - 1, 0, len(self.breaks) - 2)
        h = self.steps()[row]
        value, slope = hermite((inside - self.breaks[row]) / h, h, self.nodes[2 * row], self.nodes[2 * row + 1])
        return value + slope * (x - inside)[:, None], slope

    def first_part(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes of the first sub-table and the width of the interval that each belongs to."""
        return self.nodes[: 2 * self.rows0], np.repeat(self.steps()[: self.rows0], 2)


def linear_table(net: Net, grid: Grid) -> BrokenTable:
    """The table of a piecewise linear net over the two ranges of `grid`."""
    lower, upper, end = grid.lower, grid.upper, grid.maximum
    breaks = np.array([lower, upper, end])
    for depth, layer in enumerate(net.layers):
        if layer.activation in LEVELS:
            sums = _sums(net, depth, breaks)
            crossings = [_crossings(breaks, sums - level) for level in LEVELS[layer.activation]]
            breaks = _merged(np.concatenate([breaks, *crossings]), (lower, upper, end))
    rows0 = int(np.searchsorted(breaks, upper))
    value = derivatives(net, breaks)[0]
    slope = np.diff(value, axis=0) / np.diff(breaks)[:, None]
    ends = np.stack([value[:-1], value[1:]], axis=1).reshape(-1, net.width)
    nodes = np.stack([ends, np.repeat(slope, 2, axis=0), np.zeros_like(ends)], axis=1)
    grid = divide(grid, rows0, len(breaks) - 1 - rows0)
    return BrokenTable(**asdict(grid), nodes=nodes, breaks=breaks)


def _sums(net: Net, depth: int, x: np.ndarray) -> np.ndarray:
    """What layer `depth` applies its activation to, [n, width]."""
    state = x[:, None]
    for layer in net.layers[: depth + 1]:
        sums = state @ layer.weight + (0 if layer.bias is None else layer.bias)
        h = activate(layer.activation, sums)[0] * (1 if layer.idt is None else layer.idt)
        state = h + np.tile(state, layer.residual) if layer.residual else h
    return sums


def _crossings(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the straight lines between points x [n], y [n, width] cross zero."""
    row, column = np.nonzero((y[:-1] < 0) != (y[1:] < 0))
    left, right = y[row, column], y[row + 1, column]
    return x[row] + (x[row + 1] - x[row]) * left / (left - right)


def _merged(x: np.ndarray, fixed: tuple[float, ...]) -> np.ndarray:
    """Sorted, of points that are one only one; the fixed ones stay as they are."""
    near = APART * (max(fixed) - min(fixed))
    x = np.sort(x[np.abs(x[:, None] - np.array(fixed)).min(axis=1) > near])
    x = x[np.append(True, np.diff(x) > near)] if len(x) else x
    return np.sort(np.concatenate([x, fixed]))
