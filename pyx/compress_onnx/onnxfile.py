"""onnxfile - an ONNX model to disk, all of it or nothing, and the metadata of a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, inliner

from . import digest
from .bodies.builder import DOMAIN
from .graph import FORMAT, PREFIX
from .model import ModelError

ALIGNMENT = 4096  # of a tensor in the data file: a page, so that runtimes can map it
SMALLEST = 1024  # bytes; smaller tensors stay in the .onnx


def write(proto: ModelProto, path: str | os.PathLike, *, threshold: int = 1_500_000_000) -> int:
    """Write `proto` as `path`, which appears only when it is complete and onnx.checker has accepted it; bytes written.

    Tensors of more than `threshold` bytes in all move out of `proto` to a file beside it, named after `path` and its
    own digest, so that the file that was there before keeps its own: protobuf stops at 2 GB. `proto` gets a digest.
    """
    path = Path(path)
    _check_target(path)
    tensors = [tensor for tensor in proto.graph.initializer if len(tensor.raw_data) >= SMALLEST]
    external = sum(len(tensor.raw_data) for tensor in tensors) > threshold
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            unfinished = Path(folder, "unfinished")  # no suffix by which it could be taken for a model
            data = [_move_out(tensors, Path(folder), path.name)] if external else []
            unfinished.write_bytes(digest.serialise(proto, data))
            onnx.checker.check_model(os.fspath(unfinished))
            size = sum(file.stat().st_size for file in (unfinished, *data))
            before = digest.external_data(path)
            for file in data:
                os.replace(file, path.with_name(file.name))
            os.replace(unfinished, path)
            for name in before - {file.name for file in data}:
                path.with_name(name).unlink(missing_ok=True)
            return size
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"{path}: cannot be written ({reason}); choose an output in another folder.") from error


def inline(proto: ModelProto) -> ModelProto:
    """The same model in standard operators alone, for runtimes that know no model-local functions."""
    flat = inliner.inline_local_functions(proto)
    standard = [opset for opset in flat.opset_import if opset.domain != DOMAIN]
    del flat.opset_import[:]
    flat.opset_import.extend(standard)
    return flat


def _check_target(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; add the name of the file to write.")
    if not path.parent.is_dir():
        raise ModelError(f"{path}: the folder {path.parent} does not exist; create it first.")
    if path.exists() and not os.access(path, os.W_OK):
        raise ModelError(f"{path}: exists and is write-protected; remove it or choose another output.")


def _move_out(tensors: list[TensorProto], folder: Path, name: str) -> Path:
    """Write the tensors' bytes to a file in `folder` called NAME.DIGEST.data, which they refer to from then on."""
    unnamed, offsets = Path(folder, "data"), []
    with open(unnamed, "wb") as file:
        for tensor in tensors:
            file.write(bytes(-file.tell() % ALIGNMENT))
            offsets.append(file.tell())
            file.write(tensor.raw_data)
    data = unnamed.rename(unnamed.with_name(f"{name}.{digest.of_file(unnamed)[:12]}.data"))
    for tensor, offset in zip(tensors, offsets, strict=True):
        place = {"location": data.name, "offset": str(offset), "length": str(len(tensor.raw_data))}
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
    return data


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The metadata of a file that `write` wrote, keys without their prefix (docs/format.md)."""
    try:
        proto = onnx.load(os.fspath(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); check its name.") from error
    except DecodeError as error:
        raise ModelError(f"{path}: is not an ONNX model; make one with compress-onnx -i MODEL -o {path}.") from error
    facts = {
        entry.key.removeprefix(PREFIX): entry.value for entry in proto.metadata_props if entry.key.startswith(PREFIX)
    }
    if "format" not in facts:
        raise ModelError(
            f"{path}: is an ONNX model of another program; make one with compress-onnx -i MODEL -o {path}."
        )
    if facts["format"] != FORMAT:
        raise ModelError(f"{path}: has format {facts['format']}, this version reads {FORMAT}; update compress-onnx.")
    return facts
