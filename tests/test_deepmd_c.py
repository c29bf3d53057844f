"""libdeepmd_c.so: built by us, called through our header, DeePMD-kit's headers, its LAMMPS plugin and its i-PI driver.

DeePMD-kit itself is not needed, only its files: COMPRESS_ONNX_DEEPMD names the folder of its Python package (with the
LAMMPS of its choice beside it), COMPRESS_ONNX_DEEPMD_INCLUDE the folder of its c_api.h and deepmd.hpp.
"""

import contextlib
import ctypes
import importlib.util
import io
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import compress_onnx as co
import ensembles
import lammps_runs
import numpy as np
import pytest
from cases import MODELS
from compress_onnx import lib
from compress_onnx.cli import main
from conftest import ROOT
from lammps_runs import water

SYMBOLS = 166  # of version 30 of the interface
STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Wundef", "-pedantic", "-Werror"]
HEADER = lib.sources() / "engines/deepmd_c"
# as the DeePMD-kit's pair style can be asked; the centroid's stress has nine components
PER_ATOM = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL virial
thermo_style custom step pe
thermo_modify format float %20.15g
dump d all custom 1 dump fx fy fz c_e c_c[*]
dump_modify d sort id format float %20.15g
run 0
"""
COMPONENTS = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1), (0, 1), (0, 2), (1, 2)]


def succeed(*command, **options):
    output = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(list(map(str, command)), check=False, timeout=120, **output, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """libdeepmd_c.so, built by the command."""
    need("cc", "c++")
    folder = tmp_path_factory.mktemp("library")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["deepmd-c", "-o", str(folder)]) == 0
    assert f"LD_PRELOAD={folder}/libdeepmd_c.so" in said.getvalue()
    return folder / "libdeepmd_c.so"


@pytest.fixture(scope="module")
def headers():
    """The folder of DeePMD-kit's headers."""
    folder = os.environ.get("COMPRESS_ONNX_DEEPMD_INCLUDE")
    if not folder:
        pytest.skip("COMPRESS_ONNX_DEEPMD_INCLUDE is not set to the folder of DeePMD-kit's c_api.h and deepmd.hpp")
    return Path(folder)


@pytest.fixture(scope="module")
def peer():
    """The folder of DeePMD-kit's Python package, whose lib/ has programs that use its C interface."""
    folder = os.environ.get("COMPRESS_ONNX_DEEPMD")
    if folder is None:
        package = importlib.util.find_spec("deepmd")
        if package is None or package.origin is None:
            pytest.skip("DeePMD-kit is not installed, nor COMPRESS_ONNX_DEEPMD set to the folder of its package")
        folder = Path(package.origin).parent
    return Path(folder)


def as_text(frame) -> str:
    """What the programs read: number of atoms, cell, then type and position of each."""
    rows = [np.array([len(frame.atype)]), frame.cell.ravel()]
    rows += [np.array([t, *x]) for t, x in zip(frame.atype, frame.coord, strict=True)]
    return "\n".join(" ".join(f"{value:.17g}" for value in row) for row in rows)


def compile_and_run(source, library, water_models, folder, *flags, compiler="cc", text):
    program = folder / "program"
    link = [f"-L{library.parent}", "-ldeepmd_c", f"-Wl,-rpath,{library.parent}", "-lm"]
    succeed(compiler, *flags, ROOT / "tests/c" / source, *link, "-o", program)
    return succeed(program, water_models / "water.onnx", water_models / "water_tf.onnx", input=text, cwd=folder)


