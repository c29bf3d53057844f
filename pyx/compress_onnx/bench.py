"""bench - what a compressed file costs: time by stage, share of the matrix library's speed, memory."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from . import _core
from .describe import columns
from .onnxfile import read_metadata
from .probe import FILL, Shell, packing

SKIN = 2.0  # Å that a list reaches beyond the cutoff, as in molecular dynamics
DISTANCE = 1.1  # of the smallest distance of the training data: all inputs in first sub-tables
JITTER = 0.02  # of that distance, so that no two atoms of a tiled geometry are alike
MEMORY_ATOMS = 8192  # at least: in small systems, pages hide what an atom takes
GEMM_SIZE = 768
GEMM_SECONDS = 0.3


@dataclass(frozen=True)
class Cost:
    """Of one evaluation of energy, forces and virial. Times are of the processor, medians, in µs per atom."""

    model: str
    precision: str
    atoms: int
    threads: int
    isa: str
    evaluations: int
    neighbours: float  # per atom, within the cutoff
    dropped: int  # neighbours that `sel` has no slot for
    close: int  # neighbours closer than the first sub-tables reach
    stages: dict[str, float]  # what remains is `rest`
    time: float
    wall: float  # µs per atom on the clock
    operations: float  # floating-point operations of the fitting nets, folded if the file is, per atom
    gemm: float  # floating-point operations per second of a matrix product, one thread
    bytes: float | None  # per atom, results included, beyond coordinates and list; None: not known here

    @property
    def atoms_per_second(self) -> float:
        return 1e6 / self.wall

    @property
    def roofline(self) -> float:
        """µs per atom that the fitting nets' operations take at the speed of a matrix product."""
        return 1e6 * self.operations / self.gemm

    @property
    def share(self) -> float:
        """Of the roofline: 1 if nothing but the fitting nets took time, and they as little as a matrix product."""
        return self.roofline / self.time

    def to_json(self) -> dict:
        """Plain data."""
        derived = ("atoms_per_second", "roofline", "share")
        return asdict(self) | {name: getattr(self, name) for name in derived}

    def lines(self) -> list[str]:
        """For people."""
        roofline = (
            f"% of it: fitting nets of {self.operations / 1e6:.3g} MFLOP per atom take {self.roofline:.2f} µs "
            f"at the {self.gemm / 1e9:.0f} GFLOP/s of numpy's matrix product"
        )
        rows = [(name, f"{value:8.2f}", "µs per atom") for name, value in self.stages.items()]
        rows += [
            ("all", f"{self.time:8.2f}", "µs per atom of processor time"),
            ("speed", f"{self.atoms_per_second:8.0f}", "atoms per second"),
            ("roofline", f"{100 * self.share:8.0f}", roofline),
            ("neighbours", f"{self.neighbours:8.1f}", f"per atom; {self.dropped} dropped, {self.close} very close"),
        ]
        if self.bytes is not None:
            growth = "bytes per atom beyond coordinates and list: measured growth from one size to its double"
            rows.append(("memory", f"{self.bytes:8.0f}", growth))
        title = f"{self.model}: {self.precision}, {self.atoms} atoms, {self.threads} threads, {self.isa}"
        return [f"{title}, {self.evaluations} evaluations", *columns(rows)]


def bench(path: str | Path, *, atoms: int = 1536, threads: int = 1, isa: str = "auto", seconds: float = 2.0) -> Cost:
    """Evaluate a generated geometry of at least `atoms` atoms for `seconds`, its neighbour list built once."""
    for name, value in (("atoms", atoms), ("threads", threads), ("seconds", seconds)):
        if value <= 0:
            raise ValueError(f"{name} must be positive, not {value:g}")
    model = _core.Model(path)
    coord, atype, cell = geometry(path, atoms)
    pairs = _core.Neighbours().build(coord, cell, model.cutoff + SKIN, threads=threads)
    workspace = _core.Workspace(model)
    given = _parameters(model, len(coord))
    stages: list[list[float]] = []

    def evaluate() -> dict:
        result = workspace.compute(coord, atype, cell, pairs=pairs, timed=True, threads=threads, isa=isa, **given)
        stages.append(list(result["stages"].values()))
        return result

    result = evaluate()
    stages.clear()  # the first also allocates
    processor, wall = timed(evaluate, seconds)
    count = len(coord)
    # stages are timed on the clock: without what other processes take of it they are processor time
    parts = 1e6 / count * np.median(stages, axis=0) * processor / (wall * threads)
    total = 1e6 / count * processor
    return Cost(
        model=os.fspath(path),
        precision=model.precision,
        atoms=count,
        threads=threads,
        isa=_core.isas()[-1] if isa == "auto" else isa,
        evaluations=len(stages),
        neighbours=result["range"].sum().item() / count,
        dropped=result["dropped"],
        close=int(result["range"][:, 2].sum()),
        stages=dict(zip((*_core.STAGES, "rest"), [*parts.tolist(), total - parts.sum().item()], strict=True)),
        time=total,
        wall=1e6 / count * wall,
        operations=operations(path, atype),
        gemm=gemm(model.precision),
        bytes=memory(path, max(atoms, MEMORY_ATOMS)),
    )


def _parameters(model: _core.Model, atoms: int) -> dict[str, np.ndarray]:
    """Zeros for those that the model takes."""
    return {"fparam": np.zeros(model.fparams), "aparam": np.zeros((atoms, model.aparams))}


