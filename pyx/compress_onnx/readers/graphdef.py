"""graphdef - the few protobuf messages of a TensorFlow graph that a frozen model uses, and their tensors as arrays."""

from __future__ import annotations

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from ..model import ModelError
from .refusals import refused

_SCALARS = {"string": 9, "bytes": 12, "int32": 5, "int64": 3, "bool": 8, "float": 2, "double": 1}
_MESSAGE, _ENUM = 11, 14

# message: field name (TensorFlow's, for the text form), number, type (a scalar, or another of these), repeated
_SCHEMA = {
    "Dim": [("size", 1, "int64", False)],
    "Shape": [("dim", 2, "Dim", True), ("unknown_rank", 3, "bool", False)],
    "Tensor": [
        ("dtype", 1, "DataType", False),
        ("tensor_shape", 2, "Shape", False),
        ("tensor_content", 4, "bytes", False),
        ("float_val", 5, "float", True),
        ("double_val", 6, "double", True),
        ("int_val", 7, "int32", True),
        ("string_val", 8, "bytes", True),
        ("int64_val", 10, "int64", True),
        ("bool_val", 11, "bool", True),
    ],
    "List": [("i", 3, "int64", True)],
    "Value": [
        ("list", 1, "List", False),
        ("s", 2, "bytes", False),
        ("i", 3, "int64", False),
        ("f", 4, "float", False),
        ("b", 5, "bool", False),
        ("type", 6, "DataType", False),
        ("tensor", 8, "Tensor", False),
    ],
    "Attribute": [("key", 1, "string", False), ("value", 2, "Value", False)],
    "Node": [
        ("name", 1, "string", False),
        ("op", 2, "string", False),
        ("input", 3, "string", True),
        ("attr", 5, "Attribute", True),
    ],
    "Graph": [("node", 1, "Node", True)],
}
# in the order of their numbers
_TYPE_NAMES = """
INVALID FLOAT DOUBLE INT32 UINT8 INT16 INT8 STRING COMPLEX64 INT64 BOOL QINT8 QUINT8 QINT32 BFLOAT16 QINT16 QUINT16
UINT16 COMPLEX128 HALF RESOURCE VARIANT UINT32 UINT64
"""
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "|b1"}
_VALUES = {1: "float_val", 2: "double_val", 3: "int_val", 9: "int64_val", 10: "bool_val"}
_STRING = 7
_SHORT = {"bfloat16": "bfloat16", "half": "float16"}  # numbers that are too short
_LARGEST_FILL = 1 << 20  # no statistics are larger; a damaged shape must not ask for all memory


def _graph_class():
    """The class of message Graph, whose map of attributes is a repeated entry on the wire."""
    package = "compress_onnx.tensorflow"
    file = descriptor_pb2.FileDescriptorProto(name="compress_onnx/graphdef.proto", package=package, syntax="proto3")
    types = file.enum_type.add(name="DataType")
    for number, name in enumerate(_TYPE_NAMES.split()):
        types.value.add(name=f"DT_{name}", number=number)
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = described.field.add(name=name, number=number, label=3 if repeated else 1)
            field.type = _SCALARS.get(kind) or (_ENUM if kind == "DataType" else _MESSAGE)
            if kind not in _SCALARS:
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Graph"))


Graph = _graph_class()


def parse(data: bytes, text: bool = False):
    """The Graph in a .pb file's bytes, or in a .pbtxt's."""
    try:
        if text:
            return text_format.Parse(data.decode(), Graph(), allow_unknown_field=True)
        return Graph.FromString(data)
    except text_format.ParseError as error:
        raise ModelError(f"is a truncated or damaged graph in text form ({error}): export it again") from None
    except DecodeError:
        raise ModelError("is no model, or a truncated TensorFlow graph: give a .pb, .pth, .dp or .yaml") from None


def attribute(node, key: str):
    """The Value of a node's attribute, or None."""
    return next((entry.value for entry in node.attr if entry.key == key), None)


def tensor(node) -> np.ndarray | bytes:
    """What a Const node holds: an array, or the bytes of a string."""
    proto = attribute(node, "value").tensor
    if proto.dtype == _STRING:
        return proto.string_val[0]
    if proto.dtype not in _DTYPES:
        name = dict(enumerate(_TYPE_NAMES.split())).get(proto.dtype, "no").lower()
        if (kind := _SHORT.get(name)) is not None:
            raise refused(kind)
        raise ModelError(f"the constant {node.name} has {name} type, which no supported model uses")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = int(np.prod(shape, dtype=object))
    dtype = np.dtype(_DTYPES[proto.dtype])
    if proto.tensor_content:
        values = np.frombuffer(proto.tensor_content, dtype)
    else:
        values = np.array(getattr(proto, _VALUES[proto.dtype]), dtype)
        # A run of equal values is stored once; the last one stands for the rest, none for zeros.
        if values.size < count <= _LARGEST_FILL:
            values = np.concatenate([values, np.full(count - values.size, values[-1] if values.size else 0, dtype)])
    if min(shape, default=0) < 0 or values.size != count:
        raise ModelError(f"the constant {node.name} has {values.size} numbers for shape {shape}: the file is damaged")
    return values.reshape(shape)
