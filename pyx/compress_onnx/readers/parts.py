"""parts - what every reader does with what it found: sources, names, arrays, layers, and the last check."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..model import (
    ACTIVATIONS,
    SILUT_THRESHOLD,
    Descriptor,
    Layer,
    Model,
    ModelError,
    Net,
    PairTable,
    Source,
    TabulatedNet,
    Term,
    ThreeBody,
    TwoBody,
)
from .messages import attention_faults, repformer_faults
from .refusals import REFUSED, refused

_MOST_TYPES = 1024  # there are arrays for all pairs
# in native files; gelu_tf rounds its constant in TensorFlow alone
_ACTIVATION_NAMES = {name: name for name in ACTIVATIONS} | {"none": "linear", "gelu_tf": "gelu"}
_PRECISION_NAMES = {
    "float64": "float64",
    "double": "float64",
    "default": "float64",
    "float32": "float32",
    "single": "float32",
}


def check_types(count: int) -> None:
    """Refuse numbers of types whose tables of pairs would be larger than any file."""
    if not 0 < count <= _MOST_TYPES:
        raise ModelError(f"a model cannot have {count} types: the file is damaged")


def unsupported(part: str, remedy: str = "compress-onnx does not read such models yet") -> ModelError:
    """The error for a part that the file has and a Model has not."""
    return ModelError(f"{part} is not supported: {remedy}")


def choose_head(heads: Mapping | None, head: str | None, aliases: Callable[[str], list]) -> str | None:
    """Which of the models of a file `head` means, by its name or by one of aliases(name); None if there is but one."""
    if heads is None:
        return no_head(head)
    found = [name for name in heads if head is not None and head in (name, *aliases(name))]
    if not found:
        problem = "has several models" if head is None else f"has no head {head!r}"
        raise ModelError(f"{problem}: choose one with --head, of {', '.join(heads)}")
    return found[0]


def no_head(head: str | None) -> None:
    if head is not None:
        raise ModelError(f"has one model and no head {head!r}: leave --head out")


def source(path: str, data: bytes, file_format: str, version: str = "") -> Source:
    return Source(path, file_format, hashlib.sha256(data).hexdigest(), version)


def activation(name: str | None) -> str:
    """The member of ACTIVATIONS that a native file's name for an activation function means."""
    kind, _, threshold = str(name).lower().partition(":")
    if kind in ("silut", "custom_silu"):
        if float(threshold or SILUT_THRESHOLD) != SILUT_THRESHOLD:
            raise unsupported(f"activation function {name!r}", f"its threshold is not {SILUT_THRESHOLD:g}")
        return "silut"
    known = _ACTIVATION_NAMES.get(str(name).lower())
    if known is None:
        raise unsupported(f"activation function {name!r}")
    return known


def precision(name: str, part: str) -> str:
    """float64 or float32."""
    known = _PRECISION_NAMES.get(str(name))
    if known is None:
        kind = {"half": "float16"}.get(name, name)
        raise refused(kind) if kind in REFUSED else unsupported(f"precision {name} of the {part}")
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


def with_constants(net: Net, constants: np.ndarray) -> Net:
    """The net of its first input alone, the others being constants: a linear layer before it supplies these."""
    weight = np.eye(1, 1 + len(constants))
    bias = np.concatenate([[0.0], array(constants, "type embedding")])
    if net.layers[0].weight.shape[0] != len(bias):
        raise ModelError(f"an embedding net does not have {len(bias)} inputs: the file is damaged")
    return Net((Layer(weight, bias, None, "linear", 0), *net.layers))


def averaged(one: Net, other: Net) -> Net:
    """(one + other) / 2, for nets of one input and the same shape, which go side by side."""
    places = [np.arange(1), np.arange(1)]  # of the channels of either among those of both; they share the input
    layers = []
    for pair in zip(one.layers, other.layers, strict=True):
        inputs, outputs = pair[0].weight.shape
        before = places
        if pair[0].residual == 2:
            places = [np.concatenate([place, 2 * inputs + place]) for place in before]
        elif pair[0].residual == 0:
            places = [np.arange(outputs), outputs + np.arange(outputs)]
        weight = np.zeros((1 if not layers else 2 * inputs, 2 * outputs))
        bias, idt = np.zeros(2 * outputs), np.ones(2 * outputs)
        for layer, start, end in zip(pair, before, places, strict=True):
            weight[np.ix_(start, end)] = layer.weight
            bias[end] = 0.0 if layer.bias is None else layer.bias
            idt[end] = 1.0 if layer.idt is None else layer.idt
        layers.append(Layer(weight, bias, idt, pair[0].activation, pair[0].residual))
    half = np.zeros((2 * outputs, outputs))
    for place in places:
        half[place, np.arange(outputs)] = 0.5
    return Net((*layers, Layer(half, None, None, "linear", 0)))


def per_type(statistics: object, types: int, slots: int, name: str, components: int = 4) -> np.ndarray:
    """[types, components] from statistics [types, slots, components], which repeat over the slots of a centre."""
    statistics = array(statistics, name, (types, slots, components))
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
    if not model.type_map or len(set(model.type_map)) != len(model.type_map):
        yield f"the type map {list(model.type_map)} is empty or has a name twice"
    if model.spin is not None and (model.kind != "ener" or len(model.spin) != len(model.type_map)):
        yield "the spin of the model does not fit its types, or what is fitted is no energy"
    types = len(model.all_types)
    for term in model.terms:
        if term.pair is not None:
            yield from _pair_faults(term.pair, types)
        for descriptor in term.descriptors:
            yield from _descriptor_faults(descriptor, types)
        if term.repformer is not None:
            yield from repformer_faults(term.repformer, sum(one.features for one in term.descriptors), types)
        yield from _fitting_faults(term, types)
    fittings = [term.fitting for term in model.terms]
    if len(fittings) > 1 and {fitting.kind for fitting in fittings} != {"ener"}:
        yield "the models of a linear combination are not all energies"
    if len({(fitting.fparam.shape, fitting.aparam.shape) for fitting in fittings}) != 1:
        yield "the models of a linear combination differ in their numbers of fparam or aparam"


