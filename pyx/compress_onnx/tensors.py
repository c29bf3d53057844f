"""tensors - a term of a model as the tensors of its node, by the names of docs/format.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .bodies.builder import F64, I64
from .bodies.layers import parameter_names
from .bodies.repformer import ROUNDS
from .flat import flattened
from .model import ACTIVATIONS, Descriptor, Fitting, Model, ModelError, Net, PairTable, Term, TwoBody
from .nets import is_piecewise_linear

if TYPE_CHECKING:
    from .fold import TermFold
    from .tabulate import Table

GATES = ("none", "switch", "surrogate")

Tensors = dict[str, np.ndarray]


def prefixes(term: Term) -> list[str]:
    """What comes before the names of each descriptor's tensors."""
    return [""] if len(term.descriptors) == 1 else [f"d{number}." for number in range(len(term.descriptors))]


def term_tensors(
    term: Term, real: np.dtype, tables: Sequence[Sequence[Table]] | None = None, fold: TermFold | None = None
) -> Tensors:
    """In the order of the node's inputs. tables: those of each descriptor, or None for the nets themselves."""
    tensors = {}
    for number, (prefix, descriptor) in enumerate(zip(prefixes(term), term.descriptors, strict=True)):
        own = _descriptor(descriptor, real)
        own |= _tables(descriptor, tables[number], real) if tables else _nets("embed", descriptor.nets, real)
        if fold:
            own |= _folds(fold.members[number], real)
        tensors |= {prefix + name: tensor for name, tensor in own.items()}
    if fold:
        for centre, weight in enumerate(fold.weights):
            if weight is not None:
                tensors[f"fold.{centre}.weight"] = weight.astype(real)
    if term.repformer is not None:
        tensors |= flattened(ROUNDS, term.repformer, real)
    tensors |= _fitting(term.fitting, real)
    return tensors if term.pair is None else tensors | _pair(term.pair)


def atom_tensors(model: Model) -> Tensors:
    """What the nodes of a model do with its atoms before all else."""
    tensors = {} if model.spin is None else {"spin_scale": model.spin.astype(F64)}
    return tensors | ({"aparam_mask": np.array(1, I64)} if model.masked else {})


def _pair(pair: PairTable) -> Tensors:
    tensors = {
        "pair_range": np.array([pair.start, pair.cutoff, pair.step], F64),
        "pair_mix": np.array([pair.alpha, pair.inner, pair.outer], F64),
        "pair_sel": np.array(pair.sel, I64),
        "pair_total": np.array(pair.total, I64),
        "pair_table": pair.table.astype(F64),
        "pair_bias": pair.bias.astype(F64),
    }
    if pair.ignored is not None and pair.ignored.any():
        tensors["pair_ignored"] = pair.ignored.astype(I64)
    return tensors


def _descriptor(d: Descriptor, real: np.dtype) -> Tensors:
    """Everything but its channels."""
    tensors = {
        "switch": np.array([d.switch.smooth, d.switch.cutoff, d.switch.width, d.switch.protection], F64),
        "sel": np.array(d.sel, I64),
        "total": np.array(d.total, I64),
        "env_mean": d.mean.astype(F64),
        "env_std": d.std.astype(F64),
        "net": d.net.astype(I64),
    }
    if d.scale is not None:
        tensors |= {"scale": d.scale.astype(real), "base": d.base.astype(I64)}
    if d.gate != "none":
        tensors |= {"gate": np.array(GATES.index(d.gate), I64), "gate_net": d.gate_net.astype(I64)}
        tensors["gate_smooth"] = np.array(d.gate_smooth, F64)
    if d.ignored is not None and d.ignored.any():
        tensors["ignored"] = d.ignored.astype(I64)
    if not isinstance(d, TwoBody):
        return tensors | {"weight": d.weight.astype(F64), "masked": d.masked.astype(I64)}
    tensors |= {
        "count": np.array(d.count, F64),
        "axis": np.array(d.axis, I64),
        "pad_net": d.pad_net.astype(I64),
        "pad_env": d.pad_env.astype(F64),
    }
    if d.mask_net is not None and (d.mask_net >= 0).any():
        tensors["mask_net"] = d.mask_net.astype(I64)
    return tensors if d.attention is None else tensors | flattened("attention.", d.attention, real)


def _tables(descriptor: Descriptor, tables: Sequence[Table], real: np.dtype) -> Tensors:
    tensors = {
        "grid": np.array([[t.lower, t.step0, t.step1] for t in tables], F64),
        "rows": np.array([[t.rows0, t.rows1] for t in tables], I64),
        "table": np.concatenate([t.nodes for t in tables]).astype(real),
    }
    if any(map(is_piecewise_linear, descriptor.nets)):
        breaks = [getattr(table, "breaks", np.zeros(0)) for table in tables]
        tensors["breaks"] = np.concatenate(breaks).astype(F64)
        tensors["breaks_first"] = np.cumsum([0, *map(len, breaks)]).astype(I64)
    return tensors


def _folds(folds: Sequence, real: np.dtype) -> Tensors:
    """`fold_rank` and the parts of each fold of a descriptor; nothing where nothing is folded."""
    if not any(folds):
        return {}
    tensors = {"fold_rank": np.array([fold.rank if fold else 0 for fold in folds], I64)}
    for centre, fold in enumerate(folds):
        if fold:
            tensors[f"fold.{centre}.table"] = fold.table.astype(real)
            tensors[f"fold.{centre}.axis"] = fold.axis.astype(real)
    return tensors


def _fitting(fitting: Fitting, real: np.dtype) -> Tensors:
    tensors = {"fit_net": np.asarray(fitting.net).astype(I64), **_nets("fit", fitting.nets, real)}
    if fitting.constant.shape[1]:
        tensors["fit_constant"] = fitting.constant.astype(F64)
    for name in ("fparam", "aparam"):
        if getattr(fitting, name).shape[1]:
            tensors[f"{name}_norm"] = getattr(fitting, name).astype(F64)
    tensors["bias"] = fitting.bias.astype(F64)
    if fitting.kind == "property":
        tensors["intensive"] = np.array(fitting.intensive, I64)
    return tensors


def _nets(prefix: str, nets: tuple[Net, ...], real: np.dtype) -> Tensors:
    """Activation and shortcut of every layer as numbers, [nets, layers], and the weights."""
    if len({len(net.layers) for net in nets}) > 1:
        part = "embedding nets" if prefix == "embed" else "fitting nets"
        raise ModelError(f"The {part} have different numbers of layers, which the file format cannot hold; retrain.")
    tensors = {
        f"{prefix}_activation": np.array([[ACTIVATIONS.index(x.activation) for x in net.layers] for net in nets], I64),
        f"{prefix}_residual": np.array([[x.residual for x in net.layers] for net in nets], I64),
    }
    for number, net in enumerate(nets):
        tensors |= _weights(f"{prefix}.{number}.", net, real)
    return tensors


def _weights(prefix: str, net: Net, real: np.dtype) -> Tensors:
    tensors = {}
    for name in parameter_names(prefix, net.layers):
        number, part = name.removeprefix(prefix).split(".")
        layer = net.layers[int(number)]
        values = getattr(layer, part)
        if values is None:  # a layer without bias
            values = np.zeros(layer.weight.shape[1])
        tensors[name] = values.astype(real)
    return tensors
