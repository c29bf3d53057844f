"""fittings - the fitting net of a native dictionary as a Fitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model import Fitting, Layer, ModelError, Net
from ..nets import values
from . import parts, trees
from .descriptors import Member

_NEWEST = {"ener": 4, "dipole": 4, "dos": 4, "polar": 5, "property": 6}
_WIDEST = 1 << 16  # inputs of one kind
_ADDITIVE = frozenset({"ener", "dos", "property"})  # whose results are the net's outputs plus a bias


def read_fitting(tree: dict, stats: dict, members: list[Member], excluded: list[int]) -> Fitting:
    """The fitting net of a model with these descriptors; `stats` has the model's out_bias and out_std.

    `excluded`: types whose atoms have no output at all.
    """
    kind = tree["type"]
    if kind not in _NEWEST:
        raise parts.unsupported(f"fitting {kind}")
    trees.version(tree, "fitting net", _NEWEST[kind])
    trees.absent(tree, "fitting net", "tot_ener_zero", "use_aparam_as_mask", "spin")
    types = len(members[0].constant)
    nets = trees.nets(tree["nets"], "fitting net", types)
    if len(nets) != (1 if tree.get("mixed_types") else types):
        raise ModelError(f"there are {len(nets)} fitting nets for {types} types: the file is damaged")
    constant, order = _inputs(tree, members)
    if (order != np.arange(len(order))).any():
        nets = tuple(permuted(net, order) for net in nets)
    of_type = np.zeros(types, dtype=np.int64) if tree.get("mixed_types") else np.arange(types)
    fparam, aparam = _norm(tree, "fparam"), _norm(tree, "aparam")

    outputs = nets[0].width
    shift = parts.array(tree["@variables"]["bias_atom_e"], "bias_atom_e", (types, outputs))
    shift = shift - _vacuum(tree, nets, of_type, members, constant)
    factor, bias = _output_statistics(tree, stats, types, outputs)
    symmetric = kind == "polar" and not tree["fit_diag"]
    nets, of_type = adapted(nets, of_type, factor, np.zeros_like(shift) if kind in _ADDITIVE else shift, symmetric)
    silent = list(tree.get("exclude_types") or ())
    if kind in _ADDITIVE:
        bias = bias + np.where(np.isin(np.arange(types), silent)[:, None], 0.0, shift * factor)
    of_type[silent] = -1
    of_type[excluded] = -1
    bias[excluded] = 0.0
    intensive = bool(tree.get("intensive"))
    if intensive and excluded:
        raise parts.unsupported("atom_exclude_types of an intensive property")
    return Fitting(
        kind=kind,
        nets=nets,
        net=of_type,
        bias=bias,
        precision=parts.precision(tree["precision"], "fitting net"),
        constant=constant,
        fparam=fparam,
        aparam=aparam,
        intensive=intensive,
    )


def _inputs(tree: dict, members: list[Member]) -> tuple[np.ndarray, np.ndarray]:
    """Constant inputs [types, k], and where the native input has what a Fitting's has: integers [inputs]."""
    start = 0

    def taken(count: int) -> list[int]:
        nonlocal start
        if not 0 <= count < _WIDEST:
            raise ModelError(f"a fitting net cannot have {count} inputs of one kind: the file is damaged")
        start += count
        return list(range(start - count, start))

    features, constants = [], []
    for descriptor, constant in members:
        features += taken(descriptor.features)
        constants += taken(constant.shape[1])
    parameters = taken(int(tree.get("numb_fparam") or 0) + int(tree.get("numb_aparam") or 0))
    case = np.zeros(0)
    if tree.get("dim_case_embd"):
        case = parts.array(tree["@variables"]["case_embd"], "case_embd", (int(tree["dim_case_embd"]),))
    constants += taken(case.size)
    of_types = [member.constant for member in members]
    case = np.tile(case, (len(of_types[0]), 1))
    return np.concatenate([*of_types, case], axis=1), np.array(features + constants + parameters)


def _norm(tree: dict, name: str) -> np.ndarray:
    """[2, n] mean and inverse deviation of the parameters of frames or atoms."""
    count = int(tree.get(f"numb_{name}") or 0)
    if count == 0:
        return np.zeros((2, 0))
    mean, inverse = (tree["@variables"][f"{name}_{part}"] for part in ("avg", "inv_std"))
    return np.stack([parts.array(mean, f"{name}_avg", (count,)), parts.array(inverse, f"{name}_inv_std", (count,))])


