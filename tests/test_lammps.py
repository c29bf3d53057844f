"""LAMMPS with the plugin: its results, its files and its errors, in real runs."""

import re
import shutil
from pathlib import Path

import compress_onnx as co
import lammps_runs
import numpy as np
import pytest
from cases import MODELS, frames_of_model, frames_of_oracle
from lammps_runs import lammps_plugin, lammps_runner  # noqa: F401

DATA = Path(__file__).parent / "data"
# (a, b) of LAMMPS' r_a f_b in the order of its columns, in our virial's f_a r_b
COMPONENTS = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)]
START = """
units {units}
{newton}
atom_style atomic
read_data data
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
timestep 0.0005
thermo_style custom step etotal pe press
thermo_modify format float %20.15g
thermo {every}
dump d all custom {every} dump x y z fx fy fz
dump_modify d sort id format float %20.15g
run {steps}
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with compressed models."""
    folder = tmp_path_factory.mktemp("models")
    for source in ("water.pth", "water_tf.pb"):
        co.compress(MODELS / source, folder / Path(source).with_suffix(".onnx"), check="none")
    return folder


@pytest.fixture
def lmp(runner, plugin, models, tmp_path):
    """run(style, then): LAMMPS in tmp_path, which holds water.onnx and water_tf.onnx, with the file data; its output."""
    for model in models.iterdir():
        (tmp_path / model.name).symlink_to(model)

    def run(style, then, start=START, units="metal", newton="newton on", code=0, load=True, **options):
        given = start.format(units=units, newton=newton)
        loading = f"plugin load {plugin}\n" if load else ""
        done = runner.run(tmp_path, given + loading + style + then, **options)
        assert (done.returncode == 0) == (code == 0), done.stdout[-3000:]
        return done.stdout

    return run


def water(group="periodic", file="water.pth"):
    return next(frame for frame in frames_of_model(MODELS / file) if frame.group == group)


def compare(folder, output, frame, rotation, energy, force, virial):
    """Results of PER_ATOM with those of the frame; tolerances in eV/atom, eV/Å, eV."""
    row = lammps_runs.thermo(output)[0]
    atoms = lammps_runs.read_dump(folder / "dump")[0]
    n = len(frame.coord)
    volume = abs(np.linalg.det(frame.cell)) if frame.cell.any() else np.prod(np.ptp(frame.coord, axis=0) + 40)
    turned = rotation @ frame.virial @ rotation.T
    atom_virial = rotation @ frame.atom_virial @ rotation.T
    assert abs(row[1] - frame.energy) < energy * n
    pairs = zip(row[2:] * volume / lammps_runs.PRESSURE, COMPONENTS)
    assert max(abs(ours - turned[at]) for ours, at in pairs) < virial
    assert np.abs(atoms[:, :3] @ rotation - frame.force).max() < force
    assert np.abs(atoms[:, 3] - frame.atom_energy).max() < energy
    stress = -atoms[:, 4:] / lammps_runs.PRESSURE  # LAMMPS' sign of a stress
    for column, (a, b) in enumerate(COMPONENTS + COMPONENTS[:6]):
        assert np.abs(stress[:, column] - atom_virial[:, a, b]).max() < virial


@pytest.mark.parametrize("group", ["periodic", "triclinic", "cluster"])
def test_single_points_are_those_of_the_original(lmp, tmp_path, group):
    frame = water(group)
    rotation = lammps_runs.write_data(tmp_path / "data", frame)
    output = lmp("pair_style dpc water.onnx\npair_coeff * * O H", PER_ATOM)
    compare(tmp_path, output, frame, rotation, energy=1e-9, force=1e-8, virial=1e-6)


def test_production_water_is_that_of_the_oracle(lmp, tmp_path, shared):
    case = shared / "oracle/water_se_e2_a_prod_tf"
    co.compress(case / "model.pb", tmp_path / "production.onnx", check="none")
    frame = next(frames_of_oracle(case))
    rotation = lammps_runs.write_data(tmp_path / "data", frame)
    output = lmp("pair_style dpc production.onnx\npair_coeff * * O H", PER_ATOM)
    compare(tmp_path, output, frame, rotation, energy=1e-9, force=1e-8, virial=1e-6)


