"""The installed headers and libraries from other programs: CMake, pkg-config, engines/c/md.c and ort.c, dpc.hpp."""

import re
import shutil
import subprocess
from pathlib import Path

import compress_onnx as co
import ensembles
import numpy as np
import onnxruntime
import pytest
from cases import MODELS, frames_of_model
from compress_onnx import lib
from conftest import ROOT

STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Wundef", "-pedantic", "-Werror"]
MASSES = ["O=15.999", "H=1.008"]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def run(*command, text=None):
    command = list(map(str, command))
    return subprocess.run(command, capture_output=True, text=True, input=text, check=False, timeout=120)


def succeed(*command, text=None):
    done = run(*command, text=text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """lib/ as it is installed, in another place than it was built in."""
    folder = tmp_path_factory.mktemp("installed") / "lib"
    lib.path("libdpc")
    return shutil.copytree(Path(lib.__file__).parent, folder, ignore=shutil.ignore_patterns("src", "__pycache__"))


@pytest.fixture(scope="module")
def flags(package):
    """What pkg-config says of that place."""
    need("pkg-config")
    return succeed("pkg-config", f"--with-path={package / 'pkgconfig'}", "--cflags", "--libs", "dpc").split()


@pytest.fixture(scope="module")
def examples(package, tmp_path_factory):
    """The folder of what CMake builds of engines/c."""
    need("cmake", "cc")
    build = tmp_path_factory.mktemp("cmake")
    folder = lib.sources() / "engines/c"
    succeed("cmake", "-S", folder, "-B", build, f"-Ddpc_DIR={package / 'cmake/dpc'}", "-DCMAKE_C_FLAGS=-Wall -Werror")
    succeed("cmake", "--build", build)
    return build


@pytest.fixture(scope="module")
def with_cmake(examples):
    return examples / "md"


@pytest.fixture(scope="module")
def with_pkgconfig(flags, tmp_path_factory):
    need("cc")
    program = tmp_path_factory.mktemp("pkgconfig") / "md"
    succeed("cc", "-std=c11", *STRICT, "-O2", lib.sources() / "engines/c/md.c", *flags, "-lm", "-o", program)
    return program


@pytest.fixture(params=["cmake", "pkgconfig"])
def md(request):
    """engines/c/md.c, built in either way."""
    return request.getfixturevalue(f"with_{request.param}")


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """A model and the periodic frame of its references, as extended xyz beside it."""
    folder = tmp_path_factory.mktemp("water")
    co.compress(MODELS / "water.pth", folder / "water.onnx", check="none")
    (frame,) = (frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == "periodic")
    write_xyz(folder / "water.xyz", frame)
    return folder, frame


def numbers(values) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def write_xyz(file, frame):
    lines = [f'Lattice="{numbers(frame.cell)}" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"']
    lines += [f"{'OH'[t]} {numbers(x)} 0 0 0" for t, x in zip(frame.atype, frame.coord, strict=True)]
    file.write_text("\n".join([str(len(frame.atype)), *lines, ""]))


def simulate(program, folder, *options):
    """Rows of step, temperature, potential, kinetic and total energy."""
    text = succeed(program, folder / "water.onnx", folder / "water.xyz", *MASSES, *options)
    return np.loadtxt(text.splitlines(), ndmin=2)


def test_energy_is_conserved(md, water):
    folder, frame = water
    coarse = simulate(md, folder, "steps=200", "timestep=0.25", "every=1", "temperature=300")
    fine = simulate(md, folder, "steps=400", "timestep=0.125", "every=2", "temperature=300", "threads=2")
    potential = co.DeepPot(folder / "water.onnx")
    energy = potential.eval(frame.coord[None], frame.cell[None], frame.atype)[0].item()
    assert coarse[0, 2] == pytest.approx(energy, abs=1e-9)
    assert coarse[0, 1] == pytest.approx(300, abs=1e-4)
    assert coarse[:, 0].tolist() == list(range(201))
    np.testing.assert_allclose(coarse[:, 4], coarse[:, 2] + coarse[:, 3], rtol=0, atol=2e-9)
    # velocity Verlet's error is of second order, and nothing else changes the energy
    errors = [np.abs(run[:, 4] - run[0, 4]).max() for run in (coarse, fine)]
    assert errors[0] < 3e-5 * len(frame.atype)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert np.ptp(coarse[:, 2]) > 100 * errors[0]


def test_the_mean_of_an_ensemble_drives(with_pkgconfig, water, tmp_path):
    folder, frame = water
    originals = ensembles.write_originals(tmp_path)
    co.compress(originals, tmp_path / "water.onnx", check="none", accuracy=1e-6, fold=False)
    (tmp_path / "water.xyz").symlink_to(folder / "water.xyz")
    run = simulate(with_pkgconfig, tmp_path, "steps=100", "timestep=0.1", "every=1", "temperature=300")
    found = co.DeepPot(tmp_path / "water.onnx").eval_models(frame.coord[None], frame.cell[None], frame.atype)
    assert run[0, 2] == pytest.approx(found["energies"].mean(), abs=1e-8)
    assert np.ptp(found["energies"]) > 0.01
    assert np.ptp(run[:, 4]) < 1e-2 * np.ptp(run[:, 2])


def test_trajectories_do_not_depend_on_skin_and_threads(with_pkgconfig, water):
    runs = [
        simulate(with_pkgconfig, water[0], "steps=100", "temperature=600", f"skin={skin}", f"threads={threads}")
        for skin, threads in ((0, 1), (0.3, 1), (2, 1), (0.3, 2))
    ]
    for other in runs[1:3]:  # the order of neighbours, and so of sums, differs
        np.testing.assert_allclose(other, runs[0], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(runs[3], runs[1])


@pytest.mark.parametrize("comment", ["two molecules", 'Lattice="9 0 0 0 9 0 0 0 9" pbc="F F F"'])
def test_without_periodicity(comment, with_pkgconfig, water, tmp_path):
    folder, frame = water
    lines = (folder / "water.xyz").read_text().splitlines()[2:8]
    (tmp_path / "water.xyz").write_text("\n".join(["6", comment, *lines]))
    shutil.copy(folder / "water.onnx", tmp_path)
    rows = simulate(with_pkgconfig, tmp_path, "steps=10")
    expected = co.DeepPot(folder / "water.onnx").eval(frame.coord[None, :6], None, frame.atype[:6])[0].item()
    assert rows[0, 2] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "usage: md MODEL.onnx ATOMS.xyz ELEMENT=MASS"),
        (["nowhere.onnx", "water.xyz"], "cannot open nowhere.onnx"),
        (["water.xyz", "water.xyz"], "water.xyz: the file is damaged or no ONNX model"),
        (["water.onnx", "nowhere.xyz"], "nowhere.xyz: No such file"),
        (["water.onnx", "water.onnx"], "water.onnx is no xyz file"),
        (["water.onnx", "half.xyz", *MASSES], "half.xyz: line 40 is not an element and three coordinates"),
        (["water.onnx", "iron.xyz", *MASSES], "iron.xyz: line 3: the model has no type Fe"),
        (["water.onnx", "slab.xyz", *MASSES], "slab.xyz: atoms can be periodic in all three directions or in none"),
        (["water.onnx", "water.xyz", "O=16"], "the mass of H is missing: add H=MASS"),
        (["water.onnx", "water.xyz", "O=-1"], "the mass of O must be positive, not -1"),
        (["water.onnx", "water.xyz", "Fe=56"], "Fe is neither an option nor one of the model's types"),
        (["water.onnx", "water.xyz", "steps=many"], "steps=many is not NAME=NUMBER"),
        (["water.onnx", "water.xyz", "every=1.5"], "every must be a whole number from 1 to 1e+09, not 1.5"),
        (["water.onnx", "water.xyz", "threads=1e6"], "threads must be a whole number from 1 to 1024, not 1e+06"),
        (["water.onnx", "water.xyz", "skin=nan"], "skin must be a number from 0 to 100, not nan"),
        (
            ["water.onnx", "water.xyz", *MASSES, "timestep=20"],
            "where the model was not trained; try a shorter timestep",
        ),
    ],
)
def test_misuse_is_told_in_a_sentence(with_pkgconfig, water, arguments, says, tmp_path):
    shutil.copytree(water[0], tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "water.xyz").read_text()
    (tmp_path / "half.xyz").write_text("\n".join(text.splitlines()[:39]))
    (tmp_path / "iron.xyz").write_text(text.replace("\nO ", "\nFe "))
    (tmp_path / "slab.xyz").write_text(text.replace("T T T", "T T F"))
    done = subprocess.run([with_pkgconfig, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("md: ") and says in done.stderr


def project(folder, version):
    """Configure a project that asks for that version."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject(user NONE)\nfind_package(dpc {version} REQUIRED)\n"
        'message(STATUS "found dpc ${dpc_VERSION}")\n'
    )
    return lambda package: run("cmake", "-S", folder, "-B", folder / "build", f"-Ddpc_DIR={package / 'cmake/dpc'}")


def version() -> str:
    number = int(re.search(r"DPC_VERSION (\d+)", (ROOT / "ccore/include/dpc.h").read_text())[1])
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def test_versions(package, tmp_path, flags):
    need("cmake")
    said = succeed("pkg-config", f"--with-path={package / 'pkgconfig'}", "--modversion", "dpc")
    assert said.strip() == version()
    for asked in ("", "0.1", version()):
        done = project(tmp_path / f"fits{asked}", asked)(package)
        assert f"found dpc {version()}" in done.stdout, done.stderr
    for asked in ("0.0.9", "0.1.99", "0.2", "1.0"):
        done = project(tmp_path / f"other{asked}", asked)(package)
        assert done.returncode and f"version: {version()}" in done.stderr


def test_cmake_says_what_an_incomplete_package_lacks(package, tmp_path):
    need("cmake")
    broken = shutil.copytree(package, tmp_path / "broken")
    (broken / "libdpc.so").unlink()
    done = project(tmp_path / "user", "")(broken)
    assert done.returncode and "has no libdpc.so: install compress-onnx" in " ".join(done.stderr.split())


@pytest.mark.parametrize("standard", ["c++11", "c++17"])
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cpp_handles(compiler, standard, flags, water, tmp_path):
    need(compiler)
    folder, frame = water
    program = tmp_path / "handles"
    succeed(compiler, f"-std={standard}", *STRICT, ROOT / "tests/c/handles.cpp", *flags, "-o", program)
    energy, rest = succeed(program, folder / "water.onnx", text=frame_as_text(frame)).splitlines()
    expected = co.DeepPot(folder / "water.onnx").eval(frame.coord[None], frame.cell[None], frame.atype)[0].item()
    assert float(energy) == pytest.approx(expected, abs=1e-9)
    assert re.fullmatch("O H .*: .*cutoff.*", rest)
    assert re.fullmatch(".*: cannot open nowhere.onnx\n", succeed(program, "nowhere.onnx"))


def frame_as_text(frame) -> str:
    """Number of atoms, cell, type and position of each: what the programs read that have no file of atoms."""
    atoms = [f"{t} {numbers(x)}" for t, x in zip(frame.atype, frame.coord, strict=True)]
    return "\n".join([str(len(atoms)), numbers(frame.cell), *atoms])


@pytest.fixture(scope="module")
def ort(examples, package):
    """ort(model, text): run engines/c/ort.c with the Python package's onnxruntime."""
    (runtime,) = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))[:1] or [None]
    if runtime is None:
        pytest.skip("this Python package of onnxruntime has no libonnxruntime.so")
    return lambda model, text: run(examples / "ort", runtime, package / "libdpc_ort.so", model, text=text)


