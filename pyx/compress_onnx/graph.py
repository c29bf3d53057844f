"""graph - a Model and its tables as an ONNX model: tensors, the outer nodes, their functions and metadata.

Names, shapes and order are those of docs/format.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import FunctionProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from . import __version__, openmm
from .bodies.builder import DOMAIN, DOMAIN_VERSION, F32, F64, I32, I64, OPSET, Body
from .bodies.ensemble import DEVIATION, EACH, ensemble
from .bodies.neighbours import neighbor_list
from .bodies.repformer import Rounds
from .bodies.term import RANGE, Functions, Member, term_body
from .bodies.virtual import spin_reach
from .model import Model, ModelError, Source, Term
from .tensors import Tensors, atom_tensors, prefixes, term_tensors

if TYPE_CHECKING:
    from .fold import TermFold
    from .tabulate import Table

FORMAT = "1"
PREFIX = "compress_onnx."
INTERFACES = ("cell", "pairs", "openmm")
PRECISIONS = ("float64", "float32", "mixed")
IR_VERSION = 9
IR_VERSION_OVERLOADS = 10  # terms of different architecture are overloads of one function

_ATOMS = ("coord", "atype", "cell")
_PAIRS = ("pair_first", "pair_index", "pair_shift")
_OPTIONAL = ("fparam", "aparam")


def compressed(
    model: Model,
    tables: Sequence[Table],
    *,
    precision: str,
    interface: str = "cell",
    metadata: Mapping[str, str] = {},
    folds: Sequence[TermFold | None] = (),
) -> ModelProto:
    """The compressed model; tables follow the nets of model.descriptors. Keys of `metadata` come without prefix.

    folds: of each term, what our kernels take for atoms whose inputs lie in first sub-tables; bodies do without.
    """
    expected = sum(len(descriptor.nets) for descriptor in model.descriptors)
    if len(tables) != expected:
        raise ValueError(f"{len(tables)} tables for {expected} embedding nets")
    real, remaining, given = _real(precision), iter(tables), []
    for term, fold in zip(model.terms, folds or [None] * len(model.terms), strict=True):
        own = [[next(remaining) for _ in descriptor.nets] for descriptor in term.descriptors]
        given.append(term_tensors(term, real, own, fold) | atom_tensors(model))
    return _model(model, given, precision, interface, {"kind": "compressed", **metadata})


def uncompressed(model: Model, *, interface: str = "cell", metadata: Mapping[str, str] = {}) -> ModelProto:
    """The same graph with the embedding nets themselves, in the model's own precision."""
    given = [term_tensors(term, _real(model.precision)) | atom_tensors(model) for term in model.terms]
    return _model(model, given, model.precision, interface, {"kind": "uncompressed", **metadata})


