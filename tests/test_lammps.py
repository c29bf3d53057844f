"""LAMMPS with the plugin: its results, its files and its errors, in real runs."""

import shutil
from pathlib import Path

import compress_onnx as co
import numpy as np
import onnx
import pytest
from cases import MODELS, frames_of_oracle
from compress_onnx import onnxfile
from lammps_runs import PER_ATOM, WATER, compare, read_dump, same_table, thermo, trajectory, water, write_data

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("group", ["periodic", "triclinic", "cluster"])
def test_single_points_are_those_of_the_original(lmp, tmp_path, group):
    frame = water(group)
    rotation = write_data(tmp_path / "data", frame)
    output = lmp(WATER, PER_ATOM)
    compare(tmp_path, output, frame, rotation)


def test_production_water_is_that_of_the_oracle(lmp, tmp_path, shared):
    case = shared / "oracle/water_se_e2_a_prod_tf"
    co.compress(case / "model.pb", tmp_path / "production.onnx", check="none")
    frame = next(frames_of_oracle(case))
    rotation = write_data(tmp_path / "data", frame)
    output = lmp("pair_style dpc production.onnx\npair_coeff * * O H", PER_ATOM)
    compare(tmp_path, output, frame, rotation)


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
    write_data(tmp_path / "data", frame, order=order)
    units = "real" if name == "real" else "metal"
    style = f"pair_style deepmd water.onnx water_tf.onnx out_freq 2 out_file devi {keywords}\npair_coeff * * O H"
    lmp(style, f"\nfix nve all nve\ntimestep {0.5 if units == 'real' else 0.0005}\nrun 4\n", units=units)
    same_table((tmp_path / "devi").read_text(), (DATA / f"model_devi_{name}.out").read_text())


def test_the_file_of_four_models_is_the_peers(lmp, tmp_path):
    """Likewise; two descriptors with and without type embedding, from both backends."""
    sources = ("water.pth", "water_tf.pb", "typed.pth", "radial.pb")
    for source in sources[2:]:
        co.compress(MODELS / source, tmp_path / Path(source).with_suffix(".onnx"), check="none")
    frame = water("cluster")
    order = np.random.default_rng(2).permutation(len(frame.coord)) + 1
    write_data(tmp_path / "data", frame, order=order)
    files = " ".join(str(Path(source).with_suffix(".onnx")) for source in sources)
    style = f"pair_style dpc {files} out_freq 2 out_file devi atomic\npair_coeff * * O H"
    lmp(style, "\nfix nve all nve\ntimestep 0.0005\nrun 4\n")
    same_table((tmp_path / "devi").read_text(), (DATA / "model_devi_four.out").read_text())


def test_the_first_model_drives(lmp, tmp_path):
    write_data(tmp_path / "data", water())
    alone = trajectory(lmp, tmp_path, steps=20)
    several = trajectory(lmp, tmp_path, "pair_style dpc water.onnx water_tf.onnx out_freq 3\npair_coeff * *", steps=20)
    np.testing.assert_array_equal(alone[1], several[1])
    steps = np.loadtxt(tmp_path / "model_devi.out")[:, 0]
    assert steps.tolist() == [0, 3, 6, 9, 12, 15, 18]


