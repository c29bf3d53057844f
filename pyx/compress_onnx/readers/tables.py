"""tables - what dp compress leaves in place of embedding nets and of nets of pairs of types, taken over as it is.

Its tables are quintics too, over the same two ranges as ours; of three bodies there is a third range, below these and as
coarse as the last, which is divided here as the first. Only the values and derivatives at nodes are taken: the other
coefficients follow from these, and are wrong in two intervals of three bodies' tables.
"""

from __future__ import annotations

import numpy as np

from ..model import Grid, ModelError, TabulatedNet
from ..nets import derivatives
from . import parts

_FINER = 100  # times the intervals that a table has, at most; their strides differ by ten
_REMEDY = "give the original, uncompressed model"


def tabulated(data: object, info: object, three_bodies: bool, name: str) -> TabulatedNet:
    """data [rows, 6 width]: coefficients, constant term first; info: lower, upper, end, strides, and a number not used."""
    lower, upper, end, step0, step1, _ = parts.array(info, f"ranges of {name}", (6,)).tolist()
    data = parts.array(data, name)
    start = -end if three_bodies else lower
    below, first, second = (
        _rows(*part, name) for part in ((lower - start, step1), (upper - lower, step0), (end - upper, step1))
    )
    if data.ndim != 2 or data.shape[1] % 6 or len(data) != below + first + second:
        raise ModelError(f"{name} has shape {data.shape}, which does not fit its ranges: the file is damaged")
    # float32 files have rounded strides
    step0, step1 = (upper - lower) / first, (end - upper) / second
    coefficients = np.moveaxis(data.reshape(len(data), -1, 6), 2, 0)  # [6, rows, width]
    powers = step1 ** np.arange(6)[:, None]
    falling = np.array([np.ones(6), np.arange(6), np.arange(6) * np.arange(-1, 5)])[:, :, None]
    end_of_last = (falling * coefficients[:, -1] * powers / step1 ** np.arange(3)[:, None, None]).sum(axis=1)
    nodes = np.stack([coefficients[0], coefficients[1], 2 * coefficients[2]], axis=1)
    nodes = np.concatenate([nodes, end_of_last[None]])
    if not below:
        return TabulatedNet(Grid("", lower, step0, first, step1, second), nodes)
    coarse = TabulatedNet(Grid("", start, step1, below, step0, first), nodes[: below + first + 1])
    grid = Grid("", start, step0, _rows(upper - start, step0, name), step1, second)
    if grid.rows0 > _FINER * len(data):
        raise ModelError(f"{name} has strides of {step0:g} and {step1:g}: the file is damaged")
    finer = np.stack(derivatives(coarse, grid.positions()[: grid.rows0]), axis=1)
    return TabulatedNet(grid, np.concatenate([finer, nodes[below + first :]]))


def _rows(length: float, step: float, name: str) -> int:
    """How many steps there are in a range, of which they must be a whole number."""
    rows = round(length / step) if step > 0 <= length else -1
    if rows < 0 or abs(rows - length / step) > 1e-3:
        raise parts.unsupported(f"{name} with strides of which its ranges are no multiples", _REMEDY)
    return rows


def factors(stored: object, types: int, one_side: bool) -> np.ndarray:
    """[types, types, channels] by centre and neighbour, from a table that has an empty slot after the types."""
    table = parts.array(stored, "table of types")
    if one_side:
        return np.repeat(table[None, :types], types, axis=0)
    if len(table) != (types + 1) ** 2:
        raise ModelError(f"the table of pairs of types has {len(table)} rows for {types} types: the file is damaged")
    return table.reshape(types + 1, types + 1, -1)[:types, :types]


def in_place_of_nets(tree: dict, three_bodies: bool) -> dict:
    """A native dictionary of a descriptor with the tables that `compress` holds where others have nets."""
    stored, compressed = tree["compress"]["@variables"], dict(tree)
    del compressed["compress"]
    if stored.get("type_embd_data") is not None:
        compressed["table_of_types"] = stored["type_embd_data"]
    if tree["compress"].get("geo_compress", True):
        tables = [
            None if data is None or np.size(data) == 0 else tabulated(data, info, three_bodies, f"table {number}")
            for number, (data, info) in enumerate(zip(stored["compress_data"], stored["compress_info"], strict=True))
        ]
        if len(tables) != len(tree["embeddings"]["networks"]):
            raise ModelError(f"there are {len(tables)} tables for other embedding nets: the file is damaged")
        compressed["embeddings"] = {**tree["embeddings"], "networks": tables}
    return compressed
