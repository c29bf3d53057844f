"""angles - sums over pairs of neighbours, forward and backward: ours in node space, and plain loops.

Ours are the stages of an evaluation that do it, which also find the derivatives of the environment and the forces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fused
import numpy as np
from compress_onnx import _core, readers
from compress_onnx.bench import timed
from compress_onnx.model import Model
from compress_onnx.tabulate import Grid, count_rows, make
from measure import Rounds
from rows import Row, micro
from systems import System

PEER_STEP = 0.1
VECTOR_FLAGS = ("-O3", "-march=native", "-ffast-math", "-DBY_DEGREE")
STAGES = ("contraction", "forces")


@dataclass(frozen=True)
class Block:
    """Neighbours of two types around every atom."""

    net: int
    first: np.ndarray  # int64 [atoms + 1]
    u: np.ndarray  # [pairs, 3]
    other_first: np.ndarray
    other: np.ndarray  # [pairs, 3]; u itself where the types are one


def blocks(model: Model, system: System, slots: bool) -> list[Block]:
    """With the neighbours that there are, or with as many as the model has slots for, as the peer sums: zeros follow."""
    (descriptor,) = model.descriptors
    centre, neighbour, env = fused.environment(descriptor, system)
    atoms = np.arange(len(system))
    first, u = [], []
    for kind, size in enumerate(descriptor.sel):
        chosen = neighbour == kind
        begin, vectors = fused.starts(centre[chosen], atoms), np.ascontiguousarray(env[chosen, 1:])
        if slots:
            begin, vectors = size * np.append(atoms, len(atoms)), padded(vectors, begin, size)
        first.append(begin)
        u.append(vectors)
    pairs = np.argwhere(np.triu(descriptor.net >= 0)).tolist()
    return [Block(int(descriptor.net[a, b]), first[a], u[a], first[b], u[b]) for a, b in pairs]


def padded(vectors: np.ndarray, first: np.ndarray, size: int) -> np.ndarray:
    """The first `size` vectors of each atom, or zeros: [atoms * size, 3]."""
    counts = np.diff(first)
    atom, place = np.repeat(np.arange(len(counts)), counts), np.arange(len(vectors)) - np.repeat(first[:-1], counts)
    result = np.zeros((len(counts), size, 3))
    kept = place < size
    result[atom[kept], place[kept]] = vectors[kept]
    return result.reshape(-1, 3)


def loop(model: Model, blocks: list[Block], folder: Path, flags: tuple[str, ...]) -> Callable[[], object] | None:
    """Forward and backward with tables of the peer's stride; None where there is no C compiler."""
    library = fused.library(folder, flags)
    if library is None:
        return None
    (descriptor,) = model.descriptors
    work = []
    for block in blocks:
        reach = max(np.linalg.norm(u, axis=1).max() for u in (block.u, block.other)) ** 2
        rows = 2 * count_rows(reach + PEER_STEP, PEER_STEP)
        grid = Grid("", -0.5 * rows * PEER_STEP, PEER_STEP, rows, PEER_STEP, 0)
        coefficients = make(descriptor.nets[block.net], grid).coefficients()
        table = fused.Loop(
            library, coefficients.swapaxes(1, 2) if "-DBY_DEGREE" in flags else coefficients, grid.lower, PEER_STEP
        )
        out = np.ones((len(block.first) - 1, table.width))
        grad_u = np.zeros_like(block.u)
        grad_other = grad_u if block.other is block.u else np.zeros_like(block.other)
        work.append((table, block, out, grad_u, grad_other))

    def call() -> None:
        for table, block, out, grad_u, grad_other in work:
            neighbours = (block.first, block.u, block.other_first, block.other)
            table.call("peer_angles_forward", *neighbours, out)
            table.call("peer_angles_backward", *neighbours, out, grad_u, grad_other)

    return call


def stages(file: Path, system: System) -> Callable[[float], float]:
    """A function that evaluates for some seconds: processor time of the stages in one evaluation."""
    model = _core.Model(file)
    workspace, pairs = _core.Workspace(model), system.pairs(model.cutoff)

    def call(seconds: float) -> float:
        shares: list[float] = []

        def evaluate() -> None:
            result = workspace.compute(system.coord, system.atype, system.cell, pairs=pairs, timed=True)
            shares.append(sum(result["stages"][stage] for stage in STAGES) / sum(result["stages"].values()))

        processor, _ = timed(evaluate, seconds)
        return float(np.median(shares)) * processor  # stages are timed on the clock, which others may use too

    return call


def rows(
    name: str, original: Path, file: Path, system: System, folder: Path, rounds: int, seconds: float
) -> Iterator[Row]:
    """Of one model, against the peer's shape and against the best that can be made of it without node space."""
    model = readers.read(original)
    ours = stages(file, system)
    plain = loop(model, blocks(model, system, slots=True), folder, fused.FLAGS)
    vectors = loop(model, blocks(model, system, slots=False), folder, VECTOR_FLAGS)
    loops = {
        "plain loop over all slots, six coefficients, SSE2": (plain, "≥ 30"),
        "loop over neighbours, channels as vectors": (vectors, ""),
    }
    times = Rounds()
    for _ in range(rounds):
        times.add("ours", 1e6 / len(system) * ours(seconds))
        for what, (call, _) in loops.items():
            if call:
                times.add(what, 1e6 / len(system) * timed(call, seconds)[0])
    for what, (call, target) in loops.items():
        ratio = f"{times.ratio(what, 'ours'):.1f}" if call else ""
        other = f"{what}: {micro(times.median(what))}" if call else "no C compiler"
        operator = f"fused operator, {name}, forward + backward, float64"
        yield Row(operator, micro(times.median("ours")), other, ratio, target)
