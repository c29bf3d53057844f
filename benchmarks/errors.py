"""errors - of forces against stored results: of files, and of the original weights where all arithmetic is float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import Frame
from compress_onnx import _core, graph, onnxfile, ort
from compress_onnx.model import Model
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper


@dataclass(frozen=True)
class Error:
    """Of components of forces, eV/Å."""

    largest: float
    rms: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} ({self.rms:.1e}) eV/Å"


def of_file(file: Path, frames: Sequence[Frame]) -> Error:
    workspace = _core.Workspace(_core.Model(file))
    return _error(frames, lambda f: workspace.compute(f.coord, f.atype, f.cell)["force"])


def of_float32(model: Model, frames: Sequence[Frame]) -> Error:
    """Of the uncompressed model with coordinates, weights and every operation in float32."""
    session = ort.session(_single(graph.uncompressed(model)).SerializeToString(), library=False)

    def force(frame: Frame) -> np.ndarray:
        coord, cell = frame.coord.astype(np.float32), frame.cell.astype(np.float32)
        return session.run(["force"], {"coord": coord, "atype": frame.atype, "cell": cell})[0]

    return _error(frames, force)


def _error(frames: Sequence[Frame], force: Callable[[Frame], np.ndarray]) -> Error:
    difference = np.concatenate([(force(frame) - frame.force).ravel() for frame in frames])
    return Error(float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2))))


def _single(proto: ModelProto) -> ModelProto:
    """A graph of standard operators with float32 wherever it has float64."""
    proto = onnxfile.inline(proto)
    _make_single(proto.graph)
    return proto


def _make_single(part: GraphProto) -> None:
    tensors = list(part.initializer)
    for value in (*part.input, *part.output, *part.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in (attribute for node in part.node for attribute in node.attribute):
        if attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("t"):
            tensors.append(attribute.t)
        if attribute.HasField("g"):
            _make_single(attribute.g)
    for tensor in tensors:
        if tensor.data_type == TensorProto.DOUBLE:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
