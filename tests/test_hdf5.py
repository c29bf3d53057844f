"""test_hdf5 - arrays and texts as libhdf5 reads them; files that point elsewhere, in circles or past their end."""

import io
import random

import h5py
import numpy as np
import pytest
from compress_onnx.model import ModelError
from compress_onnx.readers.hdf5 import File

ARRAYS = {
    "matrix": np.arange(12.0).reshape(3, 4),
    "single": np.ones(5, np.float32),
    "half": np.ones(3, np.float16),
    "numbers": np.array([[-1, 2]], np.int64),
    "small": np.array([7, 255], np.uint8),
    "flags": np.array([True, False]),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 3)),
}


def made(fill=lambda file: None) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.attrs["json"] = "text, perhaps a long one: ä " * 5000
        fill(file)
    return target.getvalue()


def filled(file) -> None:
    for name, value in ARRAYS.items():
        file[name] = value
    for k in range(400):  # a directory of several levels
        file[f"variable_{k:04d}"] = float(k)


def test_what_libhdf5_writes_comes_back():
    data = made(filled)
    file = File(data)
    assert file.text("json") == "text, perhaps a long one: ä " * 5000
    for name, value in ARRAYS.items():
        found = file.array(f"/{name}")
        assert found.dtype == value.dtype and found.shape == value.shape
        np.testing.assert_array_equal(found, value)
    assert all(file.array(f"variable_{k:04d}") == k for k in range(400))


def test_short_texts_of_fixed_length():
    assert File(made(lambda file: file.attrs.update(note=np.bytes_(b"abc")))).text("note") == "abc"


@pytest.mark.parametrize("find", [File.text, File.array])
def test_what_is_not_there(find):
    with pytest.raises(KeyError, match="nothing"):
        find(File(made()), "nothing")


def compressed(file) -> None:
    file.create_dataset("v", data=np.zeros(1 << 20), compression="gzip", chunks=True)


def unallocated(file) -> None:
    file.create_dataset("v", (1 << 40,), "f8", chunks=(1 << 16,))


def external(file) -> None:
    file.create_dataset("v", (10,), "u1", external=[("/etc/hostname", 0, 10)])


def virtual(file) -> None:
    layout = h5py.VirtualLayout((1 << 40,), "f8")
    layout[:10] = h5py.VirtualSource("other.h5", "v", (10,))
    file.create_virtual_dataset("v", layout)


def big_endian(file) -> None:
    file["v"] = np.ones(3, ">f8")


def text(file) -> None:
    file["v"] = "text"


def linked(file) -> None:
    file["v"] = h5py.ExternalLink("other.h5", "/v")


@pytest.mark.parametrize("fill", [compressed, unallocated, external, virtual, big_endian, text, linked])
def test_what_deepmd_kit_does_not_write_is_refused(fill):
    with pytest.raises(ModelError, match="which DeePMD-kit does not write: convert it with"):
        File(made(fill)).array("v")


def test_a_link_inside_the_file_is_no_array():
    with pytest.raises(KeyError):
        File(made(lambda file: file.update(v=h5py.SoftLink("/w"), w=1.0))).array("v")


def test_newer_forms_of_the_format_are_refused():
    target = io.BytesIO()
    with h5py.File(target, "w", libver="latest") as file:
        file["v"] = 1.0
    with pytest.raises(ModelError, match="superblock"):
        File(target.getvalue())


def test_damage_ends_in_an_error_and_no_array_is_larger_than_the_file():
    data, chance = made(filled), random.Random(0)
    for _ in range(2000):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.choice([1, 3, 10])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 255, chance.randrange(256)])
        try:
            file = File(bytes(damaged))
            file.text("json")
            assert all(file.array(name).nbytes <= len(data) for name in ARRAYS)
        except (ModelError, LookupError, ValueError):
            pass
