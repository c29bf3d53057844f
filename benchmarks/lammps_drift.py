"""lammps_drift - how the total energy of water at constant energy drifts in LAMMPS, in eV per atom and ns.

python benchmarks/lammps_drift.py [--steps N] [--lammps DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compress_onnx as co
import numpy as np
from compress_onnx import lammps

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))  # lammps_runs: how LAMMPS is run there

import lammps_runs

ATOMS = 192
RUNS = (("float64", 0.5), ("mixed", 0.5), ("float64", 0.25))  # precision, fs
EVERY = 10  # steps between two energies
BLOCKS = 20  # whose means a line is put through
START = """\
units metal
atom_style atomic
read_data data
replicate 1 1 2
plugin load ./dpcplugin.so
pair_style dpc {precision}.onnx
pair_coeff * * O H
velocity all create 300 4711 loop geom
fix nve all nve
timestep {timestep}
run {rest} post no
thermo_style custom step etotal temp
thermo_modify format float %20.15g
thermo {every}
run {steps}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40_000, help="of 0.5 fs, or twice as many (default: %(default)s)")
    parser.add_argument("--lammps", type=Path, metavar="DIR", help="as for compress-onnx lammps-plugin")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.lammps:
            os.environ["COMPRESS_ONNX_LAMMPS"] = str(options.lammps)
        runner = lammps_runs.find(folder)
        if isinstance(runner, str):
            sys.exit(runner)
        lammps.build(folder, runner.package)
        for precision in {precision for precision, _ in RUNS}:
            co.compress(ROOT / "models/water.pth", folder / f"{precision}.onnx", check="none", precision=precision)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            lines = list(pool.map(lambda run: line(runner, folder, options.steps, *run), RUNS))
    print(f"{ATOMS} atoms, {options.steps * 0.5e-6:g} ns\n\n| | step | drift, eV per atom and ns | temperature |")
    print("|---|---|---|---|", *lines, sep="\n")


def line(runner: lammps_runs.Runner, folder: Path, steps: int, precision: str, timestep: float) -> str:
    """Of the table: one run, after a tenth of it to rest."""
    place = folder / f"{precision}_{timestep}"
    place.mkdir()
    for file in (*folder.glob("*.onnx"), *folder.glob("*.so")):
        (place / file.name).symlink_to(file)
    lammps_runs.write_data(place / "data", lammps_runs.water())
    count = int(steps * 0.5 / timestep)
    given = {"precision": precision, "timestep": timestep * 1e-3, "steps": count, "rest": count // 10, "every": EVERY}
    done = runner.run(place, START.format(**given), limit=None)
    if done.returncode:
        sys.exit(f"LAMMPS did not run: {done.stdout[-2000:]}")
    _, energy, temperature = lammps_runs.thermo(done.stdout).T
    slope, error = drift(energy, EVERY * timestep * 1e-6)
    low, high = temperature.min(), temperature.max()
    return f"| {precision} | {timestep} fs | {slope:+.4f} ± {error:.4f} | {low:.0f} to {high:.0f} K |"


def drift(energy: np.ndarray, step: float) -> tuple[float, float]:
    """Slope per atom and ns of energies every `step` ns, and its standard error, from the means of blocks."""
    blocks = np.array_split(energy / ATOMS, BLOCKS)
    times = step * len(energy) / BLOCKS * np.arange(BLOCKS)
    (slope, _), covariance = np.polyfit(times, [block.mean() for block in blocks], 1, cov=True)
    return slope, float(np.sqrt(covariance[0, 0]))


if __name__ == "__main__":
    main()
