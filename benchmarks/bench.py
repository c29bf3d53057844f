"""bench - speed, memory and error of compressed files as a markdown table of ratios, all measured in one run.

python benchmarks/bench.py [--peer VENV [--kinds]] [--model ORIGINAL [--frames FOLDER]] [--quick]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of the reference; ours take the number of threads as an argument

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import compress_onnx as co
import numpy as np
import onnxruntime
from compress_onnx import _core, readers
from compress_onnx.model import Model

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))  # cases: how stored frames are read

import kinds
import rows
from cases import Frame, frames_of_model, frames_of_oracle
from peer import Peer
from rows import Row
from steps import PRECISIONS, Steps
from systems import System

REAL = {"main", "periodic"}  # groups of frames that come from a simulation
ATOMS = (192, 1536)
ANGLES = ROOT / "models" / "angles.pth"
SCALE = (192, 1536, 12_288, 98_304, 200_000)


def main(argv: list[str] | None = None) -> None:
    options = arguments().parse_args(argv)
    model = readers.read(options.model)
    stored = frames_of_oracle(options.frames) if options.frames else beside(options.model)
    frames = [frame for frame in stored if frame.group in REAL]
    if not frames:
        sys.exit(f"no frames of a simulation beside {options.model}: give --frames")
    with tempfile.TemporaryDirectory() as folder:
        peer, missing = find_peer(options.peer, options.model, Path(folder), model.type_map)
        print(*machine(options.model, peer), sep="\n")
        print("\n| | ours | other | ratio | target |\n|---|---|---|---|---|")
        for row in measured(options, model, frames, Path(folder), peer, missing):
            print(row, flush=True)
        if options.kinds and peer:
            for row in kinds.measured(options.peer, list(kinds.KINDS), options.rounds, options.seconds):
                print(row, flush=True)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "water.pth", help="the original (default: models/water.pth)")
    add("--frames", type=Path, help="folder with frames.npz and ref.npz (default: beside the model)")
    add("--peer", type=Path, metavar="VENV", help="virtual environment of DeePMD-kit with TensorFlow, PyTorch, LAMMPS")
    add("--kinds", action="store_true", help="every descriptor too, of models that the peer trains for some steps")
    add("--rounds", type=int, default=5, help="(default: %(default)s)")
    add("--seconds", type=float, default=0.3, help="for each figure and round (default: %(default)g)")
    add("--quick", action="store_true", help="to see that it runs: one short round, small systems")
    return parser


def beside(model: Path) -> Iterator[Frame]:
    return frames_of_model(model) if model.with_suffix(".npz").exists() else frames_of_oracle(model.parent)


def machine(model: Path, peer: Peer | None) -> Iterator[str]:
    """What was measured on what."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    yield f"{name}, {os.cpu_count()} cores, {_core.isas()[-1]}; {model.parent.name}/{model.name};"
    versions = {"compress-onnx": co.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}
    if peer:
        versions["deepmd-kit"] = peer.version
    yield ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def measured(
    options: argparse.Namespace, model: Model, frames: list[Frame], folder: Path, peer: Peer | None, missing: str
) -> Iterator[Row]:
    """Everything, row by row; `missing`: why there is no peer."""
    if options.quick:
        options.rounds, options.seconds = 1, 0.02
    files = {precision: folder / f"{precision}.onnx" for precision in PRECISIONS}
    for precision, file in files.items():
        co.compress(options.model, file, precision=precision, interface="pairs", check="none")
    frame = frames[0]
    systems = [System.of(frame.coord, frame.atype, frame.cell, atoms) for atoms in ATOMS]
    yield from rows.accuracy(model, files, frames)
    yield from rows.fused(model, files["float64"], systems[0], folder, options.rounds, options.seconds)
    steps = Steps(files, systems)
    for _ in range(options.rounds):
        steps.round(options.seconds, peer)
    yield from rows.against_peer(steps, missing)
    yield from rows.roofline(steps, files)
    yield from rows.threads(steps)
    yield from rows.onnxruntime(steps)
    yield from rows.range_check(
        watched(options.model, systems[-1], files["float64"], folder), options.rounds, options.seconds
    )
    scale = [
        System.of(frame.coord, frame.atype, frame.cell, atoms) for atoms in (SCALE[:3] if options.quick else SCALE)
    ]
    yield from rows.scale(files, scale, options.seconds)


def watched(model: Path, system: System, folded: Path, folder: Path) -> dict[str, tuple[Path, System]]:
    """What the range check is measured on: the model with and without folds, and a small one of three bodies."""
    co.compress(model, folder / "unfolded.onnx", interface="pairs", check="none", fold=False)
    co.compress(ANGLES, folder / "angles.onnx", check="none")
    frame = next(frame for frame in frames_of_model(ANGLES) if frame.cell.any())
    angles = System.of(frame.coord, frame.atype, frame.cell, len(system))
    return {
        "folded": (folded, system),
        "unfolded": (folder / "unfolded.onnx", system),
        f"{ANGLES.parent.name}/{ANGLES.name}": (folder / "angles.onnx", angles),
    }


def find_peer(venv: Path | None, model: Path, folder: Path, names: tuple[str, ...]) -> tuple[Peer | None, str]:
    """The peer, or None and why there is none."""
    if venv is None:
        return None, "no --peer given"
    if not (venv / "bin" / "lmp").exists():
        return None, f"{venv} has no LAMMPS"
    peer = Peer(venv, folder, names)
    peer.convert(model)
    return peer, ""


if __name__ == "__main__":
    main()
