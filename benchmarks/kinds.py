"""kinds - a step of every descriptor at production size, against the peer's compressed models of the same sizes.

python benchmarks/kinds.py --peer VENV [--rounds N] [--seconds S] [NAME ...]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of the peer; ours take the number of threads as an argument

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import compress_onnx as co

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))  # cases: how stored frames are read

import angles
from cases import Frame, frames_of_model
from compress_onnx.bench import timed
from measure import Rounds
from peer import Peer
from rows import Row, micro
from steps import native, whole
from systems import System

ATOMS = 192
TARGET = "≥ 5"
FITTING = {"neuron": (240, 240, 240), "resnet_dt": True}
NARROW, WIDE = (2, 4, 8), (25, 50, 100)


def local(kind: str, cutoff: float, sel: int | Sequence[int], neuron: Sequence[int], **more) -> dict:
    return {"type": kind, "rcut": cutoff, "rcut_smth": 0.5, "sel": sel, "neuron": neuron} | more


PAIRS = local("se_e2_a", 6.0, (46, 92), WIDE, axis_neuron=16, type_one_side=True)
TRIPLES = local("se_e3", 4.0, (16, 32), NARROW)
STRIP = {"tebd_input_mode": "strip"}
ATTENTION = {"axis_neuron": 16, "attn_layer": 0} | STRIP

REPINIT = {"rcut": 6.0, "rcut_smth": 0.5, "nsel": 120, "neuron": WIDE, "axis_neuron": 12} | STRIP
REPFORMER = {"rcut": 4.0, "rcut_smth": 0.5, "nsel": 40, "nlayers": 3, "g1_dim": 128, "g2_dim": 32, "axis_neuron": 4}


def both(descriptor: dict) -> dict[str, dict]:
    return {"TensorFlow": descriptor, "PyTorch": descriptor}


# by name: the descriptor for each backend that has it; ours is made of PyTorch's model
KINDS = {
    "se_e2_a": both(PAIRS),
    "se_e2_r": both(local("se_e2_r", 6.0, (46, 92), WIDE, type_one_side=True)),
    "se_atten": {
        "TensorFlow": local("se_atten_v2", 6.0, 120, WIDE, axis_neuron=16, attn_layer=0),
        "PyTorch": local("dpa1", 6.0, 120, WIDE, smooth_type_embedding=True, **ATTENTION),
    },
    "se_e3": both(TRIPLES),
    "se_e3_wide": both(TRIPLES | {"neuron": WIDE}),
    "se_e3_tebd": {"PyTorch": local("se_e3_tebd", 4.0, 48, NARROW, smooth=True, **STRIP)},
    "hybrid": both({"type": "hybrid", "list": [PAIRS, TRIPLES]}),
    "dpa1": {"PyTorch": local("dpa1", 6.0, 120, WIDE, smooth_type_embedding=True, **ATTENTION | {"attn_layer": 2})},
    "dpa2": {"PyTorch": {"type": "dpa2", "repinit": REPINIT, "repformer": REPFORMER}},
}

NET = ("dpa1", "dpa2")  # of which onnxruntime alone runs the rest: attention layers, messages


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"of {', '.join(KINDS)} (default: all)")
    add("--peer", type=Path, metavar="VENV", required=True, help="virtual environment of DeePMD-kit, see bench.py")
    add("--rounds", type=int, default=5, help="(default: %(default)s)")
    add("--seconds", type=float, default=0.3, help="for each figure and round (default: %(default)g)")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(KINDS):
        parser.error(f"no such descriptor: {', '.join(unknown)}")
    print("| | ours | other | ratio | target |\n|---|---|---|---|---|")
    for row in measured(options.peer, options.names or list(KINDS), options.rounds, options.seconds):
        print(row, flush=True)


def measured(venv: Path, names: Sequence[str], rounds: int, seconds: float) -> Iterator[Row]:
    """Steps with every descriptor, then sums over pairs of neighbours alone."""
    frame = next(frame for frame in frames_of_model(ROOT / "models" / "water.pth") if frame.group == "periodic")
    system = System.of(frame.coord, frame.atype, frame.cell, ATOMS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = Peer(venv, folder, ("O", "H"))
        originals = {name: train(peer, name, frame) for name in names}
        files = {name: original.with_suffix(".onnx") for name, original in originals.items()}
        for name, file in files.items():
            interface = "cell" if name in NET else "pairs"
            co.compress(originals[name], file, precision="float64", interface=interface, check="none")
        yield from steps(peer, files, system, rounds, seconds)
        for name in names:
            if name.startswith("se_e3") and name != "se_e3_tebd":
                yield from angles.rows(name, originals[name], files[name], system, folder, rounds, seconds)


def train(peer: Peer, name: str, frame: Frame) -> Path:
    """Models of all backends that have this descriptor; the file of the last, PyTorch."""
    sections = {backend: {"descriptor": part, "fitting_net": FITTING} for backend, part in KINDS[name].items()}
    return [peer.train(backend, name, section, frame) for backend, section in sections.items()][-1]


def steps(peer: Peer, files: dict[str, Path], system: System, rounds: int, seconds: float) -> Iterator[Row]:
    """Steps of energy, forces and virial, one thread, processor time."""
    evaluations = {name: (whole if name in NET else native)(file, system) for name, file in files.items()}
    times = Rounds()
    for _ in range(rounds):
        for name, evaluate in evaluations.items():
            evaluate()
            times.add(name, 1e6 / len(system) * timed(evaluate, seconds)[0])
        figures = peer.step([system], threads=1)
        for (backend, name, _), figure in figures.items():
            times.add((name, backend), figure)
        for name in files:
            best = min(figures[backend, name, len(system)] for backend in KINDS[name])
            times.add((name, "best"), best)
    for name in files:
        other = ", ".join(f"{backend} {micro(times.median((name, backend)))}" for backend in KINDS[name])
        ratio = f"{times.ratio((name, 'best'), name):.1f}"
        yield Row(f"step, {name}, {len(system)} atoms", micro(times.median(name)), f"peer's {other}", ratio, TARGET)


if __name__ == "__main__":
    main()
