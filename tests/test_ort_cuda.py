"""The op library's kernels for onnxruntime's CUDA provider: on a device that is the host, and where there is none."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import compress_onnx as co
import cudahost
import numpy as np
import onnxruntime
import pytest
import randommodels
from cases import MODELS
from compress_onnx import _core, digest, graph, ort
from compress_onnx.model import ModelError
from compress_onnx.tabulate import make
from conftest import ROOT
from coremodels import COARSE, SHORT, fine, onnx_bytes, parameters, variant
from test_quintic import points, quintic_model, table

TRICLINIC = randommodels.CELLS["triclinic"]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Files: libdpc_cuda for the host, and libdpc_ort in an onnxruntime that says it has CUDA."""
    folder = tmp_path_factory.mktemp("cuda")
    announced = folder / "ort_on_device.so"
    device = cudahost.shared_library(tmp_path_factory)
    command = ["gcc", "-std=c11", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/engines/ort"]
    # never unloaded, so that each copy has an OrtApi of its own for as long as libdpc_ort remembers it
    command += ["-Wl,-z,nodelete", ROOT / "tests/c/ort_on_device.c", "-o", announced]
    subprocess.run(command, check=True)
    return device, announced


@pytest.fixture
def announced(libraries, monkeypatch, tmp_path):
    """libdpc_ort, to be registered for the first time, with libdpc_cuda for the host."""
    monkeypatch.setenv("DPC_CUDA_LIBRARY", str(libraries[0]))
    monkeypatch.setenv("DPC_ORT_LIBRARY", ort.ort_library_path())
    return shutil.copy(libraries[1], tmp_path)


@pytest.fixture
def on_device(announced, monkeypatch):
    """The same with the kernels of the CUDA provider alone."""
    monkeypatch.setenv("DPC_ORT_ON_DEVICE", "1")
    return announced


def session(model, library):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed(name, count=9, cell=TRICLINIC):
    coord, atype = randommodels.atoms(cell, count, len(variant(name).type_map))
    atype[4:5] = -1
    return {"coord": coord, "atype": atype, "cell": cell, **parameters(name, count)}


def assert_equal(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        assert np.abs(one - other).max(initial=0) <= tolerance * max(1, np.abs(other).max(initial=0))


@pytest.mark.parametrize("name", ["plain", "hybrid", "three bodies, gated", "dipole", "intensive", "linear"])
def test_kernels_of_a_device_equal_those_of_the_host(name, on_device):
    there, here = session(onnx_bytes(name), on_device), ort.session(onnx_bytes(name))
    for count, cell in ((9, TRICLINIC), (12, randommodels.CELLS["open"]), (1, TRICLINIC), (0, TRICLINIC)):
        given = feed(name, count, cell)
        assert_equal(there.run(None, given), here.run(None, given), 1e-12)


@pytest.mark.parametrize("precision, grid", [("float32", COARSE), ("mixed", COARSE), ("float64", SHORT)])
def test_other_precisions_and_inputs_outside_tables(precision, grid, on_device):
    model, given = onnx_bytes("three bodies", precision, grid), feed("three bodies")
    assert_equal(session(model, on_device).run(None, given), ort.session(model).run(None, given),
                 1e-12 if precision == "float64" else 1e-5)  # fmt: skip


def test_one_session_on_several_threads(on_device):
    shared, given = session(onnx_bytes("plain"), on_device), feed("plain")
    expected = shared.run(None, given)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: shared.run(None, given), range(8)):
            for one, other in zip(results, expected):
                np.testing.assert_array_equal(one, other)


def test_pairs_of_another_engine(on_device, tmp_path):
    path = tmp_path / "pairs.onnx"
    co.compress(MODELS / "water.pth", path, interface="pairs", check="none")
    coord, atype = randommodels.atoms(TRICLINIC, 8)
    names = ("pair_first", "pair_index", "pair_shift")
    given = {"coord": coord, "atype": atype, "cell": TRICLINIC}
    given |= dict(zip(names, _core.Neighbours().build(coord, TRICLINIC, 5.0).arrays()))
    there, here = session(path, on_device), ort.session(path)
    assert_equal(there.run(None, given), here.run(None, given), 1e-12)
    given["pair_index"] = given["pair_index"][:-1]
    given["pair_shift"] = given["pair_shift"][:-1]
    with pytest.raises(ort.ORT_ERRORS, match="pair_first ends at"):
        there.run(None, given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quintic(dtype, on_device):
    model, x = quintic_model(table(dtype)), points(200, dtype)
    expected = ort.session(model).run(None, {"x": x})
    assert_equal(session(model, on_device).run(None, {"x": x}), expected, 1e-14 if dtype == np.float64 else 1e-6)


def test_what_is_wrong_is_said(on_device):
    given = feed("plain")
    model = session(onnx_bytes("plain"), on_device)
    given["coord"][3] = given["coord"][2]
    with pytest.raises(ort.ORT_ERRORS, match="atoms 2 and 3 are in the same place"):
        model.run(None, given)
    given["coord"][3] = np.nan
    with pytest.raises(ort.ORT_ERRORS, match="atom 3 is not finite"):
        model.run(None, given)
    magnetic = randommodels.magnetic()
    tables = [make(net, fine("float64")) for net in magnetic.descriptors[0].nets]
    with pytest.raises(ort.ORT_ERRORS, match="models with spin or a mask are not for the CUDA provider"):
        session(digest.serialise(graph.compressed(magnetic, tables, precision="float64")), on_device)


@pytest.mark.parametrize("device", ["there", "missing"])
def test_sessions_of_the_cpu_stay_as_they_are(device, announced, monkeypatch):
    """In an onnxruntime that has CUDA, too: whether libdpc_cuda is there or not."""
    if device == "missing":
        monkeypatch.setenv("DPC_CUDA_LIBRARY", os.devnull)
    given, expected = feed("hybrid"), ort.session(onnx_bytes("hybrid"))
    for one, other in zip(session(onnx_bytes("hybrid"), announced).run(None, given), expected.run(None, given)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="onnxruntime has CUDA")
def test_python_says_that_there_is_no_cuda(tmp_path):
    with pytest.raises(ModelError, match="has no CUDAExecutionProvider for cuda:0: install onnxruntime-gpu"):
        ort.session(onnx_bytes("plain"), device="cuda:0")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes("plain"))
    with pytest.raises(ModelError, match=r"model\.onnx: this onnxruntime has no CUDAExecutionProvider for cuda:1"):
        co.DeepPot(path, runtime="onnxruntime", device="cuda:1")
    with pytest.raises(ValueError, match="a device is cpu or cuda:NUMBER, not gpu"):
        ort.session(onnx_bytes("plain"), device="gpu")
