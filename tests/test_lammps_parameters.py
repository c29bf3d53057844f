"""LAMMPS with the plugin: parameters of the frame and of each atom, from numbers, computes, fixes and electrons."""

from dataclasses import replace

import compress_onnx as co
import numpy as np
import pytest
import tiny
from cases import MODELS, frames_of_model, frames_of_oracle
from lammps_runs import MASSES, NVE, PER_ATOM, compare, read_dump, thermo, water, write_data

COEFF = "\npair_coeff * *\n"
FORCES = """
thermo_style custom step pe temp
thermo_modify format float %20.15g
thermo 1
dump d all custom 1 dump fx fy fz
dump_modify d sort id format float %20.15g
"""
# 4 x 3 x 2 cells, no two of the same temperature
CELLS = (4, 3, 2)
ELECTRONS = "fix electrons {group} ttm 1234 1 1 1 1 0 1 4 3 2 infile electrons\n"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """model(fparam, aparam): a file of a random model of two types that takes so many."""
    folder, made = tmp_path_factory.mktemp("tiny"), {}

    def model(fparam, aparam):
        path = folder / f"{fparam}_{aparam}.onnx"
        if path not in made:
            tree = tiny.tree(fitting=tiny.fitting(numb_fparam=fparam, numb_aparam=aparam))
            co.compress(tiny.write_dp(tree, str(path.with_suffix(".dp"))), path, check="none")
            made[path] = co.DeepPot(path)
        return path

    return model


def per_atom(number):
    """What gives each atom so many values of its own, as LAMMPS' atoms carry them, and a compute c_own of them."""
    names = " ".join(f"d_p{k}" for k in range(number))
    return f"fix own all property/atom {names}", f"compute own all property/atom {names}\n"


def append_values(path, values, order=None):
    """A section of a data file that fix own reads."""
    order = np.arange(1, len(values) + 1) if order is None else order
    rows = (f"{k} " + " ".join(map(repr, map(float, row))) for k, row in zip(order, values))
    path.write_text(path.read_text() + "\nOwn\n\n" + "\n".join(rows) + "\n")


def own(lmp, folder, frame, style, then, order=None, **options):
    """A run whose atoms carry the frame's aparam."""
    before, compute = per_atom(frame.aparam.shape[1])
    append_values(folder / "data", frame.aparam, order)
    return lmp(compute + style, then, before=before, reading="fix own NULL Own", **options)


@pytest.mark.parametrize("name", ["parameters", "fparam_aparam_pt", "fparam_aparam_tf"])
def test_results_are_those_of_the_original(lmp, tmp_path, request, name):
    if name == "parameters":
        source, frames = MODELS / "parameters.pth", frames_of_model(MODELS / "parameters.pth")
    else:
        folder = request.getfixturevalue("shared") / "oracle" / name
        source, frames = next(folder.glob("model.p*")), frames_of_oracle(folder)
    co.compress(source, tmp_path / "model.onnx", check="none")
    frame = next(frames)
    elements = co.DeepPot(tmp_path / "model.onnx").get_type_map()
    rotation = write_data(tmp_path / "data", frame, elements)
    values = " ".join(map(repr, map(float, frame.fparam)))
    style = f"pair_style deepmd model.onnx fparam {values} aparam_from_compute own{COEFF}"
    output = own(lmp, tmp_path, frame, style, PER_ATOM)
    compare(tmp_path, output, frame, rotation)


def forces(lmp, folder, style, then="run 0\n", **options):
    """Thermo [rows, columns] and forces [frames, atoms, 3]"""
    output = lmp(style, FORCES + then, **options)
    return thermo(output), read_dump(folder / "dump")


def expected(path, frame, **parameters):
    energy, force, _ = co.DeepPot(path).eval(frame.coord[None], frame.cell[None], frame.atype, **parameters)
    return energy.item(), force[0]


def check(row, atoms, path, frame, **parameters):
    energy, force = expected(path, frame, **parameters)
    assert row[1] == pytest.approx(energy, abs=1e-9 * len(frame.coord))
    np.testing.assert_allclose(atoms, force, rtol=0, atol=1e-8)


def test_numbers_for_all_atoms(lmp, tmp_path, tiny_models):
    path, frame = tiny_models(1, 2), water()
    write_data(tmp_path / "data", frame)
    rows, atoms = forces(lmp, tmp_path, f"pair_style dpc {path} aparam 0.25 -1.5 fparam 2{COEFF}")
    check(rows[0], atoms[0], path, frame, fparam=[2.0], aparam=[0.25, -1.5])


