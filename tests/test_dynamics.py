"""Dynamics at constant energy: what conserves it has no drift, what does not has the one that it was given."""

import json

import ase.data
import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx import dynamics
from compress_onnx.cli import main
from compress_onnx.probe import Probe
from compress_onnx.validate import compared
from test_distance import write_system

SPRING = 20.0  # eV/Å²
ATOMS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with water.onnx and a system of one frame of a simulation."""
    folder = tmp_path_factory.mktemp("dynamics")
    co.compress(MODELS / "water.pth", folder / "water.onnx", check="none")
    (frame,) = (frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == "periodic")
    system = write_system(folder / "system", frame.coord[None], frame.cell[None], types=frame.atype)
    (system / "type_map.raw").write_text("O H\n")
    return folder


def springs(friction=0.0):
    """Atoms on springs, and forces that are wrong by a part of the last step."""
    before = [None]

    def evaluate(frame):
        x = frame.coord
        force = -SPRING * x
        if before[0] is not None and friction:
            force = force - friction * (x - before[0])
        before[0] = x
        return {"energy": np.array([SPRING / 2 * (x**2).sum()]), "force": force}

    return evaluate


def run(evaluate, steps=4000, spread=0.05):
    coord = np.random.default_rng(1).normal(scale=spread, size=(ATOMS, 3))
    types = np.zeros(ATOMS, np.int32)
    return dynamics.conserve(evaluate, Probe(coord, types, np.zeros((3, 3)), types), np.full(ATOMS, 12.0), steps)


def test_springs_conserve_energy_and_friction_is_seen():
    found = run(springs())
    assert abs(found.drift) < 5 * found.uncertainty + 1e-3
    assert found.atoms == ATOMS and found.steps == 4000 and found.time[-1] == 1000 and found.energy[0] == 0
    assert np.ptp(found.energy) < 1e-4
    lossy = run(springs(0.2))
    assert lossy.drift < -20 * lossy.uncertainty


def test_large_forces_are_calmed_first():
    assert np.ptp(run(springs(), 200, spread=5.0).energy) < 1e-2


def test_masses_are_those_of_the_elements():
    words = dynamics.MASSES.split()
    assert len(words) == 2 * 86
    for symbol, mass in zip(words[::2], words[1::2], strict=True):
        assert float(mass) == pytest.approx(ase.data.atomic_masses[ase.data.atomic_numbers[symbol]], rel=2e-2)
    assert dynamics.masses(["H", "Xx"]).tolist() == [1.008, dynamics.UNKNOWN]


def test_a_compressed_model_conserves_energy(folder):
    nve = compared(MODELS / "water.pth", folder / "water.onnx", folder / "system", nve=1000).validation.nve
    print(f"{nve.text} eV per atom and ns, within {np.ptp(nve.energy):.1e} eV")
    assert np.ptp(nve.energy) < 1e-3 and abs(nve.drift) < 4 * nve.uncertainty + 0.05


def test_command(folder, capsys):
    arguments = ["validate", "-i", str(MODELS / "water.pth"), "-m", str(folder / "water.onnx"), "--nve"]
    assert main([*arguments, "100"]) == 0
    assert "drift of the total energy in 100 steps of 0.25 fs" in capsys.readouterr().out
    for wrong in ("99", "-1", "many"):
        with pytest.raises(SystemExit):
            main([*arguments, wrong])


def test_plain_data(folder):
    found = compared(MODELS / "water.pth", folder / "water.onnx", nve=100).validation
    assert json.loads(json.dumps(found.to_json()))["nve"]["steps"] == 100


def test_what_has_no_dynamics_is_refused(tmp_path):
    co.compress(MODELS / "dos.dp", tmp_path / "dos.onnx", check="none")
    with pytest.raises(ValueError, match="dynamics at constant energy"):
        compared(MODELS / "dos.dp", tmp_path / "dos.onnx", nve=100)
