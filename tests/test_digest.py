"""test_digest - a flipped bit anywhere in a model file or its external data is found by every loader, by name."""

import os
import shutil

import numpy as np
import onnx
import pytest
import tiny
from compress_onnx import DeepPot, _core, compress, convert, digest, onnxfile, ort, readers
from compress_onnx.model import ModelError

pytestmark = pytest.mark.filterwarnings("ignore:the tables add")
LOADERS = {
    "digest": digest.verify,
    "libdpc": _core.Model,
    "onnxruntime": lambda path: ort.session(path, library=False),
    "DeepPot": DeepPot,
}
SAMPLES = 150


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a model as one file, a model with external data, and an uncompressed one."""
    folder = tmp_path_factory.mktemp("digest")
    tiny.write_dp(tiny.tree(), folder / "tiny.dp")
    compress(folder / "tiny.dp", folder / "one.onnx", step=0.5, check="none")
    onnxfile.write(onnx.load(folder / "one.onnx"), folder / "two.onnx", threshold=0)
    convert(folder / "tiny.dp", folder / "whole.onnx")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    for file in written.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture(params=LOADERS)
def load(request):
    return LOADERS[request.param]


def external(folder):
    (data,) = folder.glob("two.onnx.*.data")
    return data


def flipped(content: bytes):
    """`content` with one bit flipped: at places all over it, and all through the entry with the digest."""
    begin = content.rfind(digest.KEY.encode())
    entry = range(begin - 4, begin + 180) if begin >= 0 else ()
    for at in [*np.linspace(0, len(content) - 1, SAMPLES, dtype=int), *entry]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        yield bytes(damaged)


@pytest.mark.parametrize("name", ["one.onnx", "two.onnx", "whole.onnx"])
def test_what_was_written_is_whole(folder, name):
    digest.verify(folder / name)
    assert readers.read(folder / name).type_map == ("A", "B") if name == "whole.onnx" else _core.Model(folder / name)


@pytest.mark.parametrize("name", ["one.onnx", "two.onnx"])
def test_a_flipped_bit_is_found(folder, load, name):
    path = folder / name
    for damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises((ModelError, ValueError), match=name):
            load(path)


def test_a_flipped_bit_of_external_data_is_found(folder, load):
    data = external(folder)
    for damaged in flipped(data.read_bytes()):
        data.write_bytes(damaged)
        with pytest.raises(ModelError, match=data.name):
            load(folder / "two.onnx")


def test_a_flipped_bit_of_an_uncompressed_model_is_found(folder):
    path = folder / "whole.onnx"
    for damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=f"{path}: "):
            readers.read(path)


def test_external_data_that_is_missing_or_short(folder, load):
    data = external(folder)
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelError, match=data.name):
        load(folder / "two.onnx")
    data.unlink()
    with pytest.raises(ModelError, match=data.name):
        load(folder / "two.onnx")


def test_a_file_that_another_program_changed(folder):
    """It is refused, unless the caller says not to look."""
    path = folder / "one.onnx"
    proto = onnx.load(path)
    proto.doc_string = "with a remark"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="one.onnx: is damaged, its SHA-256 is not the one in it; copy"):
        ort.session(path)
    assert ort.session(path, verify=False) and _core.Model(path.read_bytes())
    del proto.metadata_props[:]
    path.write_bytes(proto.SerializeToString())
    digest.verify(path)  # a file of another program has no digest


def test_a_new_model_takes_its_external_data_along(folder):
    before = external(folder)
    proto = onnx.load(folder / "two.onnx")
    proto.graph.initializer[-1].raw_data = bytes(len(proto.graph.initializer[-1].raw_data))
    next(tensor for tensor in proto.graph.initializer if tensor.name == "table").raw_data = bytes(
        len(next(tensor for tensor in proto.graph.initializer if tensor.name == "table").raw_data)
    )
    onnxfile.write(proto, folder / "two.onnx", threshold=0)
    assert external(folder) != before and not before.exists()
    digest.verify(folder / "two.onnx")
    onnxfile.write(onnx.load(folder / "two.onnx"), folder / "two.onnx")
    assert not list(folder.glob("two.onnx.*")) and os.path.exists(folder / "two.onnx")


def test_names_are_kept_as_they_are(folder):
    path = folder / "eau légère.onnx"
    onnxfile.write(onnx.load(folder / "one.onnx"), path, threshold=0)
    digest.verify(path)
    assert _core.Model(path)
