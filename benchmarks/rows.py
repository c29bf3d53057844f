"""rows - the table's rows, section by section, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import errors
import fused as operator
from cases import Frame
from compress_onnx.bench import MEMORY_ATOMS, memory, operations, timed
from compress_onnx.model import Model
from measure import Rounds
from peer import BACKENDS
from steps import THREADS, Steps, native
from systems import System

SHORTER = 16  # times: rounds of what differs by little


@dataclass(frozen=True)
class Row:
    """Targets are those of the production water model."""

    what: str
    ours: str = ""
    other: str = ""
    ratio: str = ""
    target: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.ours} | {self.other} | {self.ratio} | {self.target} |"


def micro(figure: float) -> str:
    return f"{figure:.1f} µs"


def accuracy(model: Model, files: dict[str, Path], frames: Sequence[Frame]) -> Iterator[Row]:
    """Errors of forces, and what the original weights err by in float32."""
    single = errors.of_float32(model, frames)
    for precision, file in files.items():
        found = errors.of_file(file, frames)
        what = f"error of forces, largest (rms), {precision}"
        if precision == "float64":
            yield Row(what, str(found), target="≤ 1e-8 eV/Å")
        else:
            ratio = f"{found.largest / single.largest:.2f} ({found.rms / single.rms:.2f})"
            yield Row(what, str(found), f"original weights, all in float32: {single}", ratio, "≤ 1.5")


def fused(model: Model, file: Path, system: System, folder: Path, rounds: int, seconds: float) -> Iterator[Row]:
    """The fused operator, forward and backward."""
    blocks = list(operator.blocks(model, system))
    operators = operator.ours(file, blocks)
    loop = operator.loop(model, blocks, folder)
    if loop:
        operators["loop"] = loop
    times = Rounds()
    for _ in range(rounds):
        for name, call in operators.items():
            times.add(name, 1e6 / len(system) * timed(call, seconds)[0])
    for name, target in (("folded", "≥ 20"), ("plain", "")):
        if name in operators:
            ratio = f"{times.ratio('loop', name):.1f}" if loop else ""
            other = f"plain loop, six coefficients, SSE2: {micro(times.median('loop'))}" if loop else "no C compiler"
            what = f"fused operator, {name} tables, forward + backward, float64"
            yield Row(what, micro(times.median(name)), other, ratio, target)


def against_peer(steps: Steps, missing: str) -> Iterator[Row]:
    """Steps of energy, forces and virial; one thread: processor time, more: wall time."""
    if missing:
        yield Row("step against the peer", other=f"not measured: {missing}")
        return
    small, large = map(len, steps.systems)
    for atoms, target in ((large, "≥ 5 (not below 4)"), (small, "≥ 6.5 (not below 5)")):
        yield step(steps, "float64", atoms, 1, ("best", "float64"), "best float64", target)
    for precision in ("float32", "mixed"):
        yield step(steps, precision, large, 1, ("best", "any"), "best of any precision", "≥ 10 (not below 8)")
    for threads in THREADS:
        for precision in ("float64", "float32"):
            for atoms in (large, small):
                for backend in BACKENDS:
                    yield step(steps, precision, atoms, threads, (backend, precision), backend)


def step(
    steps: Steps, precision: str, atoms: int, threads: int, other: tuple[str, str], name: str, target: str = ""
) -> Row:
    how = (atoms, threads, "processor" if threads == 1 else "wall")
    ours, other = ("native", precision, *how), (*other, *how)
    plural = "thread" if threads == 1 else "threads"
    figures = micro(steps.rounds.median(ours)), f"peer's {name}: {micro(steps.rounds.median(other))}"
    ratio = f"{steps.rounds.ratio(other, ours):.1f}"
    return Row(f"step, {precision}, {atoms} atoms, {threads} {plural}", *figures, ratio, target)


def roofline(steps: Steps, files: dict[str, Path]) -> Iterator[Row]:
    """How much of the time the fitting nets' operations take at the speed of a matrix product in the same run."""
    system = steps.systems[-1]
    for precision, file in files.items():
        work = operations(file, system.atype)
        rate = ("gemm", "float64" if precision == "float64" else "float32")
        ours = ("native", precision, len(system), 1, "processor")
        floor = 1e6 * work / steps.rounds.median(rate)
        share = 1e6 * work / steps.rounds.product(rate, ours)
        speed = f"{steps.rounds.median(rate) / 1e9:.1f} GFLOP/s"
        other = f"{work / 1e6:.2f} MFLOP of fitting nets at OpenBLAS's {speed}: {micro(floor)}"
        target = "≥ 0.70" if precision == "float64" else ""
        what = f"share of the roofline, {precision}, {len(system)} atoms"
        yield Row(what, micro(steps.rounds.median(ours)), other, f"{share:.2f}", target)


def threads(steps: Steps) -> Iterator[Row]:
    """Two threads over one, wall time."""
    for who in ("native", "onnxruntime"):
        for atoms in map(len, reversed(steps.systems)):
            one, two = ((who, "float64", atoms, n, "wall") for n in THREADS)
            figures = micro(steps.rounds.median(two)), f"1 thread: {micro(steps.rounds.median(one))}"
            yield Row(f"2 threads, {who}, {atoms} atoms", *figures, f"{steps.rounds.ratio(one, two):.2f}", "≥ 1.9")


def onnxruntime(steps: Steps) -> Iterator[Row]:
    """The way through onnxruntime, one thread, processor time."""
    small, large = map(len, steps.systems)
    for atoms, target in ((large, "≤ 1.03"), (small, "≤ 1.10")):
        through, direct = ((who, "float64", atoms, 1, "processor") for who in ("onnxruntime", "native"))
        figures = micro(steps.rounds.median(through)), f"native: {micro(steps.rounds.median(direct))}"
        yield Row(f"through onnxruntime, {atoms} atoms", *figures, f"{steps.rounds.ratio(through, direct):.3f}", target)


def range_check(files: dict[str, tuple[Path, System]], rounds: int, seconds: float) -> Iterator[Row]:
    """Evaluations that count how many inputs lie outside the tables, beside those that do not; by what the files are."""
    for what, (file, system) in files.items():
        evaluations = {counted: native(file, system, counted=counted) for counted in (True, False)}
        times = Rounds()
        for number in range(SHORTER * rounds):
            for counted in (True, False) if number % 2 else (False, True):
                time, _ = timed(evaluations[counted], seconds / SHORTER)
                times.add(counted, 1e6 / len(system) * time)
        figures = f"{times.median(True):.2f} µs", f"without: {times.median(False):.2f} µs"
        ratio = f"{times.ratio(True, False):.3f}"
        yield Row(f"range check, {what}, {len(system)} atoms", *figures, ratio, "≤ 1.01")


def scale(files: dict[str, Path], systems: Sequence[System], seconds: float) -> Iterator[Row]:
    """Processor time and memory per atom from small systems to large."""
    for precision in ("float64", "float32"):
        smallest = None
        for system in systems:
            evaluate = native(files[precision], system)
            evaluate()
            time = 1e6 / len(system) * timed(evaluate, seconds)[0]
            smallest = smallest or time
            took = memory(files[precision], len(system)) if len(system) >= MEMORY_ATOMS else None
            ours = micro(time) + (f", {took:.0f} bytes per atom" if took else "")
            other = f"{len(systems[0])} atoms: {micro(smallest)}"
            yield Row(f"{precision}, {len(system)} atoms", ours, other, f"{time / smallest:.2f}", "flat, < 500 bytes")
