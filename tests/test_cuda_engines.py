"""Engines that are told a device: Python, ASE, the command, LAMMPS and C, on one that is the host."""

import re
import subprocess

import compress_onnx as co
import cudahost
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx import DeepPot, _core, lib
from compress_onnx.cli import main
from compress_onnx.model import ModelError
from lammps_runs import WATER, trajectory, write_data

FRAME = next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == "periodic")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return cudahost.shared_library(tmp_path_factory)


@pytest.fixture
def device(library, monkeypatch):
    monkeypatch.setenv("DPC_CUDA_LIBRARY", str(library))
    return "cuda:0"


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    path = tmp_path_factory.mktemp("water") / "water.onnx"
    co.compress(MODELS / "water.pth", path, check="none")
    return path


def test_deep_pot(water, device):
    given = FRAME.coord[None], FRAME.cell[None], FRAME.atype
    ours = DeepPot(water, device=device).eval(*given, atomic=True)
    for one, other in zip(ours, DeepPot(water).eval(*given, atomic=True), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_no_such_device(water, device):
    with pytest.raises(ValueError, match="there is no cuda:1, only cuda:0 to cuda:0"):
        DeepPot(water, device="cuda:1")


def test_devices_are_counted(device, monkeypatch):
    assert _core.devices() == 1
    monkeypatch.setenv("DPC_CUDA_LIBRARY", "missing")
    assert _core.devices() == 0


def test_a_device_does_not_fall_back(water, monkeypatch):
    monkeypatch.setenv("DPC_CUDA_LIBRARY", "missing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        DeepPot(water, device="cuda:0")


def test_calculator_keeps_its_list(water, device):
    ase = pytest.importorskip("ase")
    from compress_onnx.calculator import DP

    forces = []
    for where in ("cpu", device):
        atoms = ase.Atoms(np.array(["O", "H"])[FRAME.atype], FRAME.coord, cell=FRAME.cell, pbc=True)
        atoms.calc = DP(model=str(water), device=where)
        for _ in range(4):
            atoms.positions += 0.02 * atoms.get_forces()
        forces.append(atoms.get_forces())
    np.testing.assert_allclose(forces[1], forces[0], rtol=0, atol=1e-10)


def test_commands(water, device, tmp_path, capsys):
    (tmp_path / "set.000").mkdir()
    np.savetxt(tmp_path / "type.raw", FRAME.atype, fmt="%d")
    (tmp_path / "type_map.raw").write_text("O\nH\n")
    for name, value in (("coord", FRAME.coord), ("box", FRAME.cell), ("energy", FRAME.energy), ("force", FRAME.force)):
        np.save(tmp_path / f"set.000/{name}.npy", np.reshape(value, (1, -1)))
    texts = []
    for where in ("cpu", device):
        assert main(["test", "-m", str(water), "-s", str(tmp_path), "--device", where]) == 0
        texts.append(re.sub(r"\d\.\d{3}\d+e", r"...e", capsys.readouterr().out))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("ranks", [0, 2])
def test_lammps(lmp, library, tmp_path, ranks):
    write_data(tmp_path / "data", FRAME)
    before = "neighbor 0.2 bin\nneigh_modify every 1 delay 0 check yes\n"  # short, so that lists are built anew
    results = [
        trajectory(lmp, tmp_path, style + before, steps=60, every=20, ranks=ranks, DPC_CUDA_LIBRARY=str(library))
        for style in (WATER, WATER.replace("water.onnx", "water.onnx device cuda"))
    ]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-8)


def test_lammps_says_what_is_wrong(lmp, tmp_path):
    write_data(tmp_path / "data", FRAME)
    said = lmp(WATER.replace("water.onnx", "water.onnx device gpu"), "", code=1)
    assert "pair_style dpc: a device is cpu or cuda:NUMBER, not gpu" in said


def test_md_in_c(water, device, tmp_path):
    flags = [
        f"-I{lib.include()}",
        f"-L{lib.path('libdpc').parent}",
        "-l:libdpc.so",
        f"-Wl,-rpath,{lib.path('libdpc').parent}",
    ]
    source = lib.sources() / "engines/c/md.c"
    subprocess.run(["gcc", "-std=c11", "-O1", source, *flags, "-lm", "-o", tmp_path / "md"], check=True)
    lattice = " ".join(map(str, FRAME.cell.ravel()))
    rows = "".join(f"{'OH'[t]} {x} {y} {z}\n" for t, (x, y, z) in zip(FRAME.atype, FRAME.coord))
    (tmp_path / "water.xyz").write_text(f'{len(FRAME.coord)}\nLattice="{lattice}"\n{rows}')
    command = [tmp_path / "md", water, tmp_path / "water.xyz", "O=15.999", "H=1.008", "steps=20", "temperature=300"]
    lines = [
        subprocess.run([*command, f"device={where}"], check=True, capture_output=True, text=True).stdout.splitlines()
        for where in ("cpu", device)
    ]
    np.testing.assert_allclose(*(np.loadtxt(each) for each in lines), rtol=0, atol=1e-6)
