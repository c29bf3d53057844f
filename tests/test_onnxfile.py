"""test_onnxfile - files appear complete or not at all, with large tensors beside them."""

import os
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import randommodels
from compress_onnx import graph, onnxfile
from compress_onnx.model import ModelError
from compress_onnx.tabulate import Grid, make


@pytest.fixture(scope="module")
def model():
    return randommodels.model(0)


def compressed(model):
    tables = [make(net, Grid("table", -1.0, 0.1, 60, 0.5, 20)) for net in model.descriptors[0].nets]
    return graph.compressed(model, tables, precision="float64")


def energy(path) -> float:
    coord, atype = randommodels.atoms(np.zeros((3, 3)), 8)
    running = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    return running.run(["energy"], {"coord": coord, "atype": atype, "cell": np.zeros((3, 3))})[0].item()


def test_a_model_is_one_file(model, tmp_path):
    path = tmp_path / "model.onnx"
    proto = compressed(model)
    assert onnxfile.write(proto, path) == path.stat().st_size
    assert os.listdir(tmp_path) == ["model.onnx"]
    assert onnx.load(path) == proto
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_large_tensors_go_beside_it(model, tmp_path):
    onnxfile.write(compressed(model), tmp_path / "inside.onnx")
    path = tmp_path / "model.onnx"
    size = onnxfile.write(compressed(model), path, threshold=10_000)
    (data,) = tmp_path.glob("model.onnx.????????????.data")
    assert size == path.stat().st_size + data.stat().st_size
    light = onnx.load(path, load_external_data=False)
    places = {t.name: {e.key: e.value for e in t.external_data} for t in light.graph.initializer if t.external_data}
    assert "table" in places and "energy_bias" not in places
    assert all(place["location"] == data.name for place in places.values())
    assert all(int(place["offset"]) % 64 == 0 for place in places.values())
    whole = {t.name: t for t in onnx.load(path).graph.initializer}
    for tensor in onnx.load(tmp_path / "inside.onnx").graph.initializer:
        assert whole[tensor.name].raw_data == tensor.raw_data
    assert energy(path) == energy(tmp_path / "inside.onnx")
    assert sorted(os.listdir(tmp_path)) == ["inside.onnx", "model.onnx", data.name]


def test_metadata_comes_back(model, tmp_path):
    path = tmp_path / "model.onnx"
    onnxfile.write(graph.uncompressed(model, metadata={"accuracy": "best"}), path)
    facts = onnxfile.read_metadata(path)
    assert facts["format"] == "1" and facts["kind"] == "uncompressed" and facts["accuracy"] == "best"


def test_what_is_no_model_of_ours_is_refused(model, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"model.onnx: cannot be read \(No such file or directory\)"):
        onnxfile.read_metadata(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        onnxfile.read_metadata(path)
    proto = graph.uncompressed(model, metadata={"format": "2"})
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="has format 2, this version reads 1"):
        onnxfile.read_metadata(path)
    del proto.metadata_props[:]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="is an ONNX model of another program"):
        onnxfile.read_metadata(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "folder: is a folder; add the name of the file to write."),
        ("missing/model.onnx", "missing does not exist; create it first."),
        ("file/model.onnx", "file does not exist; create it first."),
    ],
)
def test_an_output_that_cannot_be_is_refused(model, tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=re.escape(message)):
        onnxfile.write(graph.uncompressed(model), tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"] and not os.listdir(tmp_path / "folder")


def test_a_write_protected_output_stays(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("precious")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write to everything")
    with pytest.raises(ModelError, match="is write-protected"):
        onnxfile.write(graph.uncompressed(model), path)
    assert path.read_text() == "precious"


def test_a_failure_leaves_nothing_and_spares_what_was_there(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("precious")
    proto = compressed(model)
    proto.graph.node[0].input[0] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError):
        onnxfile.write(proto, path, threshold=10_000)
    assert path.read_text() == "precious" and os.listdir(tmp_path) == ["model.onnx"]


def test_a_folder_that_takes_no_files_is_one_sentence(model):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc to fail in")
    with pytest.raises(ModelError, match=r"/proc/model.onnx: cannot be written \(.*\); choose an output"):
        onnxfile.write(graph.uncompressed(model), "/proc/model.onnx")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