def test_hybrid_overlay_and_null(lmp, tmp_path):
    """Argon atoms that the model does not know do not change the water, and the other way round."""
    frame, bare = water("cluster"), WATER
    write_data(tmp_path / "data", frame)
    lmp(bare, PER_ATOM)
    expected = read_dump(tmp_path / "dump")[0][:, :3]
    argon = np.array([[-6.0, -6, -6], [-6, -6, -2.5]]) + frame.coord.min(axis=0)
    three = type(frame)(**{**vars(frame), "coord": np.r_[frame.coord, argon], "atype": np.r_[frame.atype, [2, 2]]})
    write_data(tmp_path / "data", three, ("O", "H", "Ar"))
    lj = "pair_coeff {} lj/cut 0.0104 3.4"
    hybrid = f"""
        pair_style hybrid/overlay dpc water.onnx lj/cut 5.0
        pair_coeff * * dpc O H NULL
        {lj.format("3 3")}
        {lj.format("1*2 3")}"""
    lmp(hybrid, PER_ATOM)
    atoms = read_dump(tmp_path / "dump")[0]
    lmp("pair_style dpc water.onnx\npair_coeff * * O H NULL", PER_ATOM)
    alone = read_dump(tmp_path / "dump")[0]
    assert np.abs(alone[:27, :3] - expected).max() < 1e-12
    assert not alone[27:].any()
    r = 3.4 / 3.5
    assert atoms[27, 2] == pytest.approx(-24 * 0.0104 / 3.5 * (2 * r**12 - r**6), rel=1e-6)
    assert np.abs(atoms[:27, :3] - expected).max() < 1e-12


# an angstrom, an eV and a bar in the units of LAMMPS' styles, by CODATA 2018
UNITS = {
    "real": (1, 23.060548, 1 / 1.01325),
    "si": (1e-10, 1.602176634e-19, 1e5),
    "cgs": (1e-8, 1.602176634e-12, 1e6),
    "electron": (1.8897261246, 1 / 27.211386246, 1e5),
    "micro": (1e-4, 1.602176634e-4, 1e2),
    "nano": (0.1, 160.2176634, 1e-1),
}


@pytest.mark.parametrize("units", UNITS)
def test_units_are_the_same_physics(lmp, tmp_path, units):
    """LAMMPS' own constants are those of an earlier CODATA."""
    length, energy, pressure = UNITS[units]
    results = {}
    for name, unit in (("metal", 1), (units, length)):
        write_data(tmp_path / "data", water(), unit=unit)
        output = lmp(f"neighbor {unit} bin\n{WATER}", PER_ATOM, units=name)
        results[name] = thermo(output)[0], read_dump(tmp_path / "dump")[0]
    (row, atoms), (expected_row, expected) = results[units], results["metal"]
    assert row[1] == pytest.approx(expected_row[1] * energy, rel=2e-5)
    for ours, theirs, factor in (
        (row[2:], expected_row[2:], pressure),
        (atoms[:, :3], expected[:, :3], energy / length),
        (atoms[:, 3], expected[:, 3], energy),
        (atoms[:, 4:], expected[:, 4:], pressure * length**3),
    ):
        np.testing.assert_allclose(ours, theirs * factor, rtol=2e-5, atol=2e-5 * factor * np.abs(theirs).max())


def test_fix_adapt_scales(lmp, tmp_path):
    write_data(tmp_path / "data", water("cluster"))
    style = WATER
    lmp(style, PER_ATOM)
    full = read_dump(tmp_path / "dump")[0]
    lmp(style + "variable half equal 0.5\nfix half all adapt 1 pair dpc scale * * v_half", PER_ATOM)
    half = read_dump(tmp_path / "dump")[0]
    np.testing.assert_allclose(half, full / 2, rtol=1e-12, atol=1e-9)


def test_atoms_too_close(lmp, tmp_path):
    write_data(tmp_path / "data", water("cluster"))
    style = "pair_style dpc water.onnx range {}\npair_coeff * * O H\n"
    there = "set atom 2 x 0 y 0 z 0\nset atom 7 x 0.05 y 0 z 0\nrun 0\n"
    said = "2 pairs are outside the tables of the model, where it is extrapolated: atom 2 has a neighbour at 0.050"
    assert f"WARNING: pair_style dpc: {said}" in lmp(style.format("warn"), there)
    assert f"ERROR: pair_style dpc: {said}" in lmp(style.format("stop"), there, code=1)
    assert "outside" not in lmp(style.format("ignore"), there)
    assert "outside" not in lmp(WATER, there)


