"""test_readers - every format as a Model: the formats against each other, what is refused, and files that are no model."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import tiny
from cases import oracle
from compress_onnx import graph, onnxfile
from compress_onnx.model import Model, ModelError
from compress_onnx.readers import read
from conftest import SHARED


def assert_same(a: Model, b: Model) -> None:
    """Equal to the bit, but for where they came from."""

    def compare(x, y, name):
        if dataclasses.is_dataclass(x):
            for field in dataclasses.fields(x):
                if field.name not in ("source", "training_script"):
                    compare(getattr(x, field.name), getattr(y, field.name), f"{name}.{field.name}")
        elif isinstance(x, tuple):
            assert len(x) == len(y), name
            for k, (one, other) in enumerate(zip(x, y, strict=True)):
                compare(one, other, f"{name}[{k}]")
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, name
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            assert x == y, name

    compare(a, b, "model")


def refused(path, *words: str) -> str:
    """The one sentence with which `path` is refused; it names the file and has all the words."""
    with pytest.raises(ModelError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in words:
        assert word in message
    return message


# ---- the formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [tiny.write_json, tiny.write_yaml])
def test_native_text_equals_hdf5_whatever_its_name(tmp_path, write):
    expected = read(tiny.write_dp(tiny.tree(), tmp_path / "model.pb"))
    assert_same(read(write(tiny.tree(), tmp_path / "model.pth")), expected)


@pytest.mark.parametrize("value", [-1.0, None])
def test_an_unknown_minimum_distance(tmp_path, value):
    tree = tiny.changed(tiny.tree(), "@variables.min_nbor_dist", value)
    assert read(tiny.write_json(tree, tmp_path / "model.json")).min_distance is None


@pytest.mark.parametrize("one_side", [False, True])
def test_an_uncompressed_onnx_is_read_back(tmp_path, one_side):
    tree = tiny.changed(tiny.tree(one_side=one_side), "model.descriptor.exclude_types", [[0, 0]])
    expected = read(tiny.write_json(tree, tmp_path / "model.json"))
    path = tmp_path / "model.onnx"
    onnxfile.write(graph.uncompressed(expected), path)
    assert_same(read(path), expected)


TWICE = """
se_a_pt se_a_f32_pt se_a_excl_pt se_a_resdt_pt water_se_e2_a_prod_pt se_r_pt se_t_pt se_t_tebd_pt dpa1_l0_pt dpa1_v2_pt
hybrid_a_r_pt fparam_aparam_pt atom_ener_pt atom_exclude_pt dipole_pt polar_pt dos_pt property_se_a_pt
"""


@pytest.mark.parametrize("name", TWICE.split())
def test_torchscript_equals_its_native_form(shared, name):
    folder = shared / "oracle" / name
    model = read(folder / "model.pth")
    assert model.source.format == "pytorch .pth"
    assert_same(model, read(folder / "model.dp"))


def test_a_reader_imports_only_what_it_needs():
    code = "import sys, compress_onnx.readers.tensorflow; print({'h5py', 'yaml', 'onnx', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# ---- what is refused ---------------------------------------------------------------------------


REFUSED = {
    "dpa3_pt/model.pth": "DPA-3",
    "se_a_bf16_pt/model.pth": "bfloat16",
}


@pytest.mark.parametrize("name", REFUSED)
def test_trained_models_with_other_parts(shared, name):
    refused(shared / "oracle" / name, REFUSED[name])


@pytest.mark.oracle
def test_every_other_trained_model_is_read_or_refused(shared):
    supported = {case.file for case in oracle(SHARED / "oracle")}
    for file in sorted((shared / "oracle").glob("*/model*.*")):
        if file in supported:
            read(file)
        else:
            try:
                read(file)
            except ModelError as error:
                assert str(error).startswith(f"{file}: ")


# ---- files that are no model -------------------------------------------------------------------


def test_no_file(tmp_path):
    refused(tmp_path / "model.pb", "no such file")
    refused(tmp_path, "directory")
    (tmp_path / "empty.pb").write_bytes(b"")
    refused(tmp_path / "empty.pb", "empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "permissions")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# A readme\n\nThis text: is no model.\n", "not a Deep Potential"),
        (b"just words", "not a Deep Potential"),
        (b'{"base_code": {"magic": "pir"}}', "Paddle"),
        (b'{"model": {"type": "stand', "truncated JSON"),
        (b"model:\n  type: [standard\n", "truncated YAML"),
        (b'  node {\n  name: "t_coord"\n}\n', "not a Deep Potential"),
        (bytes(range(256)) * 8, "no model"),
        (b"\x00" * 64, "no model"),
        (b"\x12\x00", "not a Deep Potential"),
        (b"\x0a\x02\x0a\x00", "not a Deep Potential"),
        (b"\x08\x09\xff\xff", "no model"),
        (b"\x08\x09", "did not write"),
        (b"PK\x03\x04 and no more", "zip"),
        (b"\x89HDF\r\n\x1a\n and no more", "HDF5"),
    ],
)
def test_content_that_is_no_model(tmp_path, content, words):
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    refused(path, words)


def test_zip_archives_that_are_no_frozen_model(tmp_path):
    for member, words in (("m/data.pkl", "PyTorch archive"), ("m/extra/model.json", ".pt2"), ("notes.txt", "zip")):
        path = tmp_path / "model.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"x")
        refused(path, words)


def test_an_hdf5_file_without_a_model(tmp_path):
    import h5py

    path = tmp_path / "model.dp"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(3)
    refused(path, "without a model")
    with h5py.File(path, "a") as file:
        file.attrs["json"] = json.dumps({"model": {"@variables": {"out_bias": "/variable_0000"}}})
    refused(path, "variable_0000")


def test_onnx_files_that_are_not_read(tmp_path):
    path = tmp_path / "model.onnx"
    empty = onnx.helper.make_graph([], "empty", [], [])
    for facts, words in (
        ({}, "did not write"),
        ({"format": "2"}, "file format 2"),
        ({"format": "1", "kind": "compressed"}, "compressed already"),
        ({"format": "1", "kind": "uncompressed", "descriptor": "dpa2"}, "descriptor dpa2"),
        ({"format": "1", "kind": "uncompressed", "descriptor": "se_e2_a", "fitting": "ener"}, "damaged"),
    ):
        proto = onnx.helper.make_model(empty)
        onnx.helper.set_model_props(proto, {f"compress_onnx.{key}": value for key, value in facts.items()})
        onnx.save(proto, path)
        refused(path, words)


@pytest.mark.parametrize("name", ["se_a_tf/model.pb", "se_a_pt/model.pth", "se_a_pt/model.dp"])
@pytest.mark.parametrize("part", [0.999, 0.5, 0.01])
def test_a_truncated_model(shared, tmp_path, name, part):
    data = (shared / "oracle" / name).read_bytes()
    path = tmp_path / "model"
    path.write_bytes(data[: int(len(data) * part)])
    refused(path)


@pytest.mark.parametrize("name", ["se_a_tf/model.pb", "se_a_pt/model.pth", "se_a_pt/model.dp"])
def test_damage_is_read_or_refused(shared, tmp_path, name):
    damage_is_read_or_refused(shared / "oracle" / name, tmp_path / "model")


def damage_is_read_or_refused(file, path):
    data, random = bytearray(file.read_bytes()), np.random.default_rng(6)
    for _ in range(20):
        damaged = data.copy()
        for place in random.integers(0, len(data), 50):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ModelError as error:
            assert str(error).startswith(f"{path}: ")


# ---- hostile pickles ---------------------------------------------------------------------------


def archive(path, pickled: bytes, compression=zipfile.ZIP_STORED, **members: bytes):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", pickled, compression)
        file.writestr("m/constants.pkl", b"")
        for name, content in members.items():
            file.writestr(f"m/data/{name.removeprefix('storage_')}", content)
    return path


class Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (eval, ".eval"),
        (getattr, ".getattr"),
        (np.zeros, "numpy.zeros"),
        (pickle.loads, "pickle.loads"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_cannot_call_functions(tmp_path, function, name, protocol):
    marker = tmp_path / "marker"
    data = pickle.dumps({"weights": [Reduced(function, f"touch {marker}")]}, protocol)
    refused(archive(tmp_path / "model.pth", data), name, "hostile")
    assert not marker.exists()


@pytest.mark.parametrize(
    "target", ["ctorch.jit._pickle\nbuild_intlist\n", "ccollections\nOrderedDict\n", "c__torch__\nM\n"]
)
def test_a_pickle_cannot_change_what_the_unpickler_hands_out(tmp_path, target):
    state = b"}X\x04\x00\x00\x00calls}X\x08\x00\x00\x00__call__K\x01s\x86b."  # BUILD with attributes and slots
    refused(archive(tmp_path / "model.pth", b"\x80\x02" + target.encode() + state))


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride", "words"),
    [
        (4, 0, 5, 1, "outside its storage"),
        (4, 3, 2, 1, "outside its storage"),
        (4, 0, 3, 2, "outside its storage"),
        (4, -1, 2, 1, "outside its storage"),
        (4, 3, 2, -1, "outside its storage"),
        (4, 0, 1 << 30, 0, "outside its storage"),
        (5, 0, 4, 1, "has 4 numbers, not 5"),
        (4, 0, 4, 1, "something else than a model"),  # the tensor is sound
    ],
)
def test_a_tensor_stays_in_its_storage(tmp_path, count, offset, size, stride, words):
    def number(n):
        return b"J" + int(n).to_bytes(4, "little", signed=True)

    storage = b"(X\x07\x00\x00\x00storagectorch\nDoubleStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(count)
    shape = number(offset) + b"(" + number(size) + b"t(" + number(stride) + b"t"
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + shape + b"\x89NtR."
    refused(archive(tmp_path / "model.pth", pickled, storage_0=np.arange(4.0).tobytes()), words)


def test_a_compressed_pickle_is_not_inflated(tmp_path):
    refused(archive(tmp_path / "model.pth", b"\x80\x02N." * 1000, zipfile.ZIP_DEFLATED), "compressed inside")
