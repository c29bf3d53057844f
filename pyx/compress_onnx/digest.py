"""digest - SHA-256 of a model file and of its external data, kept in the file: what is damaged is not loaded."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .model import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

KEY = "compress_onnx.digest"
_OURS = b"compress_onnx."  # in the key of each of our metadata entries
_BLANK = b"0" * 64  # stands in place of the model's own digest while that is taken
# the key and value of the metadata entry as protobuf writes them, the value's length in one to three bytes
_ENTRY = re.compile(
    rb'%s\x12[\x80-\xff]{0,2}[\x01-\x7f](\{"model": "([0-9a-f]{64})", "files": \{[^}]*\}\})' % KEY.encode()
)


def serialise(proto: ModelProto, files: Sequence[Path] = ()) -> bytes:
    """The bytes of `proto`, whose metadata get the digest of these bytes and of the `files` beside them."""
    for entry in [entry for entry in proto.metadata_props if entry.key == KEY]:
        proto.metadata_props.remove(entry)
    entry = proto.metadata_props.add(key=KEY)
    described = {"model": _BLANK.decode(), "files": {file.name: of_file(file) for file in files}}
    entry.value = json.dumps(described, ensure_ascii=False)
    described["model"] = hashlib.sha256(proto.SerializeToString()).hexdigest()
    entry.value = json.dumps(described, ensure_ascii=False)
    return proto.SerializeToString()


def verify(path: str | os.PathLike) -> None:
    """Raise ModelError unless the .onnx at `path` and its external data are, to the bit, as they were written."""
    if problem := fault(path):
        raise ModelError(f"{path}: {problem}")


def fault(path: str | os.PathLike) -> str | None:
    """What is wrong with the file or its external data, in the rest of a sentence about the file."""
    path = Path(path)
    try:
        with _mapped(path) as content:
            entry = _find(content)
            if entry is None and content.find(_OURS) < 0:
                return None  # other programs' files have no digest
            if entry is None:
                return "is damaged or was changed by another program, its digest is gone; write it again."
            described, (begin, end) = json.loads(entry[1]), entry.span(2)
            with memoryview(content) as whole:
                found = _of_parts(whole[:begin], _BLANK, whole[end:])
        if found != described["model"]:
            return "is damaged, its SHA-256 is not the one in it; copy or write it again."
        for name, expected in described["files"].items():
            if of_file(path.with_name(name)) != expected:
                return f"its external data {name} are damaged or of another model; copy both files again."
    except (OSError, ValueError) as error:  # ValueError: an empty file, a name that is none
        what = Path(getattr(error, "filename", None) or path).name
        return f"{what} cannot be read ({getattr(error, 'strerror', None) or error})."
    return None


def external_data(path: str | os.PathLike) -> set[str]:
    """The names of the files that belong to the model at `path`, if there is one."""
    try:
        with _mapped(path) as content:
            entry = _find(content)
            return set() if entry is None else set(json.loads(entry[1])["files"])
    except (OSError, ValueError):
        return set()


def of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return _of_parts(*iter(lambda: file.read(1 << 20), b""))


def _mapped(path: str | os.PathLike) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _find(content: mmap.mmap) -> re.Match | None:
    return _ENTRY.search(content, max(content.rfind(KEY.encode()), 0))


def _of_parts(*parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
