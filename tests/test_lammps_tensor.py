"""LAMMPS with the plugin: compute deeptensor/atom, dipoles and polarizabilities of each atom."""

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, frames_of_model, frames_of_oracle
from lammps_runs import WATER, read_dump, water, write_data

BOHR = 0.529177249  # Å, as LAMMPS has it
ZERO = "pair_style zero 3.5\npair_coeff * *"
TENSOR = """
compute tensor {group} deeptensor/atom {model}
dump d all custom 1 dump c_tensor[*]
dump_modify d sort id format float %20.15g
run {steps}
"""


@pytest.fixture(scope="session")
def tensor_models(tmp_path_factory):
    """dipole.onnx and polar.onnx by name."""
    folder = tmp_path_factory.mktemp("tensors")
    for name in ("dipole", "polar"):
        co.compress(source_of(name), folder / f"{name}.onnx", check="none")
    return {name: folder / f"{name}.onnx" for name in ("dipole", "polar")}


def source_of(name):
    return next(path for path in MODELS.glob(f"{name}.*") if path.suffix != ".npz")


def frame_of(name, group):
    return next(frame for frame in frames_of_model(source_of(name)) if frame.group == group)


def turned(tensor, rotation):
    """Vectors [n, 3] or matrices [n, 9] in LAMMPS' frame of reference."""
    if tensor.shape[1] == 3:
        return tensor @ rotation.T
    return (rotation @ tensor.reshape(-1, 3, 3) @ rotation.T).reshape(-1, 9)


@pytest.mark.parametrize("group", ["triclinic", "cluster"])
@pytest.mark.parametrize("name", ["dipole", "polar"])
def test_tensors_are_those_of_the_original(lmp, tmp_path, tensor_models, name, group):
    frame = frame_of(name, group)
    rotation = write_data(tmp_path / "data", frame)
    lmp(ZERO, TENSOR.format(group="all", model=tensor_models[name], steps=0))
    expected = turned(frame.expected["atom_tensor"], rotation)
    np.testing.assert_allclose(read_dump(tmp_path / "dump")[0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["dipole_tf", "polar_tf", "dipole_pt", "polar_pt"])
def test_tensors_are_those_of_the_oracle(lmp, tmp_path, shared, name):
    """Its tensors are those of the selected types alone; it knows nothing of others."""
    folder = shared / "oracle" / name
    co.compress(next(folder.glob("model.p*")), tmp_path / "tensor.onnx", check="none")
    frame = next(frames_of_oracle(folder))
    rotation = write_data(tmp_path / "data", frame)
    lmp("pair_style zero 4.0\npair_coeff * *", TENSOR.format(group="all", model="tensor.onnx", steps=0))
    expected = turned(frame.expected["atom_tensor"], rotation)
    np.testing.assert_allclose(read_dump(tmp_path / "dump")[0], expected, rtol=0, atol=1e-8)


def test_a_group_and_other_units(lmp, tmp_path, tensor_models):
    """Zero outside the group and for hydrogen, which the model does not select; a length is one of LAMMPS'."""
    frame = frame_of("dipole", "cluster")
    write_data(tmp_path / "data", frame, unit=1 / BOHR)
    group = "group some id 1:10\n"
    style = group + ZERO.replace("3.5", "6.7")
    lmp(style, TENSOR.format(group="some", model=tensor_models["dipole"], steps=0), units="electron")
    expected = frame.expected["atom_tensor"] / BOHR
    expected[10:] = 0
    assert expected[frame.atype == 0].any() and not expected[frame.atype == 1].any()
    np.testing.assert_allclose(read_dump(tmp_path / "dump")[0], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("ranks", [2, 4])
def test_tensors_along_a_trajectory(lmp, tmp_path, tensor_models, ranks):
    """Beside the model that drives, on several ranks as on one."""
    write_data(tmp_path / "data", water())
    then = "velocity all create 300 1 loop geom\nfix nve all nve\ntimestep 0.0005\nthermo 10"
    then += TENSOR.format(group="all", model=f"{tensor_models['polar']} O H", steps=30)
    tensors = []
    for count in (0, ranks):
        lmp(WATER, then, ranks=count)
        tensors.append(read_dump(tmp_path / "dump"))
    assert np.abs(tensors[0][-1] - tensors[0][0]).max() > 1e-3
    np.testing.assert_allclose(tensors[1], tensors[0], rtol=0, atol=1e-10)


ERRORS = {
    "": "compute deeptensor/atom needs a compressed model (.onnx) after its style",
    "nowhere.onnx": "compute deeptensor/atom: nowhere.onnx is neither a readable file",
    "water.onnx": "is a model of kind ener, which has no tensors: give one of kind dipole or polar, and this one to pair_style",
    "{dipole} O": "1 elements for 2 atom types: name an element or NULL for each",
    "{dipole} O Si": "the model has no element Si, only O H",
}


@pytest.mark.parametrize("wrong", ERRORS, ids=str)
def test_errors_say_what_to_do(lmp, tmp_path, tensor_models, wrong):
    write_data(tmp_path / "data", water("cluster"))
    command = f"compute tensor all deeptensor/atom {wrong.format(**tensor_models)}\n"
    output = lmp(f"{ZERO}\n{command}", "run 0\n", code=1)
    assert ERRORS[wrong] in " ".join(output.split())


def test_a_list_that_is_too_short(lmp, tmp_path, tensor_models):
    write_data(tmp_path / "data", water("cluster"))
    output = lmp(ZERO.replace("3.5", "3"), TENSOR.format(group="all", model=tensor_models["dipole"], steps=0), code=1)
    said = "neighbours of types 1 and 1 are listed up to 3, before the model's cutoff 3.5: add pair_style zero 3.5"
    assert said in " ".join(output.split())


def test_units_without_angstrom(lmp, tmp_path, tensor_models):
    write_data(tmp_path / "data", water("cluster"))
    output = lmp(ZERO, TENSOR.format(group="all", model=tensor_models["dipole"], steps=0), units="lj", code=1)
    assert "compute deeptensor/atom: a model knows angstrom: use any units but lj" in " ".join(output.split())


def test_a_tensor_model_does_not_drive(lmp, tmp_path, tensor_models):
    write_data(tmp_path / "data", water("cluster"))
    output = lmp(f"pair_style dpc {tensor_models['polar']}\npair_coeff * *\n", "", code=1)
    said = "polar.onnx is a model of kind polar, which has no energies: give it to compute deeptensor/atom"
    assert said in " ".join(output.split())