def test_a_scalar_compute_is_asked_at_each_step(lmp, tmp_path, tiny_models):
    """From the first step on, though LAMMPS prepares a temperature for use only after the first forces."""
    path, frame = tiny_models(1, 0), water()
    write_data(tmp_path / "data", frame)
    style = f"compute warm all temp\npair_style dpc {path} fparam_from_compute warm{COEFF}"
    style += "velocity all create 1.5 4711 loop geom\nvariable warm equal c_warm\n"
    rows, atoms = forces(lmp, tmp_path, style)
    check(rows[0], atoms[0], path, frame, fparam=[1.5])
    # with velocities that nothing changes between forces and output, output must be that of these forces
    still = "fix still all setforce 0 0 0\nfix nve all nve\ntimestep 1e-9\nvelocity all scale 2.5\nrun 2\n"
    rows, _ = forces(lmp, tmp_path, style, still)
    assert rows[:, 2] == pytest.approx(2.5)
    assert rows[-1, 1] == pytest.approx(expected(path, frame, fparam=[2.5])[0], abs=1e-6)


def test_vectors_of_computes_and_fixes(lmp, tmp_path, tiny_models):
    path, frame = tiny_models(2, 0), water()
    write_data(tmp_path / "data", frame)
    masses = np.array([MASSES["O"], MASSES["H"]])[frame.atype]
    output, _ = forces(
        lmp, tmp_path, f"compute centre all com\npair_style dpc {path} fparam_from_compute centre{COEFF}"
    )
    centre = masses @ frame.coord / masses.sum()
    assert output[0, 1] == pytest.approx(expected(path, frame, fparam=centre[:2])[0], abs=1e-7)
    # a fix has its values when it has been run once
    fix = "variable a equal 0.5\nvariable b equal -1\nvariable c equal 2\nfix three all ave/time 1 1 1 v_a v_b v_c\n"
    once = "run 0 post no\n"
    for words, values in (("three 1", [0.5, -1]), ("three 2", [-1, 2])):
        style = f"{fix}pair_style dpc {path} fparam_from_fix {words}{COEFF}{once}"
        rows, atoms = forces(lmp, tmp_path, style)
        check(rows[-1], atoms[-1], path, frame, fparam=values)
    # a scalar stands for all
    fix = "variable a equal 0.75\nfix one all ave/time 1 1 1 v_a\n"
    rows, atoms = forces(lmp, tmp_path, f"{fix}pair_style dpc {path} fparam_from_fix one{COEFF}{once}")
    check(rows[-1], atoms[-1], path, frame, fparam=[0.75, 0.75])


def test_parameters_go_with_atoms_from_rank_to_rank(lmp, tmp_path, tiny_models):
    """The frame's parameter is the temperature; each atom has its own two."""
    frame, random = water(), np.random.default_rng(3)
    order = random.permutation(len(frame.coord)) + 1
    frame = replace(frame, aparam=random.uniform(-1, 1, (len(frame.coord), 2)))
    style = f"pair_style dpc {tiny_models(1, 2)} fparam_from_compute warm aparam_from_compute own{COEFF}"
    then = NVE.format(steps=50, every=25, timestep=0.0005)
    results = []
    for ranks in (0, 2, 4):
        write_data(tmp_path / "data", frame, order=order)
        output = own(lmp, tmp_path, frame, f"compute warm all temp\n{style}", then, order, ranks=ranks)
        results.append((thermo(output), read_dump(tmp_path / "dump")))
    for rows, atoms in results[1:]:
        np.testing.assert_allclose(rows, results[0][0], rtol=1e-11)
        assert np.abs(atoms - results[0][1]).max() < 1e-10
    check(
        np.r_[0, results[0][0][0, 2]],
        results[0][1][0, :, 3:],
        tiny_models(1, 2),
        frame,
        fparam=[300],
        aparam=frame.aparam,
    )


def write_electrons(path):
    """Temperatures [x, y, z] and their file."""
    temperature = np.random.default_rng(5).uniform(0.1, 1, CELLS)
    rows = (f"{x + 1} {y + 1} {z + 1} {value!r}" for (x, y, z), value in np.ndenumerate(temperature.astype(object)))
    path.write_text("# UNITS: metal\n" + "\n".join(rows) + "\n")
    return temperature


