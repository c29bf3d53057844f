"""peer - DeePMD-kit's models, trained or converted and compressed on the fly, and run by its LAMMPS."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cases import Frame
from compress_onnx.bench import SKIN
from systems import System

BACKENDS = {"TensorFlow": ("--tf", ".pb"), "PyTorch": ("--pt", ".pth")}
PRECISIONS = ("float64", "float32")
WARM_UP = 3  # steps
ATOM_STEPS = 4000  # atoms times steps that are timed
TRAINING_STEPS = 10  # what a step costs does not depend on how good a model is

SETUP = f"""\
units metal
atom_style atomic
neighbor {SKIN} bin
neigh_modify every 50 delay 0 check no
timestep 0.0005
"""
RUN = """\
clear
include setup.in
read_data {atoms}.data
pair_style deepmd {model}
pair_coeff * * {names}
velocity all create 300 1
fix 1 all nve
run {warm_up}
run {steps}
"""
TRAINING = {
    "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-5, "decay_steps": TRAINING_STEPS},
    "loss": {"type": "ener"},
    "training": {
        "training_data": {"systems": ["data"], "batch_size": 1},
        "numb_steps": TRAINING_STEPS,
        "disp_freq": TRAINING_STEPS,
        "save_freq": TRAINING_STEPS,
        "seed": 1,
    },
}
RESULT = re.compile(
    r"Loop time of .*? for (?P<steps>\d+) steps with (?P<atoms>\d+) atoms"
    r".*?(?P<use>[\d.]+)% CPU use.*?^Pair\s*\|\s*(?P<pair>[\d.e+-]+)",
    re.DOTALL | re.MULTILINE,
)


class Peer:
    """An installation of DeePMD-kit with LAMMPS, and compressed models of one set of types."""

    def __init__(self, venv: Path, folder: Path, names: Sequence[str]):
        self._venv, self._folder, self._names = venv.resolve(), folder, names
        self.version = self._call({}, "python", "-c", "import deepmd; print(deepmd.__version__)").splitlines()[-1]
        self._models: dict[tuple[str, str], str] = {}
        (folder / "setup.in").write_text(SETUP)

    def convert(self, model: Path) -> None:
        """Compress an original, as models of each backend and precision."""
        self._call({}, "python", str(Path(__file__).with_name("peer_models.py")), str(model.resolve()), ".")
        for precision in PRECISIONS:
            for backend, (_, suffix) in BACKENDS.items():
                self._compress(backend, precision, precision + suffix)

    def train(self, backend: str, name: str, model: dict, frame: Frame) -> Path:
        """Train the model of a training input on one frame and compress it; the original's path."""
        flag, suffix = BACKENDS[backend]
        self._write_data(frame)
        section = {"type_map": self._names} | model
        (self._folder / "input.json").write_text(json.dumps(TRAINING | {"model": section}))
        self._call({}, "dp", flag, "train", "input.json")
        self._call({}, "dp", flag, "freeze", "-o", name + suffix)
        self._compress(backend, name, name + suffix)
        return self._folder / (name + suffix)

    def _compress(self, backend: str, name: str, original: str) -> None:
        flag, suffix = BACKENDS[backend]
        compressed = f"{name}_compressed{suffix}"
        self._call({}, "dp", flag, "compress", "-i", original, "-o", compressed)
        self._models[backend, name] = compressed

    def _write_data(self, frame: Frame) -> None:
        folder = self._folder / "data"
        (folder / "set.000").mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / "type.raw", frame.atype, fmt="%d")
        arrays = {"coord": frame.coord, "box": frame.cell, "energy": frame.energy, "force": frame.force}
        for file, part in arrays.items():
            np.save(folder / "set.000" / file, np.reshape(part, (1, -1)))

    def step(self, systems: Sequence[System], threads: int) -> dict[tuple[str, str, int], float]:
        """µs per atom and step of energy, forces and virial: {(backend, name, atoms): figure}.

        Names are those of `train` and the precisions of `convert`. Processor time on one thread, wall time on more;
        the neighbour list is not in it.
        """
        runs = [(*key, len(system)) for key in self._models for system in systems]
        script = ""
        for backend, name, atoms in runs:
            names, steps = " ".join(self._names), max(5, ATOM_STEPS // atoms)
            model = self._models[backend, name]
            script += RUN.format(atoms=atoms, model=model, names=names, warm_up=WARM_UP, steps=steps)
        (self._folder / "run.in").write_text(script)
        for system in systems:
            system.write_lammps(self._folder / f"{len(system)}.data", self._names)
        pools = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")
        self._call(dict.fromkeys(pools, str(threads)), "lmp", "-in", "run.in", "-log", "run.log", "-screen", "none")
        found = list(RESULT.finditer((self._folder / "run.log").read_text()))[1::2]  # without the warm-up's
        return {run: _figure(match, threads) for run, match in zip(runs, found, strict=True)}

    def _call(self, environment: dict[str, str], program: str, *arguments: str) -> str:
        libraries = map(str, self._venv.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))
        path = os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")])
        variables = os.environ | {"LD_LIBRARY_PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        command = [str(self._venv / "bin" / program), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, env=variables | environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-500:]}")
        return done.stdout


def _figure(match: re.Match, threads: int) -> float:
    work = float(match["use"]) / 100 if threads == 1 else 1
    return 1e6 * float(match["pair"]) * work / (int(match["steps"]) * int(match["atoms"]))