def trajectory(lmp, folder, style="pair_style dpc water.onnx\npair_coeff * * O H", steps=100, every=50, **options):
    """Thermo [rows, columns] and dump [frames, atoms, columns] of an NVE run."""
    output = lmp(style, NVE.format(steps=steps, every=every), **options)
    return lammps_runs.thermo(output), lammps_runs.read_dump(folder / "dump")


def test_energy_is_conserved(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water())
    rows, _ = trajectory(lmp, tmp_path, steps=200, every=10)
    assert np.ptp(rows[:, 1]) < 1e-4 * 96  # eV; the step is 0.5 fs
    assert np.ptp(rows[:, 2]) > 100 * np.ptp(rows[:, 1])


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_change_the_trajectory(lmp, tmp_path, runner, ranks):
    if runner.mpirun is None:
        pytest.skip("there is no mpirun of MPICH: pip install mpich")
    style = "pair_style dpc water.onnx water_tf.onnx out_freq 50 atomic\npair_coeff * * O H"
    frame = water()
    order = np.random.default_rng(1).permutation(len(frame.coord)) + 1
    lammps_runs.write_data(tmp_path / "data", frame, order=order)
    alone = trajectory(lmp, tmp_path, style)
    deviations = (tmp_path / "model_devi.out").read_text()
    together = trajectory(lmp, tmp_path, style, ranks=ranks)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-12)
    assert np.abs(together[1] - alone[1]).max() < 1e-10
    same_table((tmp_path / "model_devi.out").read_text(), deviations)


def test_threads_do_not_change_the_trajectory(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water())
    one, two = (trajectory(lmp, tmp_path, steps=20, OMP_NUM_THREADS=threads) for threads in "12")
    np.testing.assert_array_equal(one[1], two[1])


