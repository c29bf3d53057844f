"""graph - a Model and its tables as an ONNX model: tensors, the two outer nodes, their functions and metadata.

Names, shapes and order are those of docs/format.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from . import __version__
from .bodies import energy
from .bodies.builder import DOMAIN, DOMAIN_VERSION, F32, F64, I64, OPSET
from .bodies.energy import EnergyForce, Nets, Tables
from .bodies.layers import parameter_names
from .bodies.neighbours import neighbor_list
from .model import ACTIVATIONS, Model, ModelError, Net

if TYPE_CHECKING:
    from .fold import Fold
    from .tabulate import Table

FORMAT = "1"
PREFIX = "compress_onnx."
INTERFACES = ("cell", "pairs")
PRECISIONS = ("float64", "float32", "mixed")
IR_VERSION = 9

_ATOMS = ("coord", "atype", "cell")
_PAIRS = ("pair_first", "pair_index", "pair_shift")


def compressed(
    model: Model,
    tables: Sequence[Table],
    *,
    precision: str,
    interface: str = "cell",
    metadata: Mapping[str, str] = {},
    folds: Sequence[Fold | None] = (),
) -> ModelProto:
    """The compressed model; tables[k] stands for model.descriptor.nets[k]. Keys of `metadata` come without prefix.

    folds: by centre type, what our kernels take for atoms whose inputs lie in first sub-tables; bodies do without.
    """
    if len(tables) != len(model.descriptor.nets):
        raise ValueError(f"{len(tables)} tables for {len(model.descriptor.nets)} embedding nets")
    real = _real(precision)
    tensors = {
        "grid": np.array([[t.lower, t.step0, t.step1] for t in tables], F64),
        "rows": np.array([[t.rows0, t.rows1] for t in tables], I64),
        "table": np.concatenate([t.nodes for t in tables]).astype(real),
    }
    tensors |= _folds(folds, real)
    metadata = {"kind": "compressed", **metadata}
    channels = Tables(real, [name for name in tensors if name.startswith("fold")])
    return _model(model, "EnergyForce", channels, tensors, precision, interface, metadata)


def uncompressed(model: Model, *, interface: str = "cell", metadata: Mapping[str, str] = {}) -> ModelProto:
    """The same graph with the embedding nets themselves, in the model's own precision."""
    nets = model.descriptor.nets
    real = _real(model.precision)
    tensors = _codes("embed", nets)
    for k, net in enumerate(nets):
        tensors |= _weights(f"embed.{k}.", net, real)
    metadata = {"kind": "uncompressed", **metadata}
    return _model(model, "EnergyForceNet", Nets(nets, real), tensors, model.precision, interface, metadata)


def _model(
    model: Model,
    node: str,
    channels: Tables | Nets,
    tensors: dict[str, np.ndarray],
    precision: str,
    interface: str,
    metadata: Mapping[str, str],
) -> ModelProto:
    if interface not in INTERFACES:
        raise ValueError(f"interface must be one of {INTERFACES}, got {interface!r}")
    outer = EnergyForce(node, channels, model.fitting.nets)
    tensors = tensors | _common_tensors(model, outer.real)
    order = list(outer.parameters)
    kinds = {"descriptor": model.descriptor.kind, "fitting": model.fitting.kind}
    layout = {**kinds, "precision": precision, "parameters": order}
    no_input = {"no_fparam": np.zeros(0), "no_aparam": np.zeros((0, 0)), "no_spin": np.zeros((0, 3))}
    initializers = {**no_input, **{name: tensors[name] for name in order}}
    functions = outer.functions()
    nodes = []
    if interface == "cell":
        initializers = {"cutoff": np.array(model.descriptor.switch.cutoff), **initializers}
        functions.insert(0, neighbor_list())
        nodes.append(_node("NeighborList", ["coord", "cell", "cutoff"], list(_PAIRS)))
    operands = [*_ATOMS, *_PAIRS, *no_input, *order]
    nodes.append(_node(node, operands, list(energy.OUTPUTS), layout=json.dumps(layout)))
    graph = helper.make_graph(
        nodes,
        "compress_onnx",
        _inputs(interface),
        _outputs(interface, len(tensors.get("rows", ()))),
        [numpy_helper.from_array(np.asarray(tensor, order="C"), name) for name, tensor in initializers.items()],
        doc_string="Deep Potential: energy, forces and virial. Inputs and outputs in angstrom and eV.",
    )
    proto = helper.make_model(
        graph,
        functions=functions,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        producer_name="compress-onnx",
    )
    facts = {**_facts(model, precision, interface), **metadata}
    helper.set_model_props(proto, {PREFIX + key: value for key, value in facts.items()})
    return proto