@pytest.mark.parametrize("ranks", [0, 2])
def test_temperatures_of_electrons(lmp, tmp_path, tiny_models, ranks):
    frame = water()
    write_data(tmp_path / "data", frame)
    temperature = write_electrons(tmp_path / "electrons")
    path = tiny_models(1, 0)
    style = "{}pair_style dpc {} ttm electrons" + COEFF
    rows, atoms = forces(lmp, tmp_path, style.format(ELECTRONS.format(group="all"), path), ranks=ranks)
    check(rows[0], atoms[0], path, frame, fparam=[temperature.mean()])
    # where each atom takes a parameter, it is the temperature of its cell, or 0 outside the fix's group
    path = tiny_models(0, 1)
    cell = np.floor(frame.coord / np.diag(frame.cell) % 1 * CELLS).astype(int)
    aparam = np.where(frame.atype == 0, temperature[tuple(cell.T)], 0)[:, None]
    oxygen = "group oxygen type 1\n" + ELECTRONS.format(group="oxygen")
    rows, atoms = forces(lmp, tmp_path, style.format(oxygen, path), ranks=ranks)
    check(rows[0], atoms[0], path, frame, aparam=aparam)


ERRORS = {
    (1, 2, ""): "takes 1 parameter of the frame: say fparam with its values, or fparam_from_compute ID",
    (0, 2, ""): "takes 2 parameters of each atom: say aparam with its values, or aparam_from_compute ID",
    (0, 0, "fparam 1"): "takes no parameters of the frame: leave the keyword out",
    (0, 0, "aparam_from_compute x"): "takes no parameters of each atom: leave the keyword out",
    (1, 0, "fparam 1 2"): "fparam has 2 values, but",
    (0, 1, "aparam"): "aparam has 0 values, but",
    (1, 0, "fparam warm"): "fparam takes numbers, not warm; for values that change use fparam_from_compute",
    (1, 0, "fparam_from_compute"): "keyword fparam_from_compute needs a value after it",
    (1, 0, "fparam_from_fix f 0"): "takes the fix's ID and, for its vector, a component counted from 1, not 0",
    (1, 0, "fparam 1 fparam_from_fix f"): "fparam and fparam_from_fix say the same parameters: leave one out",
    (0, 1, "aparam 1 ttm f"): "aparam and ttm say the same parameters: leave one out",
    (0, 2, "ttm f"): "ttm f: a temperature is one parameter, but",
    (1, 0, "fparam_from_compute x"): "fparam_from_compute x: there is no compute x: define it before the run",
    (1, 0, "fparam_from_fix x"): "fparam_from_fix x: there is no fix x: define it before the run",
    (1, 0, "ttm x"): "ttm x: there is no fix x: define it before the run",
    (1, 0, "ttm nve"): "ttm nve: fix nve is of style nve: use one of style ttm",
    (1, 0, "fparam_from_compute ke"): "the model takes one parameter: use a compute that gives a global scalar",
    (2, 0, "fparam_from_compute ke"): "the model takes several parameters: use a compute that gives a global vector",
    (
        1,
        0,
        "fparam_from_fix nve",
    ): "the fix gives no global scalar: use one that does, or say a component of its vector",
    (2, 0, "fparam_from_fix nve 3"): "the fix has no global vector with 2 parameters of the frame from component 3 on",
    (0, 1, "aparam_from_compute centre"): "takes 1 parameter of each atom: use a compute that gives a per-atom vector",
    (
        0,
        2,
        "aparam_from_compute ke",
    ): "2 parameters of each atom: use a compute that gives a per-atom array with as many",
}
DEFINED = "fix nve all nve\ncompute ke all ke/atom\ncompute centre all com\n"


@pytest.mark.parametrize("wrong", ERRORS, ids=str)
def test_errors_say_what_to_do(lmp, tmp_path, tiny_models, wrong):
    fparam, aparam, words = wrong
    write_data(tmp_path / "data", water("cluster"))
    output = lmp(f"{DEFINED}pair_style dpc {tiny_models(fparam, aparam)} {words}{COEFF}", "run 0\n", code=1)
    assert ERRORS[wrong] in " ".join(output.split())


def test_models_must_take_the_same(lmp, tmp_path, tiny_models):
    write_data(tmp_path / "data", water("cluster"))
    output = lmp(f"pair_style dpc {tiny_models(1, 0)} {tiny_models(0, 0)} fparam 1{COEFF}", "", code=1)
    assert "takes other numbers of fparam and aparam than" in " ".join(output.split())
