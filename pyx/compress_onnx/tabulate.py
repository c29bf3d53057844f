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

from .model import Descriptor, Grid, Model, Net, Switch, TabulatedNet, ThreeBody, TwoBody
from .nets import derivatives, quintics

CLOSEST = 2.5  # times as near as the smallest distance of the training data, for negative products of three bodies
FEWEST_ROWS, MOST_ROWS = 16, 8192  # of a sub-table: where automatic strides begin, and where they give up
# Where in an interval the error of a quintic Hermite interpolant is largest: derivative, value, derivative.
SAMPLES = np.array([0.5 - math.sqrt(0.05), 0.5, 0.5 + math.sqrt(0.05)])


@dataclass(frozen=True, eq=False)
class Table(Grid):
    nodes: np.ndarray  # [rows0 + rows1 + 1, 3, M] value, first and second derivative

    @property
    def grid(self) -> Grid:
        """The same without its nodal values."""
        return Grid(**{part.name: getattr(self, part.name) for part in fields(Grid)})

    def first_part(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes of the first sub-table and the width of the intervals that each belongs to."""
        return self.nodes[: self.rows0 + 1], np.full(self.rows0 + 1, self.step0)

    def coefficients(self) -> np.ndarray:
        """The polynomial of each interval in x - node, constant term first: DeePMD-kit's form, [rows, M, 6]."""
        return quintics(self.steps(), self.nodes[:-1], self.nodes[1:])

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


def make(net: Net | TabulatedNet, grid: Grid) -> Table:
    """The table of `net` on the nodes of `grid`."""
    nodes = np.stack(derivatives(net, grid.positions()), axis=1)
    return Table(**asdict(grid), nodes=nodes)


def sampled_error(net: Net | TabulatedNet, table: Table, points: np.ndarray = SAMPLES) -> SampledError:
    """The error of `table` at `points` of each interval, from 0 to 1: by default where an interpolant errs the most."""
    x = (table.positions()[:-1, None] + table.steps()[:, None] * points).ravel()
    pairs = zip(derivatives(net, x), table.evaluate(x), strict=False)  # of value, then of derivative
    first = len(points) * table.rows0
    errors = [np.abs(exact - tabulated).max(axis=1) for exact, tabulated in pairs]
    parts = ((error[:first], error[first:]) for error in errors)
    return SampledError(*((float(a.max()), float(b.max())) for a, b in parts))


def switch_value(switch: Switch, r: float | np.ndarray) -> np.ndarray:
    """sw(r): 1 up to switch.smooth, 0 from switch.cutoff on."""
    u = np.maximum((r - switch.smooth) / switch.width, 0)
    return np.where(r < switch.cutoff, u**3 * (u * (15 - 6 * u) - 10) + 1, 0)


def input_range(descriptor: Descriptor, index: int, distance: float) -> tuple[float, float]:
    """Whole numbers around the inputs of net `index` at distances from `distance` Å on, padded slots included."""
    used = net_users(descriptor, index)
    if isinstance(descriptor, ThreeBody):
        return _product_range(descriptor, distance) if used.any() else (0.0, 1.0)
    pads = _uses(descriptor, index, descriptor.pad_net)
    if not used.any() and not pads.any():
        return 0.0, 1.0
    centres = used.any(axis=1) | pads.any(axis=1)
    mean, std = descriptor.mean[centres, 0], descriptor.std[centres, 0]
    nearest = switch_value(descriptor.switch, distance) / (distance + descriptor.switch.protection)
    # the smallest: at the cutoff, in an empty slot, or 0 in an excluded one
    empty = descriptor.pad_env[pads][:, 0].min(
        initial=0 if _uses(descriptor, index, descriptor.mask_net).any() else np.inf
    )
    lower = math.floor(min((-mean / std).min(), empty))
    upper = np.ceil((nearest - mean) / std).max()
    return float(lower) + 0.0, float(max(upper, lower + 1)) + 0.0  # + 0.0: no negative zero


def _product_range(descriptor: ThreeBody, distance: float) -> tuple[float, float]:
    """The same for products of two environments, whose angle may be any."""
    length = switch_value(descriptor.switch, distance) * distance / (distance + descriptor.switch.protection) ** 2
    upper = math.ceil((length / descriptor.std[:, 1:].min()) ** 2)
    return -float(upper), float(upper)


def _uses(descriptor: Descriptor, index: int, table: np.ndarray | None) -> np.ndarray:
    """Where `table` of variants leads to net `index`."""
    if table is None:
        return np.zeros(1, bool)
    return (table >= 0) & (descriptor.variants[table] == index)


def net_users(descriptor: Descriptor, index: int) -> np.ndarray:
    """Which pairs of types go through net `index`, bool [nt, nt]."""
    return _uses(descriptor, index, descriptor.net) | _uses(descriptor, index, descriptor.gate_net)


def table_name(descriptor: Descriptor, index: int) -> str:
    """The seed's name for net `index`: filter_CENTRE_net_NEIGHBOUR, centre -1 for all; filter_net where types share it."""
    used = net_users(descriptor, index)
    first, second = np.nonzero(used)
    if not len(first):
        return f"unused_{index}"
    if used.all() and used.size > 1:
        return "filter_net"
    centre = -1 if isinstance(descriptor, TwoBody) and descriptor.type_one_side else first[0]
    return f"filter_{centre}_net_{second[0]}"


def fixed_grid(name: str, lower: float, upper: float, extrapolate: float, step0: float, step1: float) -> Grid:
    """Intervals of exactly these steps; a range that is no multiple of its step is enlarged to one."""
    grid = Grid(name, lower, step0, count_rows(upper - lower, step0), step1, 1)
    return replace(grid, rows1=count_rows(max(extrapolate * upper - grid.upper, 0), step1))


def count_rows(length: float, step: float) -> int:
    """Steps that cover `length`, at least one; 11 / 0.01 is 1100 whatever its rounding."""
    return max(1, math.ceil(length / step * (1 - 1e-12)))


def model_grids(model: Model, distance: float, extrapolate: float, step: float) -> list[Grid]:
    """The seed's two sub-tables, of `step` and 10 `step`, for each net of the model.

    Of three bodies ten times as wide, since their input grows with the square of 1/r; it may be as far below 0.
    Where a file has a table in place of a net, that table's own.
    """
    grids = []
    for number, descriptor in enumerate(model.descriptors):
        prefix = f"descriptor_{number}_" if len(model.descriptors) > 1 else ""
        for index, net in enumerate(descriptor.nets):
            lower, upper = input_range(descriptor, index, distance)
            name = prefix + table_name(descriptor, index)
            if isinstance(net, TabulatedNet):
                grids.append(replace(net.grid, name=name))
            elif isinstance(descriptor, ThreeBody):
                lower *= min(extrapolate, CLOSEST)  # one of the two neighbours closer than in the training data
                grids.append(fixed_grid(name, lower, upper, extrapolate**2, 10 * step, 100 * step))
            else:
                grids.append(fixed_grid(name, lower, upper, extrapolate, step, 10 * step))
    return grids


def is_tabulated(model: Model) -> bool:
    """Whether the file has tables in place of nets, of an earlier compression."""
    return any(isinstance(net, TabulatedNet) for net in model_nets(model))


def taken_over(model: Model) -> list[str]:
    """What a user should know of a model with tables of an earlier compression."""
    if not is_tabulated(model):
        return []
    notes = ["dp compress has made its tables, which are taken over as they are: those made of the original are better"]
    if any(isinstance(d, ThreeBody) and isinstance(d.nets[0], TabulatedNet) for d in model.descriptors):
        notes.append(
            "DeePMD-kit's tables of three bodies are wrong in two intervals, where their strides change: "
            "there the written file has what their values at both ends say"
        )
    return notes


def model_nets(model: Model) -> list[Net | TabulatedNet]:
    """What model_grids has a grid for."""
    return [net for descriptor in model.descriptors for net in descriptor.nets]


def first_parts(descriptor: TwoBody, tables: Sequence[Table], centre: int) -> tuple[np.ndarray, np.ndarray]:
    """First sub-tables of all variants that atoms of type `centre` use, one after the other: [nodes, 3, channels].

    In the order of `used_variants`; `tables` are those of the descriptor's nets. And the width of each node's interval.
    """
    parts, steps = [], []
    for variant in used_variants(descriptor, centre):
        nodes, widths = tables[descriptor.variants[variant]].first_part()
        parts.append(nodes if descriptor.scale is None else nodes * descriptor.scale[variant])
        steps.append(widths)
    return np.concatenate(parts), np.concatenate(steps)


def used_variants(descriptor: TwoBody, centre: int) -> list[int]:
    """Variants that atoms of type `centre` need: of their neighbours, then gated ones, then of empty slots; each once."""
    rows = (part[centre] for part in (descriptor.net, descriptor.gate_net, descriptor.pad_net) if part is not None)
    return [int(variant) for variant in dict.fromkeys(np.concatenate(list(rows)).tolist()) if variant >= 0]


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