def _model(
    model: Model, given: list[Tensors], precision: str, interface: str, metadata: Mapping[str, str]
) -> ModelProto:
    """given: the tensors of each term."""
    if interface not in INTERFACES:
        raise ValueError(f"interface must be one of {INTERFACES}, got {interface!r}")
    if interface == "pairs" and any(term.repformer is not None for term in model.terms):
        raise ModelError("DPA-2 exchanges messages between atoms, which interface pairs has no way for; use cell.")
    if interface == "openmm" and model.kind != "ener":
        raise ModelError(f"OnnxForce takes an energy, which a model of kind {model.kind} does not give; use cell.")
    if interface == "openmm" and model.spin is not None:
        raise ModelError("OnnxForce moves positions alone, and this model has spins beside; use cell.")
    tables = metadata["kind"] == "compressed"
    bodies = _bodies(model, given, _real(precision), tables)
    functions, nodes = _Functions(), []
    initializers: Tensors = {"no_spin": np.zeros((0, 3))} if model.spin is None else {}
    if model.masked:
        initializers["no_cell"] = np.zeros((3, 3))
    coord, atype, cell = _ATOMS if not model.masked else (*_ATOMS[:2], "no_cell")
    reach = "cutoff"
    if interface != "pairs":
        initializers["cutoff"] = np.array(model.cutoff, F64)
        if model.spin is not None:
            reach = "reach"
            functions.add(spin_reach())
            nodes.append(_node("SpinReach", [atype, "spin", "spin_scale", "cutoff"], [reach]))
        functions.add(neighbor_list())
        nodes.append(_node("NeighborList", [coord, cell, reach], list(_PAIRS)))
    for number, (term, tensors, body) in enumerate(zip(model.terms, given, bodies, strict=True)):
        prefix = f"{number}/" if number else ""
        optional = [_optional(model, term, name, initializers) for name in _OPTIONAL]
        initializers |= {prefix + name: tensor for name, tensor in tensors.items()}
        spin = "no_spin" if model.spin is None else "spin"
        operands = [coord, atype, cell, *_PAIRS, *optional, spin, *(prefix + name for name in tensors)]
        results = [_result(name, number, len(given)) for name in body.outputs]
        node = _node(body.name, operands, results, layout=_layout(model, number, precision, tensors))
        node.name, node.overload = prefix + body.name, functions.add(body)
        nodes.append(node)
    results = [name for name in bodies[0].outputs if name != "force_mag" or model.spin is not None]
    if len(given) > 1:
        nodes += _joined(model, results)
    if model.models > 1:
        body = ensemble(model.models, [name for name in results if name not in RANGE])
        functions.add(body)
        nodes.append(_node(body.name, list(body.inputs), list(body.outputs)))
        results += [*EACH, DEVIATION]
    rows = sum(len(d.nets) for d in model.descriptors) if tables else 0
    graph = helper.make_graph(
        nodes,
        "compress_onnx",
        _inputs(model, interface),
        _outputs(model, interface, results, rows),
        [numpy_helper.from_array(np.asarray(tensor, order="C"), name) for name, tensor in initializers.items()],
        doc_string="Deep Potential. Inputs and outputs in angstrom and eV.",
    )
    if interface == "openmm":
        openmm.adapt(graph)
    proto = helper.make_model(
        graph,
        functions=functions.protos,
        ir_version=IR_VERSION_OVERLOADS if functions.overloads else IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        producer_name="compress-onnx",
    )
    facts = {**_facts(model, precision, interface), **metadata}
    helper.set_model_props(proto, {PREFIX + key: value for key, value in facts.items()})
    return proto


def _bodies(model: Model, given: list[Tensors], real: np.dtype, tables: bool) -> list[Body]:
    """The outer function of each term."""
    functions, bodies = Functions(), []
    for term, tensors in zip(model.terms, given, strict=True):
        reach = max(part.cutoff for part in (*term.descriptors, term.pair) if part is not None)
        members = [
            Member(descriptor, prefix, functions, real, tables=tables, reach=reach)
            for prefix, descriptor in zip(prefixes(term), term.descriptors, strict=True)
        ]
        rounds = term.repformer and Rounds(term.repformer, functions, real, reach=reach)
        kinds = {key: (tensor.dtype, tensor.shape) for key, tensor in tensors.items()}
        bodies.append(term_body(_name(term, tables), term, members, rounds, functions, kinds))
    return bodies


def _name(term: Term, tables: bool) -> str:
    """Of the outer function; there are kernels of the first two alone."""
    kind = "EnergyForce" if term.fitting.kind == "ener" else "AtomicTensor"
    return kind + ("Net" if not tables else "Attention" if term.attentive else "")


class _Functions:
    """The functions of the file; terms whose outer functions differ have overloads of it."""

    def __init__(self):
        self.protos: list[FunctionProto] = []
        self.overloads = 0

    def add(self, body: Body) -> str:
        """Make sure that `body` and what it calls are there; the overload that `body` is, "" for the first."""
        names = {proto.name for proto in self.protos}
        *callees, outer = body.functions()
        self.protos += [callee.proto() for callee in callees if callee.name not in names]
        proto = outer.proto()
        for other in self.protos:
            proto.overload = other.overload
            if proto == other:
                return proto.overload
        proto.overload = ""
        if outer.name in names:
            self.overloads += 1
            proto.overload = str(self.overloads)
        self.protos.append(proto)
        return proto.overload


def _optional(model: Model, term: Term, name: str, initializers: Tensors) -> str:
    """The graph's input `name` where the term has such numbers, else an initialiser without any."""
    if getattr(term.fitting, name).shape[1] or (model.masked and name == "aparam"):
        return name
    initializers[f"no_{name}"] = np.zeros(0 if name == "fparam" else (0, 0))
    return f"no_{name}"


