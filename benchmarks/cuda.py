"""A model on a GPU: µs per atom and step against the CPU and the peer's, and what bounds it by an estimate.

python benchmarks/cuda.py [--model ORIGINAL] [--device cuda:0] [--peer VENV] [--atoms N ...]

The estimate needs no GPU: it counts, for the atoms of a frame, the floating-point operations and bytes that the stages
of cuda/ need, and divides by an H100's speeds. Of se_e2_a models. Where there is no device, measuring is skipped.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import compress_onnx as co
import numpy as np
import onnx
from compress_onnx import _core, readers
from compress_onnx.bench import geometry, operations, timed
from onnx import numpy_helper

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))  # as bench.py: what peer.py imports

from peer import Peer
from systems import System

SKIN = 2.0  # Å, of the list
# of an H100 SXM, per µs: operations in double, by matrix instructions and without; bytes of its memory, and of L2 (measured
# by others, not published)
TENSOR, DOUBLE, MEMORY, CACHE = 67e6, 34e6, 3.35e6, 5.5e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models/water.pth", help="an original")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--peer", type=Path, help="a virtual environment with DeePMD-kit for GPUs, and its LAMMPS")
    parser.add_argument("--atoms", type=int, nargs="+", default=[192, 1536, 12288, 98304])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        co.compress(options.model, file, check="none")
        print(*estimate(file), sep="\n")
        systems = [System.of(*geometry(file, 192), atoms) for atoms in options.atoms]
        print(*measured(file, options.device, systems), sep="\n")
        if options.peer:
            names = readers.read(options.model).type_map
            peer = Peer(options.peer, Path(folder), names)
            peer.convert(options.model)
            for key, figure in peer.step(systems, 2).items():
                print(f"peer {peer.version}, {', '.join(map(str, key))} atoms: {figure:.3f} µs per atom")


# ---- the estimate -------------------------------------------------------------------------------------------------


def estimate(file: Path) -> Iterator[str]:
    """A table of what an atom's evaluation takes, in double."""
    graph = onnx.load(file).graph
    tensor = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    if "fold.0.table" not in tensor or "fit.0.0.weight" not in tensor:
        yield "no estimate: it is of folded se_e2_a models"
        return
    coord, atype, cell = geometry(file, 192)
    near, listed, nodes = counts(tensor, coord, atype, cell)
    rank, axis, size = tensor["fold.0.table"].shape[2], int(tensor["axis"]), 8
    stride = -(-rank * size // 64) * 64
    widths = [tensor[f"fit.0.{k}.weight"].shape[1] for k in range(3)]
    features = tensor["fold.0.weight"].shape[0]
    net = operations(file, atype)
    contraction = 2 * (nodes * 3 * rank * 4 * 2) + near * 400
    descriptor = 6 * (4 * rank * axis * 2) * 2
    of_tables = 2 * nodes * 3 * stride
    rows = size * (4 * features + 8 * sum(widths) + 6 * 4 * rank)
    of_lists = listed * (3 * 4 + 4 * 12 + 6 * 8 + 4 * 24)
    yield f"{near:.0f} neighbours within the cutoff, {listed:.0f} in the list, {nodes:.0f} nodes of tables touched, rank {rank} x {axis}"
    yield "| stage | per atom | bound by | µs |"
    yield "|---|---|---|---|"
    lines = [
        ("fitting net", f"{net / 1e6:.2f} MFLOP", "matrix instructions", net / TENSOR),
        ("contraction", f"{contraction / 1e3:.0f} kFLOP", "double", contraction / DOUBLE),
        ("contraction", f"{of_tables / 1e3:.0f} kB of tables", "L2", of_tables / CACHE),
        ("descriptor", f"{descriptor / 1e3:.0f} kFLOP", "double", descriptor / DOUBLE),
        ("rows: features, layers, X", f"{rows / 1e3:.0f} kB", "memory", rows / MEMORY),
        ("lists, positions, forces of pairs", f"{of_lists / 1e3:.0f} kB", "memory", of_lists / MEMORY),
    ]
    for name, amount, bound, time in lines:
        yield f"| {name} | {amount} | {bound} | {time:.3f} |"
    yield f"| all, one after the other | | | {sum(time for *_, time in lines):.3f} |"


def counts(tensor, coord, atype, cell) -> tuple[float, float, float]:
    """Per atom: neighbours within the cutoff, in the list, and nodes that those of one type touch, each once."""
    smooth, cutoff, width, _ = tensor["switch"]
    first, index, shift = _core.Neighbours().build(coord, cell, cutoff + SKIN).arrays()
    centre = np.repeat(np.arange(len(coord)), np.diff(first))
    r = np.linalg.norm(coord[index] + shift @ cell - coord[centre], axis=1)
    centre, index, r = (values[r < cutoff] for values in (centre, index, r))
    u = np.clip((r - smooth) / width, 0, 1)
    s = (1 + u**3 * (-10 + u * (15 - 6 * u))) / r
    x = (s - tensor["env_mean"][atype[centre], 0]) / tensor["env_std"][atype[centre], 0]
    net = tensor["net"][atype[centre], atype[index]]
    lower, step0, step1 = tensor["grid"][net].T
    rows0 = tensor["rows"][net, 0]
    upper = lower + rows0 * step0
    row = np.where(x < upper, (x - lower) // step0, rows0 + (x - upper) // step1).astype(int)
    touched = {(*key, node) for key, at in zip(zip(centre, net), row) for node in (at, at + 1)}
    return len(r) / len(coord), first[-1] / len(coord), len(touched) / len(coord)


# ---- measured -----------------------------------------------------------------------------------------------------


def measured(file: Path, device: str, systems: list[System]) -> Iterator[str]:
    """µs per atom and step, list and types as they were, positions and forces to and from the host included."""
    model = _core.Model(file)
    for where in (device, "cpu"):
        try:
            workspace = _core.Workspace(model, where)
        except (co.ModelError, ValueError) as error:
            yield f"skipped: {error}"
            continue
        for system in systems if where != "cpu" else systems[:2]:
            pairs = system.pairs(model.cutoff, SKIN)

            def step(workspace=workspace, system=system, pairs=pairs):
                return workspace.compute(system.coord, system.atype, system.cell, pairs=pairs, counted=False)

            step()
            _, wall = timed(step, 1.0)
            yield f"{where}, {len(system)} atoms: {1e6 * wall / len(system):.3f} µs per atom"


if __name__ == "__main__":
    main()