def test_the_models_own_frequency_is_used(lmp, tmp_path):
    co.compress(MODELS / "water.pth", tmp_path / "watch.onnx", check="none", frequency=2)
    write_data(tmp_path / "data", water("cluster"))
    there = "set atom 2 x 0 y 0 z 0\nset atom 7 x 0.05 y 0 z 0\nrun 4\n"
    output = lmp("pair_style dpc watch.onnx\npair_coeff * * O H\n", there)
    assert output.count("outside the tables") == 3  # evaluations 0, 2 and 4


def test_plugins_are_found_by_path(lmp, tmp_path, plugin):
    write_data(tmp_path / "data", water("cluster"))
    style = "pair_style deepmd water.onnx\npair_coeff * * O H\nplugin list\nrun 0\n"
    output = lmp(style, "", load=False, LAMMPS_PLUGIN_PATH=str(plugin.parent))
    assert "pair style plugin dpc" in output and "pair style plugin deepmd" in output


@pytest.mark.parametrize("ranks", [0, 2])
@pytest.mark.parametrize("external", [False, True], ids=["one file", "external data"])
def test_a_flipped_bit_is_found(lmp, tmp_path, external, ranks):
    write_data(tmp_path / "data", water("cluster"))
    model = damaged = tmp_path / "model.onnx"
    onnxfile.write(onnx.load(tmp_path / "water.onnx"), model, **({"threshold": 0} if external else {}))
    style = "pair_style dpc model.onnx\npair_coeff * * O H\n"
    lmp(style, "run 0\n", ranks=ranks)
    if external:
        (damaged,) = tmp_path.glob("model.onnx.*.data")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    said = (
        f"the external data {damaged.name} is damaged"
        if external
        else "the file is damaged: its SHA-256 is not the one"
    )
    assert f"ERROR: pair_style dpc: model.onnx: {said}" in " ".join(lmp(style, "run 0\n", code=1, ranks=ranks).split())


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
    (f"{STYLE} virtual_len 0.4 spin_norm 1",): "virtual_len: a model of spins has its own: leave the keyword out",
    (f"{STYLE} charge_spin 1 2",): "charge_spin: models that take a charge and spin of the frame are not supported",
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
    write_data(tmp_path / "data", water("cluster"))
    shutil.copy(MODELS / "water_tf.pb", tmp_path / "water.pb")
    if "alloy" in wrong[0]:
        co.compress(MODELS / "alloy.pth", tmp_path / "alloy.onnx", check="none")
    style, *change = wrong
    output = lmp(style, "\nrun 0\n", code=1, **(CHANGES[change[0]] if change else {}))
    assert ERRORS[wrong] in " ".join(output.split())


@pytest.mark.parametrize("style", ["nowhere.onnx", "water.onnx range stop", "water.onnx fparam_from_compute x"])
def test_an_error_ends_all_ranks(lmp, tmp_path, style):
    """Also one that only one of them sees: two atoms that are too close."""
    write_data(tmp_path / "data", water("cluster"))
    there = "\nset atom 2 x 0 y 0 z 0\nset atom 7 x 0.05 y 0 z 0\nrun 0\n"
    output = lmp(f"pair_style dpc {style}\npair_coeff * * O H", there, ranks=4, code=1)
    assert output.count("ERROR: pair_style dpc:") == 1


def test_ghosts_reach_as_far_as_the_model(lmp, tmp_path):
    """LAMMPS enlarges a communication cutoff that is too small for this pair style, and says so."""
    write_data(tmp_path / "data", water())
    lmp(WATER, PER_ATOM)
    expected = read_dump(tmp_path / "dump")
    output = lmp(f"comm_modify cutoff 2\n{WATER}", PER_ATOM, ranks=2)
    assert "Communication cutoff adjusted to 6.5" in output
    np.testing.assert_allclose(read_dump(tmp_path / "dump"), expected, rtol=1e-11, atol=1e-6)
