"""LAMMPS with the plugin: models of spins, whose forces on spins are what LAMMPS turns spins by."""

from dataclasses import replace
from pathlib import Path

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model, frames_of_oracle
from lammps_runs import PER_ATOM, WATER, compare, read_dump, same_table, thermo, water, write_data

HBAR = 4.135667403e-3 / (2 * np.pi)  # eV ps, as LAMMPS has it
SPINS = {"before": "atom_style spin\natom_modify map array"}
NICKEL = ("Ni", "O")
STYLE = "pair_style dpc spin.onnx\npair_coeff * * Ni O\n"
ATOMS = """
compute spin all property/atom {columns}
dump spins all custom {every} spins c_spin[*]
dump_modify spins sort id format float %20.15g
"""
PRECESSIONS = ATOMS.replace("{columns}", "fmx fmy fmz")
MOVES = """
velocity all create 300 4711 loop geom
fix nve all nve
timestep 0.0005
thermo_style custom step etotal pe press
thermo_modify format float %20.15g
thermo 10
run 40
"""
RELAXES = """
thermo_style custom step pe
thermo_modify format float %20.15g
thermo 1
min_style spin
min_modify alpha_damp 1.0 discrete_factor 10.0
minimize 0 0 40 400
"""


@pytest.fixture(scope="session")
def spin_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("spins") / "spin.onnx"
    co.compress(MODELS / "spin.pth", path, check="none")
    return path


@pytest.fixture
def magnet(lmp, spin_model, tmp_path):
    """run(style, then): as lmp, with atoms of style spin and the model."""
    (tmp_path / "spin.onnx").symlink_to(spin_model)
    return lambda style, then, **options: lmp(style, then, **{**SPINS, **options})


def frame_of(group):
    return next(frame for frame in frames_of_model(MODELS / "spin.pth") if frame.group == group)


def precessions(frame, rotation):
    """Of the original's forces on spins, fm [atoms, 3] in rad/ps."""
    length = np.linalg.norm(frame.spin, axis=1, keepdims=True)
    return frame.expected["force_mag"] @ rotation.T * length / HBAR


@pytest.mark.parametrize("name", ["dpc", "deepspin"])
@pytest.mark.parametrize("group", ["periodic", "triclinic", "cluster"])
def test_single_points_are_those_of_the_original(magnet, tmp_path, group, name):
    """Without a skin: the list reaches as far as virtual atoms do all the same."""
    frame = frame_of(group)
    rotation = write_data(tmp_path / "data", frame, NICKEL)
    style = f"neighbor 0 bin\n{STYLE.replace('dpc', name)}"
    output = magnet(style, PRECESSIONS.format(every=1) + PER_ATOM)
    compare(tmp_path, output, frame, rotation)
    expected = precessions(frame, rotation)
    np.testing.assert_allclose(read_dump(tmp_path / "spins")[0], expected, rtol=0, atol=1e-8 * 2 / HBAR)
    assert np.abs(expected).max() > 50


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_change_the_trajectory(magnet, tmp_path, ranks):
    frame = frame_of("periodic")
    write_data(tmp_path / "data", frame, NICKEL, order=np.random.default_rng(1).permutation(len(frame.coord)) + 1)
    results = []
    for count in (0, ranks):
        output = magnet(STYLE, PRECESSIONS.format(every=20) + MOVES, ranks=count)
        results.append((thermo(output), read_dump(tmp_path / "spins")))
    (alone, spins), (together, others) = results
    np.testing.assert_allclose(together, alone, rtol=1e-11)
    assert np.abs(others - spins).max() < 1e-7 and np.abs(spins[-1] - spins[0]).max() > 1
    assert np.ptp(alone[:, 1]) < 0.02 * np.ptp(alone[:, 2])  # of atoms whose spins are held


@pytest.mark.parametrize("ranks", [0, 2])
def test_spins_relax(magnet, tmp_path, ranks):
    """Downhill by what the forces on spins promise."""
    write_data(tmp_path / "data", frame_of("periodic"), NICKEL)
    energy = thermo(magnet(STYLE, RELAXES, ranks=ranks))[:, 1]
    assert (np.diff(energy) < 0).all() and energy[0] - energy[-1] > 0.1


def test_lammps_own_dynamics_of_spins_leave_it_out(magnet, tmp_path):
    """fix nve/spin asks pair styles of LAMMPS' alone, as docs/engines.md says: spins stay as they are."""
    write_data(tmp_path / "data", frame_of("periodic"), NICKEL)
    moving = "fix nve all nve/spin lattice moving\ntimestep 0.0005\nrun 10\n"
    magnet(STYLE, ATOMS.format(columns="spx spy spz", every=10) + moving)
    first, last = read_dump(tmp_path / "spins")
    np.testing.assert_allclose(last, first, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def two_models(shared, tmp_path_factory):
    """Their files, and a frame."""
    files, folder = [], tmp_path_factory.mktemp("two")
    for name in ("spin_se_a_pt", "spin_dpa1_pt"):
        files.append(folder / f"{name}.onnx")
        co.compress(shared / "oracle" / name / "model.pth", files[-1], check="none")
    return files, next(f for f in frames_of_oracle(shared / "oracle/spin_se_a_pt") if not f.cell.any())


@pytest.mark.parametrize("keywords", ["", "atomic", "relative 0.5 relative_v 0.1"])
def test_model_deviations_are_in_the_format_of_the_peer(magnet, tmp_path, two_models, keywords):
    """data/model_devi_spin*.out are from DeePMD-kit 3.2.0's pair_style deepspin on the uncompressed models."""
    (first, second), frame = two_models
    write_data(tmp_path / "data", frame, NICKEL)
    style = f"pair_style deepspin {first} {second} out_freq 2 out_file devi {keywords}"
    magnet(f"{style}\npair_coeff * * Ni O", "\nfix nve all nve\ntimestep 0.0005\nrun 4\n")
    expected = Path(__file__).parent / f"data/model_devi_spin_{keywords.partition(' ')[0] or 'plain'}.out"
    same_table((tmp_path / "devi").read_text(), expected.read_text())


def test_errors_say_what_to_do(magnet, tmp_path):
    write_data(tmp_path / "data", water("cluster"))
    for style, said in (
        (
            "pair_style dpc spin.onnx\npair_coeff * *",
            "the model is one of spins, and these atoms have none: use atom_style",
        ),
        ("pair_style dpc spin.onnx water.onnx", "of water.onnx and spin.onnx only one is a model of spins"),
    ):
        assert said in " ".join(magnet(style, "\nrun 0\n", before="", code=1).split())


def test_other_models_do_not_see_spins(magnet, tmp_path):
    frame = water("cluster")
    write_data(tmp_path / "data", frame)
    magnet(WATER, PER_ATOM, before="")
    expected = read_dump(tmp_path / "dump")
    write_data(tmp_path / "data", replace(frame, spin=np.ones_like(frame.coord)))
    magnet(WATER, PER_ATOM)
    np.testing.assert_array_equal(read_dump(tmp_path / "dump"), expected)
