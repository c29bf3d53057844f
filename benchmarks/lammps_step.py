"""lammps_step - what a step of dynamics in LAMMPS costs beside the native library on the same atoms, and on two ranks.

python benchmarks/lammps_step.py [--model ORIGINAL [--frames FOLDER]] [--lammps DIR] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compress_onnx as co
from bench import REAL, ROOT, beside, machine
from cases import frames_of_oracle
from compress_onnx import lammps, readers
from compress_onnx.bench import SKIN, timed
from measure import Rounds
from steps import native
from systems import System

INPUT = f"""\
units metal
atom_style atomic
newton on
read_data atoms.data
plugin load ./dpcplugin.so
pair_style dpc model.onnx
pair_coeff * * NAMES
neighbor {SKIN} bin
neigh_modify every 20 delay 0 check no
velocity all create 300 1 loop geom
fix nve all nve
timestep 0.0001
run 5
run STEPS
"""
RESULT = re.compile(
    r"Loop time of (?P<loop>[\d.e+-]+) on \d+ procs for (?P<steps>\d+) steps"
    r".*?(?P<use>[\d.]+)% CPU use.*?^Pair\s*\|[^|]*\|\s*(?P<pair>[\d.e+-]+)",
    re.DOTALL | re.MULTILINE,
)


def main(argv: list[str] | None = None) -> None:
    options = arguments().parse_args(argv)
    model = readers.read(options.model)
    stored = frames_of_oracle(options.frames) if options.frames else beside(options.model)
    frame = next((frame for frame in stored if frame.group in REAL), None)
    if frame is None:
        sys.exit(f"no frames of a simulation beside {options.model}: give --frames")
    system = System.of(frame.coord, frame.atype, frame.cell, options.atoms)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        co.compress(options.model, folder / "model.onnx", precision=options.precision, check="none")
        system.write_lammps(folder / "atoms.data", model.type_map)
        text = INPUT.replace("NAMES", " ".join(model.type_map)).replace("STEPS", str(options.steps))
        (folder / "in.lmp").write_text(text)
        host = lammps.find_lammps(options.lammps)
        lammps.build(folder, options.lammps)
        rounds = measured(options, folder, system, host.root)
    print(*machine(options.model, None), sep="\n")
    report(rounds, len(system), options)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "water.pth", help="the original (default: models/water.pth)")
    add("--frames", type=Path, help="folder with frames.npz and ref.npz (default: beside the model)")
    add("--lammps", type=Path, metavar="DIR", help="as for compress-onnx lammps-plugin")
    add("--precision", default="float64", help="(default: %(default)s)")
    add("--atoms", type=int, default=1536, help="(default: %(default)s)")
    add("--steps", type=int, default=40, help="in LAMMPS, for each round (default: %(default)s)")
    add("--rounds", type=int, default=5, help="(default: %(default)s)")
    return parser


def measured(options: argparse.Namespace, folder: Path, system: System, package: Path) -> Rounds:
    """µs per atom and step: (who, processor) on one thread or rank, (who, wall) on one and two."""
    rounds = Rounds()
    evaluate = native(folder / "model.onnx", system)
    evaluate()
    for _ in range(options.rounds):
        processor, _ = timed(evaluate, 0.5)
        rounds.add("native", 1e6 * processor / len(system))
        for ranks in (1, 2):
            found = run(folder, package, ranks)
            loop, pair, use = (float(found[key]) for key in ("loop", "pair", "use"))
            per_step = 1e6 / (int(found["steps"]) * len(system))
            rounds.add(("wall", ranks), loop * per_step)
            if ranks == 1:
                rounds.add("loop", loop * use / 100 * per_step)
                rounds.add("pair", pair * use / 100 * per_step)
    return rounds


def run(folder: Path, package: Path, ranks: int) -> re.Match:
    """The timing of the second run of the input."""
    environment = next(parent for parent in package.parents if (parent / "bin").is_dir())
    mpirun = environment / "bin" / "mpirun"
    command = [mpirun if mpirun.exists() else shutil.which("mpirun"), "-n", str(ranks)]
    command += [package / "lmp", "-in", "in.lmp", "-log", "none"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": str(environment / "lib")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    found = list(RESULT.finditer(done.stdout))
    if done.returncode or len(found) != 2:
        sys.exit(f"LAMMPS did not run: {(done.stdout + done.stderr)[-2000:]}")
    return found[1]


def report(rounds: Rounds, atoms: int, options: argparse.Namespace) -> None:
    print(f"\n{atoms} atoms, {options.precision}, µs per atom and step\n\n| | | ratio |\n|---|---|---|")
    print(f"| native library | {rounds.median('native'):.1f} µs | |")
    for name, key in (("pair style in LAMMPS", "pair"), ("whole step in LAMMPS", "loop")):
        print(f"| {name} | {rounds.median(key):.1f} µs | {rounds.ratio(key, 'native'):.3f} of the native library |")
    two, one = ("wall", 2), ("wall", 1)
    print(f"| whole step on 2 ranks | {rounds.median(two):.1f} µs | {rounds.ratio(one, two):.2f} times one rank |")


if __name__ == "__main__":
    main()