def exported(library) -> set[str]:
    lines = succeed("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1] for line in lines}


def test_nothing_else_is_exported(library):
    need("nm")
    names = exported(library)
    assert len(names) == SYMBOLS and all(name.startswith("DP_") for name in names)
    assert "libdeepmd_c.so" in succeed("readelf", "-d", library)


def test_it_has_every_symbol_of_the_peer(library, peer):
    need("nm")
    assert {name for name in exported(peer / "lib/libdeepmd_c.so") if name.startswith("DP_")} == exported(library)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_through_our_header(library, water_models, tmp_path, compiler):
    need(compiler)
    frame = water()
    flags = ["-std=c11", *STRICT, f"-I{HEADER}"]
    output = compile_and_run(
        "deepmd_c.c", library, water_models, tmp_path, *flags, compiler=compiler, text=as_text(frame)
    )
    check_output(output, water_models, frame)


def test_through_the_peers_header(library, water_models, headers, tmp_path):
    flags = ["-std=c11", f"-I{headers}", "-DHEADER=<c_api.h>"]
    output = compile_and_run("deepmd_c.c", library, water_models, tmp_path, *flags, text=as_text(water()))
    check_output(output, water_models, water())


def check_output(output, water_models, frame):
    """Five lines of results, then what DP_PrintSummary says."""
    assert "FAIL" not in output
    *results, named, _ = output.splitlines()
    assert named == f"# compress-onnx {co.__version__}, for programs of DeePMD-kit's C interface 30"
    expected = co.DeepPot(water_models / "water.onnx").eval(
        frame.coord[None], frame.cell[None], frame.atype, atomic=True
    )
    original = frame.energy, frame.force, frame.virial, frame.atom_energy, frame.atom_virial
    for line, ours, theirs in zip(results, expected, original, strict=True):
        values = np.array(line.split(), dtype=float)
        np.testing.assert_allclose(values, np.ravel(ours), rtol=0, atol=1e-10)
        np.testing.assert_allclose(values, np.ravel(theirs), rtol=0, atol=1e-8)


def test_the_header_is_cpp_too(tmp_path):
    need("c++")
    (tmp_path / "header.cpp").write_text('#include "deepmd_c.h"\n')
    succeed("c++", "-std=c++11", *STRICT, f"-I{HEADER}", "-c", tmp_path / "header.cpp", "-o", tmp_path / "header.o")


def test_threads_do_not_change_a_bit(library, water_models, tmp_path, monkeypatch):
    outputs = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        flags = ["-std=c11", f"-I{HEADER}"]
        outputs.append(compile_and_run("deepmd_c.c", library, water_models, tmp_path, *flags, text=as_text(water())))
    assert outputs[0] == outputs[1] and "FAIL" not in outputs[0]


def test_cmake_builds_it(water_models, tmp_path):
    need("cmake", "cc", "c++")
    succeed("cmake", "-S", lib.sources() / "engines/deepmd_c", "-B", tmp_path / "build")
    succeed("cmake", "--build", tmp_path / "build", "-j2")
    built = tmp_path / "build/libdeepmd_c.so"
    assert len(exported(built)) == SYMBOLS
    output = compile_and_run("deepmd_c.c", built, water_models, tmp_path, f"-I{HEADER}", text=as_text(water()))
    check_output(output, water_models, water())


def test_what_is_missing_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("CC", "cc")
    need("cc")
    assert main(["deepmd-c", "-o", str(tmp_path / "lib")]) == 2
    assert "no compiler no-such-compiler: install one" in capsys.readouterr().err
    assert not (tmp_path / "lib").exists()


def test_through_deepmd_hpp(library, water_models, headers, tmp_path):
    frame = water()
    flags = ["-std=c++11", f"-I{headers}"]
    output = compile_and_run(
        "deepmd_hpp.cpp", library, water_models, tmp_path, *flags, compiler="c++", text=as_text(frame)
    )
    assert "FAIL" not in output
    energy, force, deviation, missing, *unserved, _, _ = output.splitlines()
    assert float(energy) == pytest.approx(frame.energy, abs=1e-8)
    np.testing.assert_allclose(np.array(force.split(), float), frame.force.ravel(), rtol=0, atol=1e-8)
    potentials = [co.DeepPot(water_models / name) for name in ("water.onnx", "water_tf.onnx")]
    row = co.calc_model_devi(frame.coord[None], frame.cell[None], frame.atype, potentials, atomic=True)[0]
    np.testing.assert_allclose(np.array(deviation.split(), float), row[8:], rtol=0, atol=1e-10)
    assert missing == "DeePMD-kit C API Error: cannot open nowhere.onnx"
    for line, kind in zip(unserved, ("tensors", "spins", "dipoles"), strict=True):
        assert kind in line and line.endswith("not served by this libdeepmd_c.so, compress-onnx's")


@pytest.fixture(scope="module")
def interface(library):
    """The library's functions, which return texts."""
    functions = ctypes.CDLL(str(library))
    for name in ("DP_NewDeepPot", "DP_NewDeepPotModelDevi"):
        getattr(functions, name).restype = ctypes.c_void_p
    for name in ("DP_DeepPotCheckOK", "DP_DeepPotModelDeviCheckOK"):
        getattr(functions, name).restype = ctypes.c_char_p
    return functions


def pointer(values):
    return None if values is None else np.ctypeslib.as_ctypes(np.ascontiguousarray(values).reshape(-1))


def test_parameters(interface, shared, tmp_path):
    folder = shared / "oracle/fparam_aparam_pt"
    co.compress(folder / "model.pth", tmp_path / "parameters.onnx", check="none")
    frames, expected = np.load(folder / "frames.npz"), np.load(folder / "ref.npz")
    count, atoms = len(frames["coords"]), len(frames["atype"])
    model = ctypes.c_void_p(interface.DP_NewDeepPot(bytes(tmp_path / "parameters.onnx")))
    assert (interface.DP_DeepPotGetDimFParam(model), interface.DP_DeepPotGetDimAParam(model)) == (2, 2)
    results = [np.zeros(size) for size in (count, 3 * atoms * count, 9 * count)]

    def evaluate(fparam, aparam):
        coordinates = map(pointer, (frames["coords"], frames["atype"].astype(np.int32), frames["box"]))
        outputs = [value.ctypes.data_as(ctypes.c_void_p) for value in results]
        parameters = pointer(fparam), pointer(aparam)
        interface.DP_DeepPotCompute2(model, count, atoms, *coordinates, *parameters, *outputs, None, None)
        return interface.DP_DeepPotCheckOK(model).decode()

    assert evaluate(None, frames["aparam"]) == "this model needs fparam, and there is none"
    assert evaluate(frames["fparam"], None) == "this model needs aparam, and there is none"
    assert evaluate(frames["fparam"], frames["aparam"]) == ""
    for ours, name in zip(results, ("energy", "force", "virial"), strict=True):
        np.testing.assert_allclose(ours, expected[name].ravel(), rtol=0, atol=1e-7)
    interface.DP_DeleteDeepPot(model)


def test_an_ensemble_is_its_mean(interface, tmp_path):
    path, frame = tmp_path / "ensemble.onnx", water()
    co.compress(ensembles.write_originals(tmp_path), path, check="none", accuracy=1e-6, fold=False)
    expected = co.DeepPot(path).eval(frame.coord[None], frame.cell[None], frame.atype, atomic=True)
    results = [np.zeros_like(value) for value in expected]
    model = ctypes.c_void_p(interface.DP_NewDeepPot(bytes(path)))
    place = map(pointer, (frame.coord, frame.atype.astype(np.int32), frame.cell))
    outputs = [value.ctypes.data_as(ctypes.c_void_p) for value in results]
    interface.DP_DeepPotCompute(model, len(frame.atype), *place, *outputs)
    assert interface.DP_DeepPotCheckOK(model).decode() == ""
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    interface.DP_DeleteDeepPot(model)


def test_a_flipped_bit_is_found(interface, water_models):
    """Also in a file's content."""
    content = bytearray((water_models / "water.onnx").read_bytes())
    interface.DP_NewDeepPotWithParam2.restype = ctypes.c_void_p
    for said in (b"", b"water.onnx: the file is damaged: its SHA-256 is not the one in it"):
        model = ctypes.c_void_p(
            interface.DP_NewDeepPotWithParam2(b"water.onnx", 0, bytes(content), ctypes.c_int(len(content)))
        )
        assert interface.DP_DeepPotCheckOK(model)[: len(said) or None] == said
        interface.DP_DeleteDeepPot(model)
        content[len(content) // 2] ^= 1


UNSERVED = {
    "DeepSpin": ("DeepSpin", "DeepSpinWithParam2"),
    "DeepSpinModelDevi": ("DeepSpinModelDevi", "DeepSpinModelDeviWithParam"),
    "DeepTensor": ("DeepTensor", "DeepTensorWithParam"),
    "DipoleChargeModifier": ("DipoleChargeModifier", "DipoleChargeModifierWithParam"),
}


@pytest.mark.parametrize("kind", UNSERVED)
def test_what_is_not_served_says_so(interface, kind):
    """Whatever is called of it, the text stays, and nothing is written."""
    new = [getattr(interface, f"DP_New{name}") for name in UNSERVED[kind]]
    said = getattr(interface, f"DP_{kind}CheckOK")
    for function, result in (*((make, ctypes.c_void_p) for make in new), (said, ctypes.c_char_p)):
        function.restype = result
    for make in new:
        handle = ctypes.c_void_p(make(b"model.onnx"))
        for name in exported(Path(interface._name)):
            if name.startswith((f"DP_{kind}Compute", f"DP_{kind}Get", f"DP_{kind}Set")):
                getattr(interface, name)(handle)
        assert said(handle).endswith(b"are not served by this libdeepmd_c.so, compress-onnx's")
        getattr(interface, f"DP_Delete{kind}")(handle)


@pytest.mark.parametrize(("name", "said"), [("dipole", "of kind dipole, not of energies"), ("spin", "of spins, which")])
def test_models_of_other_kinds_are_refused(interface, tmp_path, name, said):
    co.compress(MODELS / f"{name}.pth", tmp_path / f"{name}.onnx", check="none")
    model = ctypes.c_void_p(interface.DP_NewDeepPot(bytes(tmp_path / f"{name}.onnx")))
    assert f"{name}.onnx is a model {said}" in interface.DP_DeepPotCheckOK(model).decode()
    interface.DP_DeleteDeepPot(model)


def test_models_that_do_not_fit_are_refused(interface, water_models, tmp_path):
    co.compress(MODELS / "alloy.pth", tmp_path / "alloy.onnx", check="none")
    both = (ctypes.c_char_p * 2)(bytes(water_models / "water.onnx"), bytes(tmp_path / "alloy.onnx"))
    model = ctypes.c_void_p(interface.DP_NewDeepPotModelDevi(both, 2))
    assert b"alloy.onnx has other types (Cu Au) than " in interface.DP_DeepPotModelDeviCheckOK(model)
    interface.DP_DeleteDeepPotModelDevi(model)


# ---- the peer's programs --------------------------------------------------------------


@pytest.fixture(scope="module")
def peers_lammps(peer, library, tmp_path_factory):
    """run(folder, style, then): the LAMMPS beside the peer with its plugin on our library; its output."""
    if not (peer.parent / "lammps/lmp").exists():
        pytest.skip(f"there is no LAMMPS beside {peer}: its plugin fits the release that it was built for")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_ONNX_LAMMPS", str(peer.parent / "lammps"))
        runner = lammps_runs.find(tmp_path_factory.mktemp("mpi"))
    if isinstance(runner, str):
        pytest.skip(runner)

    def run(folder, style, then, ranks=0):
        text = "units metal\natom_style atomic\nread_data data\n"
        text += f"plugin load {peer}/lib/libdeepmd_lmpplugin.so\n{style}\npair_coeff * * O H\n{then}"
        done = runner.run(folder, text, ranks=ranks, LD_PRELOAD=str(library), LAMMPS_PLUGIN_PATH="")
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    run.mpirun = runner.mpirun
    return run


@pytest.mark.parametrize("group, ranks", [("periodic", 0), ("triclinic", 0), ("cluster", 0), ("periodic", 2)])
def test_its_lammps_plugin(peers_lammps, water_models, tmp_path, group, ranks):
    if ranks and peers_lammps.mpirun is None:
        pytest.skip("there is no mpirun of MPICH: pip install mpich")
    frame = water(group)
    rotation = lammps_runs.write_data(tmp_path / "data", frame)
    output = peers_lammps(tmp_path, f"pair_style deepmd {water_models}/water.onnx", PER_ATOM, ranks)
    assert f"compress-onnx {co.__version__}" in output
    atoms = lammps_runs.read_dump(tmp_path / "dump")[0]
    assert lammps_runs.thermo(output)[0, 1] == pytest.approx(frame.energy, abs=1e-9 * len(frame.atype))
    np.testing.assert_allclose(atoms[:, :3] @ rotation, frame.force, rtol=0, atol=1e-8)
    np.testing.assert_allclose(atoms[:, 3], frame.atom_energy, rtol=0, atol=1e-9)
    virial = rotation @ frame.atom_virial @ rotation.T
    for column, (a, b) in enumerate(COMPONENTS):
        np.testing.assert_allclose(-atoms[:, 4 + column] / lammps_runs.PRESSURE, virial[:, a, b], rtol=0, atol=1e-6)


def test_its_lammps_plugin_with_several_models(peers_lammps, water_models, tmp_path):
    frame = water()
    lammps_runs.write_data(tmp_path / "data", frame)
    style = f"pair_style deepmd {water_models}/water.onnx {water_models}/water_tf.onnx out_file devi out_freq 1"
    peers_lammps(tmp_path, style, "run 0")
    potentials = [co.DeepPot(water_models / name) for name in ("water.onnx", "water_tf.onnx")]
    expected = co.calc_model_devi(frame.coord[None], frame.cell[None], frame.atype, potentials)[0, :7]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "devi"), expected, rtol=1e-5, atol=1e-8)


