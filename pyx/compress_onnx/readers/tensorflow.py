"""tensorflow - a frozen TensorFlow graph (.pb, .pbtxt) as a Model, without TensorFlow.

What the graph computes decides, not the training script inside it: activation functions, exclusions and
normalisation are read from the operations.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

import numpy as np

from ..model import Model, ModelError, Term
from . import graphdef, parts
from .fittings import weighted
from .refusals import refused
from .tf_descriptors import ENVIRONMENTS, MASKED, between, read_descriptor, with_placeholders
from .tf_fittings import OPERATIONS, SPIN_OPERATIONS, read_fitting
from .tf_graph import Frozen

# What tells a part that is refused by the beginning of an operation's name; the first that is found is named.
_FOREIGN = {
    "DescrptSeAEf": "se_a_ef",
    "Descrpt": "loc_frame",
    "DprcPairwiseIdx": "pairwise_dprc",
    "SoftMinSwitch": "pair_table",
    "PairTab": "pair_table",
}
# The statistics of an environment matrix are named by its place: sub-model of a linear one, member of a hybrid descriptor.
_PLACE = re.compile(r"(?:descrpt_attr(?P<model>_model\d+)?(?:_(?P<member>\d+))?/)?t_avg")


def read_graph(path: str, data: bytes) -> Model:
    return _read(path, data, graphdef.parse(data), "tensorflow .pb")


def read_text(path: str, data: bytes) -> Model:
    return _read(path, data, graphdef.parse(data, text=True), "tensorflow .pbtxt")


def _read(path: str, data: bytes, proto, file_format: str) -> Model:
    graph = Frozen(proto)
    _refuse_foreign(graph)
    kind = _kind(graph)
    types = int(graph.optional("descrpt_attr/ntypes", 0)) or int(graph["t_ntypes"])
    parts.check_types(types)
    spin = _virtual_scale(graph, types)
    terms = _terms(graph, kind, types, types if spin is None else len(spin))
    script = json.loads(graph.text("train_attr/training_script") or "null")
    names = graph.text("model_attr/tmap").split() or (script or {}).get("model", {}).get("type_map")
    distance = float(graph.optional("train_attr/min_nbor_dist", -1.0))
    return Model(
        # Graphs of 0.12, and those trained without a type map, tell types by number.
        type_map=tuple(names or (f"Type_{number}" for number in range(types))),
        terms=terms if spin is None else tuple(with_placeholders(term, 2 * len(spin)) for term in terms),
        source=parts.source(path, data, file_format),
        min_distance=distance if distance > 0 else None,
        training_script=script,
        spin=spin,
        masked=bool(graph.of_kind(MASKED)),
    )


def _virtual_scale(graph: Frozen, types: int) -> np.ndarray | None:
    """[nt] Å, how far from its atom a virtual one is for each unit of spin; the first types have spin, the last are virtual."""
    magnetic = int(graph.optional("spin_attr/ntypes_spin", 0))
    if magnetic == 0:
        return None
    lengths, norms = (
        parts.array(graph[f"spin_attr/{name}"], name, (magnetic,)) for name in ("virtual_len", "spin_norm")
    )
    return np.pad(lengths / norms, (0, types - 2 * magnetic))


def _refuse_foreign(graph: Frozen) -> None:
    """Refuse graphs whose operations or scopes say what they have that a Model has not."""
    if "modifier_attr/type" in graph:
        raise refused("modifier")
    operations = {node.op for node in graph.nodes.values()} - {MASKED}
    for beginning, part in _FOREIGN.items():
        if any(operation.startswith(beginning) for operation in operations):
            raise refused(part)


def _kind(graph: Frozen) -> str:
    """Of the model's results; the versions that a graph may have differ in names, not in what they compute."""
    version = graph.text("model_attr/model_version")
    if version not in ("", "1.0", "1.1"):
        raise parts.unsupported(f"graph version {version!r}", "update compress-onnx")
    old = "t_rcut" in graph and graph.of_kind("ProdEnvMatA")
    kind = graph.text("model_attr/model_type") or ("ener" if old else "")
    if not kind:
        raise ModelError("is not a Deep Potential: give a .pb, .pth, .dp or .yaml file of a trained model")
    if kind not in OPERATIONS:
        raise parts.unsupported(f"a model of type {kind!r}")
    return kind


def _terms(graph: Frozen, kind: str, types: int, fitted: int) -> tuple[Term, ...]:
    """fitted: how many types, the first ones, are of real atoms."""
    members = _members(graph)
    weights = [1.0] if list(members) == [""] else _weights(graph, len(members))
    terms, described = [], set()  # names of the nodes between environment matrices and descriptors
    for (suffix, environments), weight in zip(members.items(), weights, strict=True):
        embedding = graph.constant(f"t_typeebd{suffix}") if f"t_typeebd{suffix}" in graph.nodes else None
        descriptors = []
        for environment in environments:
            nodes = between(graph, environment)
            described.update(nodes)
            descriptors.append(read_descriptor(graph, environment, nodes, types, embedding))
        features = sum(descriptor.features for descriptor in descriptors)
        fitting = read_fitting(graph, kind, suffix, embedding, fitted, features)
        terms.append(Term(descriptors=tuple(descriptors), fitting=weighted(fitting, float(weight))))
    rest = {node.op for name, node in graph.nodes.items() if name not in described}
    known = OPERATIONS[kind] + (SPIN_OPERATIONS if fitted < types else "")
    if unknown := sorted(rest.difference(known.split())):
        raise parts.unsupported(f"a graph with operations that a model of type {kind} lacks ({', '.join(unknown)})")
    return tuple(terms)


def _members(graph: Frozen) -> dict[str, list]:
    """The environment matrices of each sub-model, by the suffix of its names; "" where there is but one model."""
    found = defaultdict(dict)
    if masked := graph.of_kind(MASKED):
        return {"": masked}
    for environment in graph.of_kind(*ENVIRONMENTS):
        place = _PLACE.fullmatch(graph.behind(environment.input[5], {"Identity", "Reshape"}).name)
        if place is None:
            raise parts.unsupported(f"a descriptor whose statistics are called {environment.input[5]}")
        found[place["model"] or ""][int(place["member"] or 0)] = environment
    if not found:
        raise ModelError("the graph has no environment matrix: it was not frozen by 'dp freeze'")
    suffixes = sorted(found, key=lambda suffix: int(suffix.removeprefix("_model") or 0))
    return {suffix: [found[suffix][number] for number in sorted(found[suffix])] for suffix in suffixes}


def _weights(graph: Frozen, count: int) -> np.ndarray:
    """What the energies of a linear model's sub-models are multiplied with before they are added up."""
    product = graph.behind("o_energy", {"Identity", "Sum"})
    sources = [graph.behind(name, {"Identity", "StridedSlice"}) for name in product.input]
    (weights,) = (graphdef.tensor(node) for node in sources if node.op == "Const")
    return parts.array(weights, "weights of the linear model", (count,))
