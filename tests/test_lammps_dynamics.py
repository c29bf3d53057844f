"""LAMMPS with the plugin: dynamics of water, alone and on several ranks, under a barostat and from restart files."""

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS
from lammps_runs import NVE, WATER, same_table, thermo, trajectory, water, write_data

TWO_MODELS = "pair_style dpc water.onnx water_tf.onnx out_freq {}\npair_coeff * * O H\n"
REPLICATE = {192: "replicate 1 1 2\n", 1536: "replicate 2 2 4\n"}
NPH = """
velocity all create 300 4711 loop geom
fix nph all nph aniso 0 0 0.05
timestep 0.00025
thermo_style custom step etotal econserve vol press
thermo_modify format float %20.15g
thermo 20
run 800
"""


@pytest.mark.parametrize("precision", ["float64", "mixed"])
@pytest.mark.parametrize("atoms", REPLICATE)
def test_energy_is_conserved(lmp, tmp_path, atoms, precision):
    """1000 steps of 0.25 fs, the second half of them when kinetic and potential energy have come to terms."""
    co.compress(MODELS / "water.pth", tmp_path / "other.onnx", check="none", precision=precision)
    write_data(tmp_path / "data", water())
    style = REPLICATE[atoms] + WATER.replace("water", "other")
    rows, _ = trajectory(lmp, tmp_path, style, steps=1000, every=10, timestep=0.00025)
    steps, total, potential = rows[len(rows) // 2 :, :3].T / [[1], [atoms], [atoms]]
    drift = np.polyfit(steps * 0.00025, total, 1)[0]
    assert abs(drift) < 3e-4  # eV per atom and ps, what velocity Verlet's swings make of so short a line
    assert np.ptp(total) < 5e-5
    assert np.ptp(potential) > 50 * np.ptp(total)


def test_a_barostat_uses_the_virial(lmp, tmp_path):
    """Its conserved quantity contains the work of the pressure: with another virial it would go as the energy does."""
    write_data(tmp_path / "data", water())
    rows = thermo(lmp(WATER, NPH))
    _, total, conserved, volume, _ = rows.T
    assert np.ptp(volume) > 0.05 * volume[0]
    assert np.ptp(conserved) < 0.04 * np.ptp(total)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_change_the_trajectory(lmp, tmp_path, ranks):
    style = TWO_MODELS.format("50 atomic")
    frame = water()
    order = np.random.default_rng(1).permutation(len(frame.coord)) + 1
    write_data(tmp_path / "data", frame, order=order)
    alone = trajectory(lmp, tmp_path, style)
    deviations = (tmp_path / "model_devi.out").read_text()
    together = trajectory(lmp, tmp_path, style, ranks=ranks)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-12)
    assert np.abs(together[1] - alone[1]).max() < 1e-10
    same_table((tmp_path / "model_devi.out").read_text(), deviations)


def test_threads_do_not_change_the_trajectory(lmp, tmp_path):
    write_data(tmp_path / "data", water())
    one, two = (trajectory(lmp, tmp_path, steps=20, OMP_NUM_THREADS=threads) for threads in "12")
    np.testing.assert_array_equal(one[1], two[1])


def test_restart_goes_on(lmp, tmp_path):
    """The line of the step where the run was cut is in the file of deviations twice."""
    write_data(tmp_path / "data", water())
    style = TWO_MODELS.format(5)
    nve = NVE.format(steps="{}", every=10, timestep=0.0005)
    through = thermo(lmp(style, nve.format(20)))
    deviations = (tmp_path / "model_devi.out").read_text().splitlines()
    lmp(style, nve.format(10) + "write_restart restart\n")
    again = "\n".join(line for line in nve.splitlines() if not line.startswith("velocity"))
    output = lmp(f"read_restart restart\n{style}", again.format(10), start="")
    np.testing.assert_allclose(thermo(output), through[1:], rtol=1e-11)
    lines = (tmp_path / "model_devi.out").read_text().splitlines()
    assert lines == deviations[:4] + deviations[3:]