def same_table(ours, theirs):
    """Byte by byte, but for the last digit of some numbers: the tables err by the accuracy of the compression."""
    assert len(ours) == len(theirs)
    assert re.sub(r"\d", "0", ours) == re.sub(r"\d", "0", theirs)
    ours, theirs = (np.loadtxt(text.splitlines()) for text in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


DEVIATIONS = {
    "plain": ("", "periodic"),
    "relative": ("relative 0.5 relative_v 0.1", "periodic"),
    "atomic": ("atomic", "cluster"),
    "real": ("atomic", "cluster"),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_model_deviations_are_in_the_format_of_the_peer(lmp, tmp_path, name):
    """data/model_devi_*.out are from DeePMD-kit 3.2.0's pair_style deepmd on the uncompressed models."""
    keywords, group = DEVIATIONS[name]
    frame = water(group)
    order = np.random.default_rng(2).permutation(len(frame.coord)) + 1
    lammps_runs.write_data(tmp_path / "data", frame, order=order)
    units = "real" if name == "real" else "metal"
    style = f"pair_style deepmd water.onnx water_tf.onnx out_freq 2 out_file devi {keywords}\npair_coeff * * O H"
    lmp(style, f"\nfix nve all nve\ntimestep {0.5 if units == 'real' else 0.0005}\nrun 4\n", units=units)
    same_table((tmp_path / "devi").read_text(), (DATA / f"model_devi_{name}.out").read_text())


def test_four_models(lmp, tmp_path, shared):
    names = ("se_a_tf", "se_a_oneside_tf", "se_a_pt", "se_a_oneside_pt")
    files = []
    for name in names:
        model = next((shared / "oracle" / name).glob("model.p*"))
        co.compress(model, tmp_path / f"{name}.onnx", check="none")
        files.append(f"{name}.onnx")
    frame = next(frames_of_oracle(shared / "oracle" / names[0]))
    lammps_runs.write_data(tmp_path / "data", frame)
    lmp(f"pair_style dpc {' '.join(files)} out_freq 1\npair_coeff * * O H", "\nrun 0\n")
    forces = np.array([next(frames_of_oracle(shared / "oracle" / name)).force for name in names])
    spread = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
    row = np.loadtxt(tmp_path / "model_devi.out")
    np.testing.assert_allclose(row[4:], [spread.max(), spread.min(), spread.mean()], rtol=2e-6)


def test_the_first_model_drives(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water())
    alone = trajectory(lmp, tmp_path, steps=20)
    several = trajectory(lmp, tmp_path, "pair_style dpc water.onnx water_tf.onnx out_freq 3\npair_coeff * *", steps=20)
    np.testing.assert_array_equal(alone[1], several[1])
    steps = np.loadtxt(tmp_path / "model_devi.out")[:, 0]
    assert steps.tolist() == [0, 3, 6, 9, 12, 15, 18]


def test_hybrid_overlay_and_null(lmp, tmp_path):
    """Argon atoms that the model does not know do not change the water, and the other way round."""
    frame, bare = water("cluster"), "pair_style dpc water.onnx\npair_coeff * * O H"
    lammps_runs.write_data(tmp_path / "data", frame)
    lmp(bare, PER_ATOM)
    expected = lammps_runs.read_dump(tmp_path / "dump")[0][:, :3]
    argon = np.array([[-6.0, -6, -6], [-6, -6, -2.5]]) + frame.coord.min(axis=0)
    three = type(frame)(**{**vars(frame), "coord": np.r_[frame.coord, argon], "atype": np.r_[frame.atype, [2, 2]]})
    lammps_runs.write_data(tmp_path / "data", three, types=3)
    lj = "pair_coeff {} lj/cut 0.0104 3.4"
    hybrid = f"""
        pair_style hybrid/overlay dpc water.onnx lj/cut 5.0
        pair_coeff * * dpc O H NULL
        {lj.format("3 3")}
        {lj.format("1*2 3")}"""
    lmp(hybrid, PER_ATOM)
    atoms = lammps_runs.read_dump(tmp_path / "dump")[0]
    lmp("pair_style dpc water.onnx\npair_coeff * * O H NULL", PER_ATOM)
    alone = lammps_runs.read_dump(tmp_path / "dump")[0]
    assert np.abs(alone[:27, :3] - expected).max() < 1e-12
    assert not alone[27:].any()
    r = 3.4 / 3.5
    assert atoms[27, 2] == pytest.approx(-24 * 0.0104 / 3.5 * (2 * r**12 - r**6), rel=1e-6)
    assert np.abs(atoms[:27, :3] - expected).max() < 1e-12


def test_real_units_are_the_same_physics(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water())
    style = "pair_style dpc water.onnx\npair_coeff * * O H"
    lmp(style, PER_ATOM)
    metal = lammps_runs.read_dump(tmp_path / "dump")[0]
    lmp(style, PER_ATOM, units="real")
    real = lammps_runs.read_dump(tmp_path / "dump")[0]
    kcal = 0.0019872067 / 8.617343e-5
    np.testing.assert_allclose(real[:, :4], metal[:, :4] * kcal, rtol=1e-9, atol=1e-9)


def test_restart_goes_on(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water())
    style = "pair_style dpc water.onnx water_tf.onnx out_freq 5\npair_coeff * * O H\n"
    through, _ = trajectory(lmp, tmp_path, style, steps=20, every=10)
    deviations = (tmp_path / "model_devi.out").read_text()
    lmp(style, NVE.format(steps=10, every=10) + "write_restart restart\n")
    again = "\n".join(line for line in NVE.splitlines() if not line.startswith("velocity"))
    output = lmp(f"read_restart restart\n{style}", again.format(steps=10, every=10), start="")
    np.testing.assert_allclose(lammps_runs.thermo(output), through[1:], rtol=1e-11)
    lines = (tmp_path / "model_devi.out").read_text().splitlines()
    assert lines[:3] + lines[4:] == deviations.splitlines()[:3] + deviations.splitlines()[3:]


def test_fix_adapt_scales(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water("cluster"))
    style = "pair_style dpc water.onnx\npair_coeff * * O H\n"
    lmp(style, PER_ATOM)
    full = lammps_runs.read_dump(tmp_path / "dump")[0]
    lmp(style + "variable half equal 0.5\nfix half all adapt 1 pair dpc scale * * v_half", PER_ATOM)
    half = lammps_runs.read_dump(tmp_path / "dump")[0]
    np.testing.assert_allclose(half, full / 2, rtol=1e-12, atol=1e-9)


def test_atoms_too_close(lmp, tmp_path):
    lammps_runs.write_data(tmp_path / "data", water("cluster"))
    style = "pair_style dpc water.onnx range {}\npair_coeff * * O H\n"
    there = "set atom 2 x 0 y 0 z 0\nset atom 7 x 0.05 y 0 z 0\nrun 0\n"
    said = "2 pairs are outside the tables of the model, where it is extrapolated: atom 2 has a neighbour at 0.050"
    assert f"WARNING: pair_style dpc: {said}" in lmp(style.format("warn"), there)
    assert f"ERROR: pair_style dpc: {said}" in lmp(style.format("stop"), there, code=1)
    assert "outside" not in lmp(style.format("ignore"), there)
    assert "outside" not in lmp("pair_style dpc water.onnx\npair_coeff * * O H\n", there)


def test_the_models_own_frequency_is_used(lmp, tmp_path):
    co.compress(MODELS / "water.pth", tmp_path / "watch.onnx", check="none", frequency=2)
    lammps_runs.write_data(tmp_path / "data", water("cluster"))
    there = "set atom 2 x 0 y 0 z 0\nset atom 7 x 0.05 y 0 z 0\nrun 4\n"
    output = lmp("pair_style dpc watch.onnx\npair_coeff * * O H\n", there)
    assert output.count("outside the tables") == 3  # evaluations 0, 2 and 4


def test_plugins_are_found_by_path(lmp, tmp_path, plugin):
    lammps_runs.write_data(tmp_path / "data", water("cluster"))
    style = "pair_style deepmd water.onnx\npair_coeff * * O H\nplugin list\nrun 0\n"
    output = lmp(style, "", load=False, LAMMPS_PLUGIN_PATH=str(plugin.parent))
    assert "pair style plugin dpc" in output and "pair style plugin deepmd" in output


STYLE = "pair_style dpc water.onnx"
ERRORS = {
    ("pair_style dpc",): "name at least one compressed model (.onnx) before the keywords",
    ("pair_style dpc nowhere.onnx",): "nowhere.onnx is neither a readable file nor a keyword",
    ("pair_style dpc water.pb",): "water.pb: this is no model of compress-onnx; compress it first: compress-onnx -i",
    (f"{STYLE} water_tf.onnx out_freq 3 colour red",): "unknown keyword colour; known are out_freq, out_file, atomic,",
    (f"{STYLE} out_freq",): "keyword out_freq needs a value after it",
    (f"{STYLE} out_freq often",): "out_freq must be a number of steps, or 0 for never, not often",
    (f"{STYLE} relative -1",): "the level of relative must be a number from 0 on, not -1",
    (f"{STYLE} range far",): "range must be warn, stop or ignore, not far",
    (f"{STYLE} fparam 1.0",): "fparam: models with frame or atomic parameters are not supported by this version",
    (f"{STYLE} aparam_from_compute c",): "aparam_from_compute: models with frame or atomic parameters are not",
    (f"{STYLE} virtual_len 0.4 spin_norm 1",): "virtual_len: models with spin are not supported by this version",
    (f"{STYLE} water_tf.onnx out_file no/where",): "cannot write out_file no/where",
    (f"{STYLE} alloy.onnx",): "alloy.onnx has other types (Cu Au) than water.onnx (O H)",
    (f"{STYLE}\npair_coeff * * O Si",): "the model has no element Si, only O H",
    (f"{STYLE}\npair_coeff * * O",): "1 elements for 2 atom types: name an element or NULL for each",
    (STYLE,): "All pair coeffs are not set",
    (f"{STYLE}\npair_coeff * *\n{STYLE}",): "All pair coeffs are not set",
    (f"{STYLE}\npair_coeff * *", "newton"): "needs forces on ghost atoms sent back: use newton on",
    (STYLE, "units"): "a model knows angstrom and eV: use any units but lj",
}
CHANGES = {"newton": {"newton": "newton off"}, "units": {"units": "lj"}}


@pytest.mark.parametrize("wrong", ERRORS, ids=" ".join)
def test_errors_say_what_to_do(lmp, tmp_path, wrong):
    lammps_runs.write_data(tmp_path / "data", water("cluster"))
    shutil.copy(MODELS / "water_tf.pb", tmp_path / "water.pb")
    if "alloy" in wrong[0]:
        co.compress(MODELS / "alloy.pth", tmp_path / "alloy.onnx", check="none")
    style, *change = wrong
    output = lmp(style, "\nrun 0\n", code=1, **(CHANGES[change[0]] if change else {}))
    assert ERRORS[wrong] in " ".join(output.split())