@pytest.mark.parametrize("group", ["periodic", "cluster"])
def test_onnxruntime_from_c(ort, water, group):
    frame = next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == group)
    done = ort(water[0] / "water.onnx", frame_as_text(frame))
    assert (done.returncode, done.stderr) == (0, "")
    energy, virial, *forces = (line.split() for line in done.stdout.splitlines())
    assert [energy[0], virial[0], *(row[0] for row in forces)] == ["energy", "virial"] + ["force"] * len(frame.atype)
    for rows, expected in ((energy, frame.energy), (virial, frame.virial), (forces, frame.force)):
        values = np.atleast_2d(rows)[:, 1:].astype(float)
        np.testing.assert_allclose(values.ravel(), np.ravel(expected), rtol=0, atol=1e-8)


def test_onnxruntime_from_c_says_what_is_wrong(ort, water):
    for model, text, says in (
        (water[0] / "water.onnx", "3 0 0 0", "the input is not a number of atoms, a cell, and a type and a position"),
        (water[0] / "nowhere.onnx", "", "nowhere.onnx failed"),
    ):
        done = ort(model, text)
        assert done.returncode == 1 and done.stderr.startswith("ort: ") and says in done.stderr


@pytest.mark.parametrize("name", ["libdpc.so", "libdpc_ort.so"])
def test_libraries_name_what_they_need(package, name, tmp_path):
    """So that a program needs to have nothing of it loaded, as Python has."""
    need("cc")
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    succeed("cc", tmp_path / "empty.c", "-Wl,--no-as-needed", package / name, "-o", tmp_path / "empty")