def _layout(model: Model, number: int, precision: str, tensors: Tensors) -> str:
    term, terms = model.terms[number], len(model.terms) // model.models
    kinds = {"descriptor": [descriptor.kind for descriptor in term.descriptors], "fitting": term.fitting.kind}
    of_ensemble = {"model": number // terms} if model.models > 1 else {}
    return json.dumps({**kinds, "precision": precision, **of_ensemble, "parameters": list(tensors)})


def _result(name: str, number: int, terms: int) -> str:
    return name if terms == 1 else f"{number}/{name}"


def _joined(model: Model, names: Sequence[str]) -> list[NodeProto]:
    """What several terms make together: NAME, or of the models of an ensemble NAME.0, NAME.1, ..."""
    parts = {name: [_result(name, k, len(model.terms)) for k in range(len(model.terms))] for name in names}
    nodes = [helper.make_node("Concat", parts.pop(name), [name], name=name, axis=0) for name in RANGE]
    for name, terms in parts.items():
        for k, own in enumerate(np.reshape(terms, (model.models, -1)).tolist()):
            total = name if model.models == 1 else f"{name}.{k}"
            nodes.append(helper.make_node("Sum", own, [total], name=total))
    return nodes


def _real(precision: str) -> np.dtype:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
    return F64 if precision == "float64" else F32


def _node(name: str, inputs: list[str], outputs: list[str], **attributes: str) -> NodeProto:
    return helper.make_node(name, inputs, outputs, name=name, domain=DOMAIN, **attributes)


def _inputs(model: Model, interface: str) -> list[ValueInfoProto]:
    atoms, local = ("nall", "nloc") if interface == "pairs" else ("natoms", "natoms")
    shapes = {"coord": (F64, [atoms, 3]), "atype": (I32, [atoms]), "cell": (F64, [3, 3])}
    if interface == "pairs":
        shapes |= {"pair_first": (I64, ["nloc_plus_1"]), "pair_index": (I32, ["npairs"])}
        shapes |= {"pair_shift": (I32, ["npairs", 3])}
    for name, before in (("fparam", []), ("aparam", [local])):
        count = max(getattr(term.fitting, name).shape[1] for term in model.terms)
        if model.masked and name == "aparam":
            count = 1
        if count:
            shapes[name] = F64, [*before, count]
    if model.spin is not None:
        shapes["spin"] = F64, [atoms, 3]
    return _described(shapes)


def _outputs(model: Model, interface: str, names: list[str], tables: int) -> list[ValueInfoProto]:
    local, every = ("nloc", "nall") if interface == "pairs" else ("natoms", "natoms")
    shapes = {"force": [every, 3], "virial": [3, 3], "atom_virial": [every, 3, 3], "force_mag": [every, 3]}
    shapes |= {"energy": [1], "atom_energy": [local]}
    if model.kind != "ener":
        numbers = model.terms[0].fitting.outputs
        differentiated = numbers if model.kind in ("dipole", "polar") else 0
        shapes = {name: [differentiated, *shape] for name, shape in shapes.items()}
        shapes |= {"tensor": [numbers], "atom_tensor": [local, numbers]}
    shapes |= {"range": [tables, 4], "range_worst": [tables, 3], DEVIATION: [every]}
    shapes |= {"energies": [model.models], "forces": [model.models, every, 3], "virials": [model.models, 3, 3]}
    return _described({name: (RANGE.get(name, F64), shapes[name]) for name in names})


def _described(shapes: dict[str, tuple[np.dtype, list[int | str]]]) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
        for name, (dtype, shape) in shapes.items()
    ]


def _facts(model: Model, precision: str, interface: str) -> dict[str, str]:
    terms = model.terms[: len(model.terms) // model.models]
    sources = [_source(source) for source in model.ensemble or (model.source,)]
    return {
        "format": FORMAT,
        "version": __version__,
        "interface": interface,
        "type_map": json.dumps(list(model.type_map)),
        "cutoff": repr(float(model.cutoff)),
        "units": json.dumps(openmm.UNITS if interface == "openmm" else {"length": "angstrom", "energy": "eV"}),
        "descriptor": ", ".join(" + ".join(d.kind for d in term.descriptors) for term in terms),
        "fitting": model.kind,
        "precision": precision,
        **({} if model.spin is None else {"spin_scale": json.dumps(model.spin.tolist())}),
        **({"models": str(model.models)} if model.models > 1 else {}),
        "min_distance": "" if model.min_distance is None else repr(float(model.min_distance)),
        "source": json.dumps(sources if model.models > 1 else sources[0]),
    }


def _source(source: Source) -> dict[str, str]:
    head = {"head": source.head} if source.head else {}
    return {"format": source.format, "sha256": source.sha256, "version": source.version, **head}