def _vacuum(tree: dict, nets: tuple[Net, ...], of_type: np.ndarray, members: list[Member], constant) -> np.ndarray:
    """[types, outputs] that atom_ener subtracts: the nets without descriptor and type embedding."""
    given = list(tree.get("atom_ener") or ())
    result = np.zeros((len(of_type), nets[0].width))
    if all(energy is None for energy in given):
        return result
    if tree.get("numb_fparam") or tree.get("numb_aparam"):
        raise parts.unsupported("atom_ener beside fparam or aparam of the fitting net")
    inputs = np.zeros(nets[0].layers[0].weight.shape[0])
    case = sum(member.constant.shape[1] for member in members)
    inputs[len(inputs) - constant.shape[1] + case :] = constant[0, case:]
    for kind, number in enumerate(of_type):
        if tree.get("mixed_types") or kind >= len(given) or given[kind] is not None:
            result[kind] = values(nets[number], inputs[None])[0]
    return result


def _output_statistics(tree: dict, stats: dict, types: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """What a net's outputs are multiplied by [types, outputs], and what is added to the result [types, results]."""
    kind = tree["type"]
    factor = np.ones((types, outputs))
    if kind == "dipole":
        return factor, np.zeros((types, 3))
    if kind == "polar":
        scale = parts.array(tree["@variables"]["scale"], "scale", (types, 1))
        matrices = parts.array(stats["out_bias"], "out_bias", (types, 3, 3))
        mean = np.trace(matrices, axis1=1, axis2=2) / 3
        constant = tree["@variables"].get("constant_matrix")  # of a model that TensorFlow trained
        if constant is not None:
            mean = mean + parts.array(constant, "constant_matrix", (types,))
        diagonal = mean[:, None] * scale if tree.get("shift_diag") else np.zeros((types, 1))
        return factor * scale, diagonal * np.eye(3).ravel()
    bias = parts.array(stats["out_bias"], "out_bias", (types, outputs))
    if kind != "property":
        return factor, bias  # the model has an out_std too, which these do not use
    deviation = parts.array(stats["out_std"], "out_std", (types, outputs))
    if not tree.get("distinguish_types"):
        deviation, bias = (np.repeat(array[:1], types, axis=0) for array in (deviation, bias))
    return deviation, bias.copy()


def permuted(net: Net, order: np.ndarray) -> Net:
    """The same function of inputs that come in another order: input k was input order[k]."""
    layers = []
    for layer in net.layers:
        if len(order) != layer.weight.shape[0]:
            raise ModelError(f"a fitting net has {layer.weight.shape[0]} inputs, not {len(order)}: the file is damaged")
        width = layer.weight.shape[1]
        # A shortcut carries the new order on to the next layer.
        after = np.concatenate([order + copy * len(order) for copy in range(layer.residual)] or [np.arange(width)])
        bias, idt = (None if array is None else array[after] for array in (layer.bias, layer.idt))
        layers.append(replace(layer, weight=layer.weight[order][:, after], bias=bias, idt=idt))
        order = after
    return Net(tuple(layers))


def adapted(
    nets: tuple[Net, ...], of_type: np.ndarray, factor: np.ndarray, shift: np.ndarray, symmetric: bool = False
) -> tuple[tuple[Net, ...], np.ndarray]:
    """(net + shift) factor for each type [types, outputs], which the linear last layers take up; types share equal ones.

    symmetric: outputs are matrices, whose symmetric part is taken.
    """
    result: list[Net] = []
    known: dict[tuple, int] = {}
    number = np.empty(len(of_type), dtype=np.int64)
    for kind, index in enumerate(of_type):
        key = int(index), factor[kind].tobytes(), shift[kind].tobytes()
        if key not in known:
            known[key] = len(result)
            *hidden, last = nets[index].layers
            result.append(Net((*hidden, _scaled(last, factor[kind], shift[kind], symmetric))))
        number[kind] = known[key]
    return tuple(result), number


def _scaled(layer: Layer, factor: np.ndarray, shift: np.ndarray, symmetric: bool) -> Layer:
    bias = (shift if layer.bias is None else layer.bias + shift) * factor
    weight = layer.weight * factor
    if symmetric:
        width = int(np.sqrt(len(bias)))
        bias, weight = (_symmetric(array.reshape(-1, width, width)).reshape(array.shape) for array in (bias, weight))
    return replace(layer, weight=weight, bias=bias)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    return (matrices + matrices.swapaxes(1, 2)) / 2


def weighted(fitting: Fitting, weight: float) -> Fitting:
    """The fitting whose results are `weight` times those of `fitting`."""
    nets = []
    for net in fitting.nets:
        *hidden, last = net.layers
        bias = None if last.bias is None else last.bias * weight
        nets.append(Net((*hidden, replace(last, weight=last.weight * weight, bias=bias))))
    return replace(fitting, nets=tuple(nets), bias=fitting.bias * weight)
