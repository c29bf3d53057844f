"""readers - a trained model file, whatever its format, as a Model."""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

from ..model import Model, ModelError
from . import parts
from .refusals import REFUSED, refused

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_ONNX = b"\x08"  # field ir_version comes first; a GraphDef starts with a node, its field 1 is no integer
# of files that are refused: what they begin or end with
_TELLTALE = {
    "paddle": lambda data: data.startswith(b'{"base_code"'),
    "old_checkpoint": lambda data: re.match(rb"\x80[\x02-\x05]", data),
    "tf_checkpoint": lambda data: data.startswith(b"model_checkpoint_path") or data.endswith(_LEVEL_TABLE),
}
_LEVEL_TABLE = bytes.fromhex("57fb808b247547db")  # the end of .index
_LONGEST = 500  # characters of a message
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


def read(path: str | os.PathLike, head: str | None = None) -> Model:
    """Read a trained model; the format is decided by the file's content, not by its name.

    head: which of the models of a file of several. Raises ModelError, with one sentence for the user, for a file that
    is no model, is damaged, or has a part that a Model cannot represent.
    """
    path = os.fspath(path)
    data = _bytes(path)
    try:
        model = parts.check(_reader(data)(path, data, head))
        return replace(model, source=replace(model.source, head=head or ""))
    except ModelError as error:
        raise ModelError(f"{path}: {_printable(str(error))}") from error.__cause__
    except _DAMAGE as error:
        reason = _printable(f"{type(error).__name__} {error}")
        raise ModelError(
            f"{path}: the file is damaged or was not written by DeePMD-kit ({reason}): export it again"
        ) from error


def _printable(text: str) -> str:
    """One line without control characters, whatever of the file it quotes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _bytes(path: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file: check the name of the model") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: {_directory(Path(path))}") from None
    except PermissionError:
        raise ModelError(f"{path}: may not be read: check its permissions") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if not data:
        raise ModelError(f"{path}: is empty: export the model again")
    return data


def _directory(path: Path) -> str:
    """Why a directory is not read."""
    for name, inside in (("saved_model", "saved_model.pb"), ("orbax", "_METADATA"), ("saved_model", "checkpoint")):
        if (path / inside).exists():
            return str(REFUSED[name])
    return "is a directory, not a model file: give the frozen model itself"


def _reader(data: bytes):
    """The function (path, data, head) -> Model for such content. Each format's packages are imported only here."""
    if data.startswith(_ZIP):
        return _zip_reader(data)
    for name, where in _TELLTALE.items():
        if where(data):
            raise refused(name)
    if data.startswith(_HDF5):
        from .native import read_hdf5 as reader
    elif not _CONTROL.search(data[:4096]):
        reader = _text_reader(data)
    elif data.startswith(_ONNX):
        from .onnx import read_onnx

        reader = _only(read_onnx)
    else:
        from .tensorflow import read_graph

        reader = _only(read_graph)
    return reader


def _only(reader):
    """`reader`, of files with one model, with the argument that others have."""

    def without_head(path: str, data: bytes, head: str | None) -> Model:
        parts.no_head(head)
        return reader(path, data)

    return without_head


def _zip_reader(data: bytes):
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ModelError("is a truncated or damaged zip archive: export the model again") from None
    files = {name.rpartition("/")[2] for name in names}
    if {"data.pkl", "constants.pkl"} <= files:
        from .torch import read_torchscript

        return _only(read_torchscript)
    if "data.pkl" in files:
        from .torch import read_checkpoint

        return read_checkpoint
    if "model.json" in files:
        raise refused("pt2")
    raise ModelError("is a zip archive without a model: give the frozen model itself")


def _text_reader(data: bytes):
    start = re.sub(rb"\A(?:\s|#[^\n]*\n)+", b"", data[:4096])
    if re.match(rb"(?:node|versions|library)\s*:?\s*\{", start):
        from .tensorflow import read_text

        return _only(read_text)
    from . import native

    return native.read_json if start.startswith(b"{") else native.read_yaml