def _descriptor_faults(descriptor: Descriptor, types: int) -> Iterator[str]:
    switch, sel = descriptor.switch, descriptor.sel
    if not (0 <= switch.smooth < switch.cutoff and switch.width > 0 and switch.protection >= 0):
        yield f"the cutoffs {switch.smooth:g} and {switch.cutoff:g} do not fit each other"
    if len(sel) not in (1, types) or min(sel) < 0 or sum(sel) == 0:
        yield f"sel {list(sel)} does not fit {types} types"
    if descriptor.mean.shape != (types, 4) or descriptor.std.shape != (types, 4) or (descriptor.std == 0).any():
        yield "the statistics of the environment matrix have a wrong shape or a zero deviation"
    if len({net.width for net in descriptor.nets}) != 1:
        yield "the embedding nets are missing or differ in width"
        return
    yield from _net_faults(descriptor.nets, 1, "embedding")
    base = np.arange(len(descriptor.nets)) if descriptor.base is None else descriptor.base
    scale = np.ones((len(base), descriptor.channels)) if descriptor.scale is None else descriptor.scale
    if not _covers(base, (len(base),), len(descriptor.nets)) or scale.shape != (len(base), descriptor.channels):
        yield "the factors of an embedding net have a wrong shape"
    tables = [(descriptor.net, types), *_two_body_tables(descriptor, types)]
    if descriptor.gate != "none":
        tables.append((descriptor.gate_net, types))
    if not all(_covers(table, (types, columns), len(base)) for table, columns in tables):
        yield f"there are {len(descriptor.nets)} embedding nets, which do not cover {types} types"
    if isinstance(descriptor, TwoBody):
        least = 0 if descriptor.kind == "se_e2_r" else 1
        if not least <= descriptor.axis <= descriptor.channels:
            yield f"axis_neuron {descriptor.axis} does not fit an embedding net of width {descriptor.channels}"
        if descriptor.count <= 0 or descriptor.pad_env.shape != (types, len(sel), 4):
            yield "the empty slots of the descriptor have a wrong shape"
        if descriptor.attention is not None:
            yield from attention_faults(descriptor.attention, descriptor.channels)
    elif isinstance(descriptor, ThreeBody):
        symmetric = (descriptor.net, descriptor.weight)
        if any((array != array.T).any() for array in symmetric) or descriptor.masked.shape != (types, types):
            yield "the nets of pairs of neighbours are not symmetric"


def _pair_faults(pair: PairTable, types: int) -> Iterator[str]:
    if pair.table.shape[:2] != (types, types) or pair.table.shape[3] != 4 or pair.bias.shape != (types,):
        yield f"the pair table has shape {pair.table.shape} for {types} types"
    if not (0 < pair.cutoff and 0 < pair.step and 0 < pair.alpha and pair.inner < pair.outer):
        yield "the distances of the pair table do not fit each other"


def _two_body_tables(descriptor: Descriptor, types: int) -> list[tuple[np.ndarray, int]]:
    if not isinstance(descriptor, TwoBody):
        return []
    masks = [] if descriptor.mask_net is None else [(descriptor.mask_net, types)]
    return [(descriptor.pad_net, len(descriptor.sel)), *masks]


def _covers(table: np.ndarray, shape: tuple[int, ...], count: int) -> bool:
    """Whether the table has this shape and numbers from -1 to count - 1."""
    return table.shape == shape and table.min(initial=-1) >= -1 and table.max(initial=-1) < count


def _fitting_faults(term: Term, types: int) -> Iterator[str]:
    fitting = term.fitting
    if len({net.width for net in fitting.nets}) != 1 or not _covers(fitting.net, (types,), len(fitting.nets)):
        yield f"there are {len(fitting.nets)} fitting nets for {types} types, or they differ in width"
        return
    if fitting.bias.shape != (types, fitting.outputs) or len(fitting.constant) != types:
        yield f"the bias of the fitting net has shape {fitting.bias.shape} for {types} types"
    inputs = term.features + sum(part.shape[1] for part in (fitting.constant, fitting.fparam, fitting.aparam))
    yield from _net_faults(fitting.nets, inputs, "fitting")
    if fitting.nets[0].width not in _widths(term):
        yield f"a fitting net of kind {fitting.kind} has {fitting.nets[0].width} outputs"
    if any(net.layers[-1].activation != "linear" for net in fitting.nets):
        yield "the last layer of a fitting net has an activation function"


def _widths(term: Term) -> tuple[int, ...]:
    """Outputs that a net of this kind of fitting may have; none where its descriptors do not know directions."""
    kind = term.fitting.kind
    if kind in ("dos", "property"):
        return (term.fitting.outputs,)
    if kind == "ener":
        return (1,)
    directed = all(isinstance(descriptor, TwoBody) and descriptor.axis for descriptor in term.descriptors)
    if not directed and term.repformer is None:
        return ()
    return (term.channels,) if kind == "dipole" else (term.channels, term.channels**2)


def _net_faults(nets: tuple[Net, ...], inputs: int, kind: str) -> Iterator[str]:
    for net in nets:
        if isinstance(net, TabulatedNet):
            if kind != "embedding":
                yield f"a {kind} net is a table"
            continue
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
