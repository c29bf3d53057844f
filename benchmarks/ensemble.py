"""ensemble - one pass of an ensemble against its models one after the other, in turn: what they share, saved.

python benchmarks/ensemble.py ORIGINAL [--copies N] [--atoms N] [--rounds N]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import compress_onnx as co
from compress_onnx import _core
from compress_onnx.bench import SKIN, geometry
from measure import Rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", help="a trained model of energies, of which all models of the ensemble are copies")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--atoms", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one, all_ = Path(folder, "one.onnx"), Path(folder, "all.onnx")
        co.compress(options.original, one, check="none")
        co.compress([options.original] * options.copies, all_, check="none")
        measure(one, all_, options.copies, options.atoms, options.rounds)


def measure(one: Path, all_: Path, copies: int, atoms: int, rounds: int) -> None:
    """Prints processor time and that of the stage `neighbours`, in µs per atom, and the median of the rounds' ratios."""
    models = {"apart": [_core.Model(one) for _ in range(copies)], "together": [_core.Model(all_)]}
    workspaces = {name: list(map(_core.Workspace, given)) for name, given in models.items()}
    coord, atype, cell = geometry(one, atoms)
    pairs = _core.Neighbours().build(coord, cell, models["together"][0].cutoff + SKIN)
    found = Rounds()
    for number in range(rounds + 1):
        for name, given in workspaces.items():
            start = time.process_time()
            stages = [each.compute(coord, atype, cell, pairs=pairs, timed=True)["stages"] for each in given]
            if number:  # the first also allocates
                found.add(name, time.process_time() - start)
                found.add((name, "neighbours"), sum(stage["neighbours"] for stage in stages))
    micro = 1e6 / len(coord)
    for name in models:
        near = micro * found.median((name, "neighbours"))
        print(f"{copies} models {name}: {micro * found.median(name):.1f} µs, of it neighbours {near:.2f} µs per atom")
    print(f"ratio {found.ratio('together', 'apart'):.3f}")


if __name__ == "__main__":
    main()
