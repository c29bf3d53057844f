"""evidence - what reports and plots of a compressed file show: its tables, forces, inputs and times beside the original."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .engine import open_engine
from .kinks import BrokenTable
from .model import Descriptor, ModelError, Term, ThreeBody
from .nets import derivatives
from .onnxfile import read_metadata
from .probe import Probe
from .tabulate import Grid, Table, net_users, switch_value
from .tensors import prefixes
from .validate import Comparison, Reference, Validation

POINTS = 400  # of a curve
NEAREST = 0.7  # of the smallest distance: where curves over distances begin
CHANNELS = 6  # that curves are shown of
REPEATS = 5


@dataclass(frozen=True)
class TableCurves:
    """A table against its net, over distances in Å where its input is one of a pair; arrays [POINTS, ...]."""

    facts: dict  # as in the file's metadata
    pair: str  # the types whose distances these are; "" where `at` is the table's input itself
    at: np.ndarray
    border: float  # distances below it are in the second sub-table
    error: np.ndarray  # largest of all channels: of the value
    slope_error: np.ndarray  # of the derivative by the table's input
    exact: np.ndarray  # [POINTS, CHANNELS] some of the net's channels
    tabulated: np.ndarray
    inputs: np.ndarray  # [n] all inputs in the frames compared on

    @property
    def span(self) -> tuple[float, float]:
        """What to show of the inputs: all, and the first sub-table, but not far beyond the second."""
        lower, upper, end = (self.facts[name] for name in ("lower", "upper", "max"))
        return self.inputs.min(initial=lower), min(self.inputs.max(initial=upper), 1.2 * end)

    @property
    def label(self) -> str:
        """What `at` is."""
        return f"distance {self.pair}, Å" if self.pair else "input, a product of two environments"


@dataclass(frozen=True)
class Evidence:
    """Forces in eV/Å, or of another kind of model in its Scale."""

    name: str
    kind: str
    properties: dict[str, str]  # metadata of the file
    bytes: int
    validation: Validation
    original: np.ndarray  # [n] components of forces
    compressed: np.ndarray
    tables: list[TableCurves]
    stages: dict[str, float]  # µs per atom; empty where libdpc does not evaluate the file


def gather(comparison: Comparison, *others: Comparison) -> Evidence:
    """What there is to see of a comparison; of one, so that it cannot be that of an ensemble."""
    if others:
        raise ModelError(f"{comparison.path}: is an ensemble, and only single models are drawn; compress one of them.")
    path, reference = Path(comparison.path), comparison.reference
    properties, response = read_metadata(path), reference.scale.response
    return Evidence(
        name=path.name,
        kind=reference.model.kind,
        properties=properties,
        bytes=path.stat().st_size,
        validation=comparison.validation,
        original=np.concatenate([response(result).ravel() for result in reference.results]),
        compressed=np.concatenate([response(result).ravel() for result in comparison.results]),
        tables=list(_tables(path, reference, properties)),
        stages=_stages(path, reference.frames[0]),
    )


def _stages(path: str | Path, frame: Probe) -> dict[str, float]:
    engine = open_engine(path)
    if engine.runtime != "native":
        return {}
    workspace = engine.create_workspace(engine.model)
    runs = [
        workspace.compute(frame.coord, frame.atype, frame.cell, timed=True, **frame.parameters)["stages"]
        for _ in range(REPEATS)
    ]
    return {name: 1e6 / len(frame.coord) * min(run[name] for run in runs) for name in runs[0]}


# ---- tables -------------------------------------------------------------------------


def _tables(path: str | Path, reference: Reference, properties: dict[str, str]) -> Iterator[TableCurves]:
    model, facts = reference.model, json.loads(properties.get("tables", "[]"))
    if not facts:
        return
    distance = NEAREST * float(properties["min_distance"])
    stored = iter(zip(facts, stored_tables(path, model.terms, [fact["name"] for fact in facts]), strict=True))
    for descriptor in model.descriptors:
        inputs = table_inputs(descriptor, reference.frames)
        for index in range(len(descriptor.nets)):
            yield _curves(*next(stored), descriptor, index, model.all_types, distance, inputs[index])


def _curves(
    facts: dict,
    table: Table,
    descriptor: Descriptor,
    index: int,
    type_map: tuple[str, ...],
    distance: float,
    inputs: np.ndarray,
) -> TableCurves:
    net, users = descriptor.nets[index], np.argwhere(net_users(descriptor, index))
    pair, border = "", -np.inf
    if isinstance(descriptor, ThreeBody) or not len(users):
        ends = np.quantile(inputs, [0.001, 0.999]) if len(inputs) else (table.lower, table.upper)
        at = x = np.linspace(*ends, POINTS)
    else:
        centre, neighbour = users[0]
        pair = f"{type_map[centre]}-{type_map[neighbour]}"
        at = np.linspace(distance, descriptor.switch.cutoff, POINTS)
        x = _input(descriptor, centre, at)
        border = at[x > table.upper].max(initial=border)
    exact, tabulated = derivatives(net, x), table.evaluate(x)
    error, slope_error = (np.abs(a - b).max(axis=1) for a, b in zip(exact, tabulated, strict=False))
    shown = np.linspace(0, net.width - 1, min(CHANNELS, net.width)).astype(int)
    return TableCurves(facts, pair, at, border, error, slope_error, exact[0][:, shown], tabulated[0][:, shown], inputs)


def stored_tables(path: str | Path, terms: Sequence[Term], names: Sequence[str]) -> list[Table]:
    """The tables of a compressed file, as they are in it; `names` of all of them."""
    import onnx
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in onnx.load(os.fspath(path)).graph.initializer}
    tables: list[Table] = []
    for number, term in enumerate(terms):
        for prefix in (f"{number}/" * (number > 0) + own for own in prefixes(term)):
            broken = ("breaks", "breaks_first") if prefix + "breaks" in tensors else ()
            try:
                parts = {
                    name: numpy_helper.to_array(tensors[prefix + name]) for name in ("grid", "rows", "table", *broken)
                }
            except KeyError as error:
                raise ModelError(f"{path}: has no {error.args[0]}; write it again.") from None
            tables += _split(parts, names[len(tables) :])
    return tables


def _split(parts: dict[str, np.ndarray], names: Sequence[str]) -> Iterator[Table]:
    """The tables that a descriptor's tensors hold."""
    first, nodes = 0, parts["table"].astype(np.float64)
    borders = parts.get("breaks_first", np.zeros(len(parts["rows"]) + 1, int))
    for k, ((lower, step0, step1), rows) in enumerate(zip(parts["grid"].tolist(), parts["rows"].tolist(), strict=True)):
        grid = Grid(names[k], lower, step0, rows[0], step1, rows[1])
        broken = borders[k] < borders[k + 1]
        last = first + (2 * sum(rows) if broken else sum(rows) + 1)
        if broken:
            breaks = parts["breaks"][borders[k] : borders[k + 1]]
            yield BrokenTable(**asdict(grid), nodes=nodes[first:last], breaks=breaks)
        else:
            yield Table(**asdict(grid), nodes=nodes[first:last])
        first = last