def _folds(folds: Sequence[Fold | None], real: np.dtype) -> dict[str, np.ndarray]:
    """`fold_rank` and the parts of each fold; nothing where nothing is folded."""
    if not any(folds):
        return {}
    tensors = {"fold_rank": np.array([fold.rank if fold else 0 for fold in folds], I64)}
    for centre, fold in enumerate(folds):
        if fold:
            parts = {"table": fold.table, "axis": fold.axis, "weight": fold.weight}
            tensors |= {f"fold.{centre}.{name}": part.astype(real) for name, part in parts.items()}
    return tensors


def _real(precision: str) -> np.dtype:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    return F64 if precision == "float64" else F32


def _node(name: str, inputs: list[str], outputs: list[str], **attributes: str) -> NodeProto:
    return helper.make_node(name, inputs, outputs, name=name, domain=DOMAIN, **attributes)


def _inputs(interface: str) -> list[ValueInfoProto]:
    atoms = "natoms" if interface == "cell" else "nall"
    shapes = {"coord": [atoms, 3], "atype": [atoms], "cell": [3, 3]}
    if interface == "pairs":
        shapes |= {"pair_first": ["nloc_plus_1"], "pair_index": ["npairs"], "pair_shift": ["npairs", 3]}
    return _described(shapes, energy.INPUTS)


def _outputs(interface: str, tables: int) -> list[ValueInfoProto]:
    local, every = ("natoms", "natoms") if interface == "cell" else ("nloc", "nall")
    shapes = {
        "energy": [1],
        "force": [every, 3],
        "virial": [3, 3],
        "atom_energy": [local],
        "atom_virial": [every, 3, 3],
        "range": [tables, 4],
        "range_worst": [tables, 3],
    }
    return _described(shapes, energy.OUTPUTS)


def _described(shapes: dict[str, list[int | str]], dtypes: dict[str, np.dtype]) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtypes[name]), shape)
        for name, shape in shapes.items()
    ]


def _common_tensors(model: Model, real: np.dtype) -> dict[str, np.ndarray]:
    """Everything but the channels: the descriptor's numbers and the fitting nets."""
    d, fitting = model.descriptor, model.fitting
    tensors = {
        "switch": np.array([d.switch.smooth, d.switch.cutoff, d.switch.width, d.switch.protection], F64),
        "sel": np.array(d.sel, I64),
        "total_first": np.array(d.total_first, I64),
        "count": np.array(d.count, F64),
        "env_mean": d.mean.astype(F64),
        "env_std": d.std.astype(F64),
        "net": d.net.astype(I64),
        "pad_net": d.pad_net.astype(I64),
        "axis": np.array(d.axis, I64),
        "energy_bias": fitting.bias.astype(F64),
        **_codes("fit", fitting.nets),
    }
    for kind, net in enumerate(fitting.nets):
        tensors |= _weights(f"fit.{kind}.", net, real)
    return tensors


def _codes(prefix: str, nets: tuple[Net, ...]) -> dict[str, np.ndarray]:
    """Activation and shortcut of every layer as numbers, [nets, layers]."""
    if len({len(net.layers) for net in nets}) > 1:
        part = "embedding nets" if prefix == "embed" else "fitting nets"
        raise ModelError(f"The {part} have different numbers of layers, which the file format cannot hold; retrain.")
    return {
        f"{prefix}_activation": np.array([[ACTIVATIONS.index(x.activation) for x in net.layers] for net in nets], I64),
        f"{prefix}_residual": np.array([[x.residual for x in net.layers] for net in nets], I64),
    }


def _weights(prefix: str, net: Net, real: np.dtype) -> dict[str, np.ndarray]:
    tensors = {}
    for name in parameter_names(prefix, net.layers):
        number, part = name.removeprefix(prefix).split(".")
        layer = net.layers[int(number)]
        values = getattr(layer, part)
        if values is None:  # a layer without bias
            values = np.zeros(layer.weight.shape[1])
        tensors[name] = values.astype(real)
    return tensors


def _facts(model: Model, precision: str, interface: str) -> dict[str, str]:
    source = {"format": model.source.format, "sha256": model.source.sha256, "version": model.source.version}
    return {
        "format": FORMAT,
        "version": __version__,
        "interface": interface,
        "type_map": json.dumps(list(model.type_map)),
        "cutoff": repr(float(model.descriptor.switch.cutoff)),
        "units": json.dumps({"length": "angstrom", "energy": "eV"}),
        "descriptor": model.descriptor.kind,
        "fitting": model.fitting.kind,
        "precision": precision,
        "min_distance": "" if model.min_distance is None else repr(float(model.min_distance)),
        "source": json.dumps(source),
    }
