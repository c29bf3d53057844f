"""readers - a trained model file, whatever its format, as a Model."""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from pathlib import Path

from ..model import Model, ModelError
from . import parts

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_ONNX = b"\x08"  # field ir_version comes first; a GraphDef starts with a node, its field 1 is no integer
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")

# What numbers, keys and sizes that make no sense raise when a reader uses them.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read(path: str | os.PathLike) -> Model:
    """Read a trained model; the format is decided by the file's content, not by its name.

    Raises ModelError, with one sentence for the user, for a file that is no model, is damaged, or has
    a part that a Model cannot represent.
    """
    path = os.fspath(path)
    data = _bytes(path)
    try:
        return parts.check(_reader(data)(path, data))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except _DAMAGE as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ModelError(
            f"{path}: the file is damaged or was not written by DeePMD-kit ({reason}): export it again"
        ) from error


def _bytes(path: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file: check the name of the model") from None
    except IsADirectoryError:
        raise ModelError(
            f"{path}: is a directory, not a model file: convert it with 'dp convert-backend {path} model.dp'"
        ) from None
    except PermissionError:
        raise ModelError(f"{path}: may not be read: check its permissions") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if not data:
        raise ModelError(f"{path}: is empty: export the model again")
    return data


def _reader(data: bytes):
    """The function (path, data) -> Model for such content. Each format's packages are imported only here."""
    if data.startswith(_ZIP):
        return _zip_reader(data)
    if data.startswith(_HDF5):
        from .native import read_hdf5 as reader
    elif not _CONTROL.search(data[:4096]):
        reader = _text_reader(data)
    elif data.startswith(_ONNX):
        from .onnx import read_onnx as reader
    else:
        from .tensorflow import read_graph as reader
    return reader


def _zip_reader(data: bytes):
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ModelError("is a truncated or damaged zip archive: export the model again") from None
    files = {name.rpartition("/")[2] for name in names}
    if {"data.pkl", "constants.pkl"} <= files:
        from .torch import read_torchscript

        return read_torchscript
    if "data.pkl" in files:
        raise parts.unsupported("a PyTorch checkpoint", "freeze it first with 'dp --pt freeze'")
    if "model.json" in files:
        raise parts.unsupported("a .pt2 or .pte package", "convert it with 'dp convert-backend MODEL model.dp'")
    raise ModelError("is a zip archive without a model: give the frozen model itself")


def _text_reader(data: bytes):
    start = re.sub(rb"\A(?:\s|#[^\n]*\n)+", b"", data[:4096])
    if re.match(rb"(?:node|versions|library)\s*:?\s*\{", start):
        raise parts.unsupported(
            "a graph in text form", "convert it with 'dp convert-from pbtxt -i MODEL.pbtxt -o MODEL.pb'"
        )
    from . import native

    return native.read_json if start.startswith(b"{") else native.read_yaml
