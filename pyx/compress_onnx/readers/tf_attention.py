"""tf_attention - the attention layers of DPA-1 in a frozen graph."""

from __future__ import annotations

import re

from ..model import ATTENTION_SHIFT, Attention, AttentionLayer, Layer, ModelError, Normalisation
from . import parts
from .refusals import refused
from .tf_graph import Frozen

# what a descriptor with such layers has beside its other operations
OPERATIONS = "Mean Rsqrt Softmax Sqrt Square Sum"
_SHORTEST = 1e-6  # what the length of a vector counts as that is shorter
_QUERY = re.compile(r"(?P<scope>(?:.*/)?attention_layer_(?P<number>\d+)[^/]*)/c_query/matrix")


def read_attention(graph: Frozen, nodes: dict) -> Attention | None:
    """The attention layers among `nodes`, those between an environment matrix and its descriptor; None without any."""
    products = (node for node in nodes.values() if node.op == "MatMul")
    found = filter(None, (_QUERY.fullmatch(graph.behind(product.input[1]).name) for product in products))
    scopes = [match["scope"] for match in sorted(found, key=lambda match: int(match["number"]))]
    if not scopes:
        return None
    if len(options := {_options(graph, nodes, scope) for scope in scopes}) != 1:
        raise parts.unsupported("a descriptor whose attention layers differ")
    smooth, angular = options.pop()
    return Attention(
        layers=tuple(_layer(graph, nodes, scope) for scope in scopes),
        smooth=smooth,
        angular=angular,
        unit=True,
        shortest=_SHORTEST,
    )


def _options(graph: Frozen, nodes: dict, scope: str) -> tuple[bool, bool]:
    """smooth and angular; where these do not account for all that the weights are multiplied with it is an error."""
    own = _own(nodes, scope)
    shifts = [graph.constant(node.input[1]) for node in own if node.op in ("Add", "AddV2", "Sub")]
    smooth = [ATTENTION_SHIFT] * 2 == [float(shift) for shift in shifts if shift is not None and shift.ndim == 0]
    angular = any(node.op.startswith("BatchMatMul") and node.input[0] == node.input[1] for node in own)
    products = sum(node.op == "Mul" and "l2_normalize" not in node.name for node in own)
    if products != (4 if smooth else 2) + angular:
        raise refused("attn_mask")
    return smooth, angular


def _own(nodes: dict, scope: str) -> list:
    """The nodes of an attention layer outside its linear layers and normalisations."""
    return [node for node in nodes.values() if re.fullmatch(re.escape(scope) + r"/[^/]+", node.name)]


def _layer(graph: Frozen, nodes: dict, scope: str) -> AttentionLayer:
    query, key, value, out = (_linear(graph, f"{scope}/c_{name}") for name in ("query", "key", "value", "out"))
    names = (f"{scope}/layer_normalization/{name}" for name in ("gamma", "beta"))
    weight, bias = (parts.array(graph[name], name) for name in names)
    epsilon = graph.constant(f"{scope}/layer_normalization/add/y")
    if epsilon is None:
        raise ModelError(f"the normalisation in {scope} has no epsilon: the graph is damaged")
    (divisor,) = (float(graph.constant(node.input[1])) for node in _own(nodes, scope) if node.op == "RealDiv")
    return AttentionLayer(query, key, value, out, 1 / divisor, Normalisation(weight, bias, float(epsilon)))


def _linear(graph: Frozen, scope: str) -> Layer:
    return parts.layer(graph[f"{scope}/matrix"], graph[f"{scope}/bias"], None, "linear", 0, scope)