# ---- inputs of tables ---------------------------------------------------------------


def table_inputs(descriptor: Descriptor, frames: Sequence[Probe]) -> list[np.ndarray]:
    """For each net of the descriptor, all inputs of its table in these frames."""
    found: list[list[np.ndarray]] = [[] for _ in descriptor.nets]
    for frame in frames:
        inputs, first, second = (_products if isinstance(descriptor, ThreeBody) else _pairs)(descriptor, frame)
        for index, values in enumerate(found):
            values.append(inputs[net_users(descriptor, index)[first, second]])
    return [np.concatenate(values) for values in found]


def _pairs(descriptor: Descriptor, frame: Probe) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input of each pair within the cutoff, type of its centre and of its neighbour."""
    centre, neighbour, vector = _neighbours(descriptor, frame)
    first, second = frame.atype[centre], frame.atype[neighbour]
    return _input(descriptor, first, np.linalg.norm(vector, axis=1)), first, second


def _products(descriptor: Descriptor, frame: Probe) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input of each pair of neighbours of one atom, and their types."""
    centre, neighbour, vector = _neighbours(descriptor, frame)
    r = np.linalg.norm(vector, axis=1)
    size = switch_value(descriptor.switch, r) / (r + descriptor.switch.protection) ** 2
    env = size[:, None] * vector / descriptor.std[frame.atype[centre], 1:]
    members = [np.flatnonzero(centre == atom) for atom in range(len(frame.coord))]
    j = np.concatenate([np.repeat(own, len(own)) for own in members])
    k = np.concatenate([np.tile(own, len(own)) for own in members])
    return np.einsum("nc,nc->n", env[j], env[k]), frame.atype[neighbour[j]], frame.atype[neighbour[k]]


def _neighbours(descriptor: Descriptor, frame: Probe) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all pairs within the cutoff: centre, neighbour, vector from one to the other in Å."""
    from . import _core

    cell = frame.cell if frame.cell.any() else None
    first, index, shift = _core.Neighbours().build(frame.coord, cell, descriptor.switch.cutoff).arrays()
    centre = np.repeat(np.arange(len(frame.coord)), np.diff(first))
    real = (frame.atype[centre] >= 0) & (frame.atype[index] >= 0)
    vector = frame.coord[index] + shift @ frame.cell - frame.coord[centre]
    return centre[real], index[real], vector[real]


def _input(descriptor: Descriptor, centre: int | np.ndarray, r: np.ndarray) -> np.ndarray:
    """Of the table of a pair, at distances r from atoms of type `centre`."""
    s = switch_value(descriptor.switch, r) / (r + descriptor.switch.protection)
    return (s - descriptor.mean[centre, 0]) / descriptor.std[centre, 0]
