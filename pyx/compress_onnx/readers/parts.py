"""parts - what every reader does with what it found: sources, names, arrays, layers, and the last check."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from ..model import ACTIVATIONS, Layer, Model, ModelError, Net, Source

# in native files; gelu_tf rounds its constant in TensorFlow alone
_ACTIVATION_NAMES = {name: name for name in ACTIVATIONS} | {"none": "linear", "gelu_tf": "gelu"}
_PRECISION_NAMES = {
    "float64": "float64",
    "double": "float64",
    "default": "float64",
    "float32": "float32",
    "single": "float32",
}


def unsupported(part: str, remedy: str = "compress-onnx does not read such models yet") -> ModelError:
    """The error for a part that the file has and a Model has not."""
    return ModelError(f"{part} is not supported: {remedy}")


def source(path: str, data: bytes, file_format: str, version: str = "") -> Source:
    return Source(path, file_format, hashlib.sha256(data).hexdigest(), version)


def activation(name: str | None) -> str:
    """The member of ACTIVATIONS that a native file's name for an activation function means."""
    known = _ACTIVATION_NAMES.get(str(name).lower())
    if known is None:
        raise unsupported(f"activation function {name!r}")
    return known


def precision(name: str, part: str) -> str:
    """float64 or float32."""
    known = _PRECISION_NAMES.get(str(name))
    if known is None:
        raise unsupported(f"precision {name} of the {part}")
    return known


def array(value: object, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """`value` as a finite float64 array, of `shape` where one is given."""
    result = np.ascontiguousarray(value, dtype=np.float64)
    if shape is not None and result.size == np.prod(shape):
        result = result.reshape(shape)
    elif shape is not None:
        raise ModelError(f"{name} has shape {np.shape(value)}, not {shape}: the file is damaged")
    if not np.isfinite(result).all():
        raise ModelError(f"{name} has NaN or infinite numbers: the training diverged or the file is damaged")
    return result


def layer(weight: object, bias: object, idt: object, function: str, residual: int, name: str) -> Layer:
    """A Layer from what a file has: weight [in, out], bias [out] or None, idt [out] or None."""
    weight = array(weight, f"weight of {name}")
    if weight.ndim != 2:
        raise ModelError(f"weight of {name} has {weight.ndim} dimensions, not 2: the file is damaged")
    width = (weight.shape[1],)
    bias = None if bias is None else array(bias, f"bias of {name}", width)
    idt = None if idt is None else array(idt, f"idt of {name}", width)
    return Layer(weight, bias, idt, function, residual)


def shortcut(shape: tuple[int, int]) -> int:
    """Residual of a layer whose input is added where the output is as wide, or added twice where it is double."""
    inputs, outputs = shape
    return 1 if outputs == inputs else 2 if outputs == 2 * inputs else 0


def per_type(statistics: object, types: int, slots: int, name: str) -> np.ndarray:
    """[types, 4] from statistics [types, slots, 4], which repeat over the slots of a centre."""
    statistics = array(statistics, name, (types, slots, 4))
    if (statistics != statistics[:, :1]).any():
        raise unsupported(f"{name} that differs between the neighbours of one type of centre")
    return statistics[:, 0].copy()


def pair_table(types: int, index: dict[tuple[int, int], int]) -> np.ndarray:
    """int64 [types, types] with index[centre, neighbour], -1 elsewhere."""
    table = np.full((types, types), -1, dtype=np.int64)
    for pair, net in index.items():
        table[pair] = net
    return table


def _faults(model: Model) -> Iterator[str]:
    descriptor, fitting, types = model.descriptor, model.fitting, len(model.type_map)
    switch = descriptor.switch
    if types == 0 or len(set(model.type_map)) != types:
        yield f"the type map {list(model.type_map)} is empty or has a name twice"
    if not (0 <= switch.smooth < switch.cutoff and switch.width > 0 and switch.protection >= 0):
        yield f"the cutoffs {switch.smooth:g} and {switch.cutoff:g} do not fit each other"
    if len(descriptor.sel) != types or min(descriptor.sel) < 0 or sum(descriptor.sel) == 0 or not descriptor.count > 0:
        yield f"sel {list(descriptor.sel)} does not fit {types} types"
    if descriptor.mean.shape != (types, 4) or descriptor.std.shape != (types, 4) or (descriptor.std == 0).any():
        yield "the statistics of the environment matrix have a wrong shape or a zero deviation"
    for table in (descriptor.net, descriptor.pad_net):
        if table.shape != (types, types) or table.min() < -1 or table.max() >= len(descriptor.nets):
            yield f"there are {len(descriptor.nets)} embedding nets, which do not cover {types} types"
    if len({net.width for net in descriptor.nets}) != 1:
        yield "the embedding nets are missing or differ in width"
    elif not 0 < descriptor.axis <= descriptor.nets[0].width:
        yield f"axis_neuron {descriptor.axis} does not fit an embedding net of width {descriptor.nets[0].width}"
    else:
        features = descriptor.axis * descriptor.nets[0].width
        yield from _net_faults(descriptor.nets, 1, "embedding")
        yield from _net_faults(fitting.nets, features, "fitting")
    if len(fitting.nets) != types or fitting.bias.shape != (types,):
        yield f"there are {len(fitting.nets)} fitting nets and {fitting.bias.size} biases for {types} types"
    if any(net.width != 1 or net.layers[-1].activation != "linear" for net in fitting.nets):
        yield "the last layer of a fitting net has more than one output or an activation function"


def _net_faults(nets: tuple[Net, ...], inputs: int, kind: str) -> Iterator[str]:
    for net in nets:
        width = inputs
        for one in net.layers:
            if one.weight.shape[0] != width or one.residual != 0 and one.weight.shape[1] != one.residual * width:
                yield f"a layer of {one.weight.shape[0]} inputs in a {kind} net follows one of {width} outputs"
            width = one.weight.shape[1]


def check(model: Model) -> Model:
    """The same model, or a ModelError where its parts do not fit each other."""
    fault = next(_faults(model), None)
    if fault is not None:
        raise ModelError(f"{fault}: the file is damaged")
    return model