def test_its_ipi_driver(peer, library, water_models, tmp_path):
    """With ASE as server, whose bohr and hartree differ from the driver's in the eighth digit."""
    ase = pytest.importorskip("ase")
    from ase.calculators.socketio import SocketIOCalculator

    frame = water("triclinic")
    symbols = ["OH"[kind] for kind in frame.atype]
    lines = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(symbols, frame.coord, strict=True)]
    (tmp_path / "start.xyz").write_text("\n".join([str(len(lines)), "", *lines, ""]))
    name = f"dpc{uuid.uuid4().hex[:8]}"
    given = {"use_unix": True, "host": name, "port": 1, "verbose": False, "coord_file": "start.xyz"}
    given |= {"graph_file": str(water_models / "water.onnx"), "atom_type": {"O": 0, "H": 1}}
    (tmp_path / "input.json").write_text(json.dumps(given))
    with SocketIOCalculator(unixsocket=name, timeout=20) as calculator:
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        with subprocess.Popen([peer / "lib/dp_ipi", "input.json"], cwd=tmp_path, env=environment) as driver:
            try:
                atoms = ase.Atoms(symbols, frame.coord, cell=frame.cell, pbc=True, calculator=calculator)
                assert atoms.get_potential_energy() == pytest.approx(frame.energy, abs=1e-6)
                np.testing.assert_allclose(atoms.get_forces(), frame.force, rtol=0, atol=2e-6)
                virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
                np.testing.assert_allclose(virial, (frame.virial + frame.virial.T) / 2, rtol=0, atol=1e-5)
            finally:
                driver.kill()