def timed(call: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Medians of the processor time and the wall time of a call, repeated for `seconds`, three times at least."""
    times = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.process_time(), time.perf_counter()
        call()
        times.append((time.process_time() - before[0], time.perf_counter() - before[1]))
    processor, wall = np.median(times, axis=0).tolist()
    return processor, wall


# ---- the geometry -------------------------------------------------------------------


def geometry(path: str | Path, atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dense periodic packing for a file: coord [n, 3] in Å, atype int32 [n], cell [3, 3]; n at least `atoms`."""
    facts = read_metadata(path)
    distance = DISTANCE * float(facts["min_distance"] or 1)
    shell = Shell(float(facts["cutoff"]), _sel(path, len(json.loads(facts["type_map"]))))
    small = packing(np.random.default_rng(0), shell, distance, FILL)
    return tiled(small.coord, small.atype, small.cell, atoms, JITTER * distance)


def tiled(
    coord: np.ndarray, atype: np.ndarray, cell: np.ndarray, atoms: int, jitter: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copies of a periodic system until there are `atoms` atoms, every one moved by up to `jitter` along each axis."""
    counts = tile_counts(-(-atoms // len(coord)))
    shifts = np.indices(counts).reshape(3, -1).T @ cell
    coord = (shifts[:, None] + coord).reshape(-1, 3)
    coord += np.random.default_rng(0).uniform(-jitter, jitter, coord.shape)
    return coord, np.tile(atype, len(shifts)), cell * np.array(counts)[:, None]


def tile_counts(least: int) -> tuple[int, int, int]:
    """Three numbers, none more than three times another, whose product is `least` or little more."""
    sides = range(1, int(np.cbrt(least)) + 2)
    candidates = ((a, b, -(-least // (a * b))) for a in sides for b in range(a, 3 * a + 1))
    return min((counts for counts in candidates if max(counts) <= 3 * min(counts)), key=_bulk)


def _bulk(counts: tuple[int, int, int]) -> tuple[int, int]:
    return math.prod(counts), max(counts)


def _sel(path: str | Path, types: int) -> np.ndarray:
    """Slots by neighbour type, of the descriptor that has most."""
    graph = onnx.load(os.fspath(path), load_external_data=False).graph
    named = [tensor for tensor in graph.initializer if re.fullmatch(r"(\d+/)?(d\d+\.)?sel", tensor.name)]
    sel = max(map(numpy_helper.to_array, named), key=np.sum)
    return np.full(types, sel.sum() / types) if len(sel) == 1 else sel


# ---- roofline and memory ------------------------------------------------------------


def operations(path: str | Path, atype: np.ndarray) -> float:
    """Floating-point operations of the fitting nets, forward and backward, mean over the atoms of types `atype`."""
    graph = onnx.load(os.fspath(path), load_external_data=False).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    total = np.zeros(max(atype) + 1)
    for prefix in (name.removesuffix("fit_net") for name in tensors if name.endswith("fit_net")):
        nets = numpy_helper.to_array(tensors[prefix + "fit_net"])
        for kind, net in enumerate(nets[: len(total)]):
            weights = re.compile(re.escape(f"{prefix}fit.{net}.") + r"\d+\.weight")
            layers = [tuple(tensor.dims) for name, tensor in tensors.items() if weights.fullmatch(name)]
            if folded := tensors.get(f"{prefix}fold.{kind}.weight"):
                layers[0] = tuple(folded.dims)
            total[kind] += 2 * 2 * sum(rows * columns for rows, columns in layers)
    return float(np.mean(total[atype]))


def gemm(precision: str) -> float:
    """Operations per second of numpy's matrix product, one thread, whatever core type the environment asks for."""
    dtype = "float64" if precision == "float64" else "float32"
    return _in_child(f"_gemm({dtype!r})", OPENBLAS_CORETYPE=None, OPENBLAS_L2_SIZE=None, OPENBLAS_NUM_THREADS="1")


def _gemm(dtype: str) -> float:
    a = np.random.default_rng(0).uniform(size=(GEMM_SIZE, GEMM_SIZE)).astype(dtype)
    out = a @ a
    seconds, _ = timed(lambda: np.matmul(a, a, out=out), GEMM_SECONDS)
    return 2 * GEMM_SIZE**3 / seconds


def memory(path: str | Path, atoms: int) -> float | None:
    """Bytes that an evaluation takes per atom beyond coordinates and list, from half of `atoms` to all of them."""
    # a fixed threshold: memory of arrays goes back to the system when they are freed, and is not taken again unseen
    return _in_child(f"_memory({os.fspath(path)!r}, {atoms})", MALLOC_MMAP_THRESHOLD_="65536")


def _memory(path: str, atoms: int) -> float | None:
    try:
        (small, less), (large, more) = _growth(path, atoms // 2), _growth(path, atoms)
    except OSError:  # not Linux
        return None
    return (more - less) / (large - small)


def _growth(path: str, atoms: int) -> tuple[int, int]:
    """The number of atoms, and bytes of resident memory that their evaluation adds at its peak."""
    model = _core.Model(path)
    coord, atype, cell = geometry(path, atoms)
    pairs = _core.Neighbours().build(coord, cell, model.cutoff + SKIN)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    _core.Workspace(model).compute(coord, atype, cell, pairs=pairs, **_parameters(model, len(coord)))
    return len(coord), _status("VmHWM") - before


def _status(name: str) -> int:
    """Of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def _in_child(call: str, **environment: str | None):
    """What a function of this module returns in a process of its own, with that environment."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment
    variables = {name: value for name, value in variables.items() if value is not None}
    code = f"import json; from compress_onnx import bench; print(json.dumps(bench.{call}))"
    done = subprocess.run([sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
