"""tf_tables - the tables in a frozen graph that dp compress has made, and which pairs of types each of them serves."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ..model import ModelError, TabulatedNet
from . import tables
from .tf_graph import Frozen

OPERATIONS = ("TabulateFusionSeA", "TabulateFusionSeR", "TabulateFusionSeT", "TabulateFusionSeAtten")
_SCOPE = re.compile(r".*(?:filter|DS_layer)_type_(?P<centre>all|\d+)[^/]*/.*")


class Source(NamedTuple):
    """Where the graph has what embeds neighbours: the variables of a net, or a table."""

    scope: str  # of a net's variables, or a table's operation
    centre: str  # type of the centre, or all
    tail: str  # _NEIGHBOUR, _NEIGHBOUR_NEIGHBOUR, or nothing if types share it; net's variables end with it
    constant: str  # the net's first weight, or the table


def sources(graph: Frozen, nodes: dict, sel: tuple[int, ...], components: int) -> list[Source]:
    """The tables that the operations among `nodes` evaluate. `components`: numbers of the environment of a slot."""
    return [_source(graph, node, sel, components) for node in nodes.values() if node.op in OPERATIONS]


def _source(graph: Frozen, node, sel: tuple[int, ...], components: int) -> Source:
    scope = _SCOPE.fullmatch(node.name)
    if scope is None:
        raise ModelError(f"the table of {node.name} is in no scope of a descriptor: the graph is damaged")
    operands = [node.input[2]]
    if node.op == "TabulateFusionSeT":
        operands = graph.behind(node.input[3], {"Identity", "Reshape"}).input
    elif node.op == "TabulateFusionSeAtten":
        operands = []
    sections = [_section(graph, name, sel, components) for name in operands]
    tail = "".join(f"_{section}" for section in sections)
    return Source(node.name, scope["centre"], tail, graph.behind(node.input[0]).name)


def _section(graph: Frozen, name: str, sel: tuple[int, ...], components: int) -> int:
    """The type of the neighbours whose columns of the environment matrix `name` is made of."""
    first = np.cumsum([0, *sel[:-1]])
    while (node := graph.behind(name, {"Identity", "Reshape"})).op == "Slice":
        begin, size = (graph.constant(source) for source in node.input[1:])
        if begin is not None and size is not None and len(begin) == 2:
            for kind, slots in enumerate(sel):
                if slots and (begin[1], size[1]) == (components * first[kind], components * slots):
                    return kind
        name = node.input[0]
    raise ModelError(f"a table serves the neighbours of no type ({node.name}): the graph is damaged")


def is_table(graph: Frozen, source: Source) -> bool:
    return source.scope in graph.nodes and graph.nodes[source.scope].op in OPERATIONS


def tabulated(graph: Frozen, source: Source) -> TabulatedNet:
    node = graph.nodes[source.scope]
    data, ranges = (graph[graph.behind(name).name] for name in node.input[:2])
    return tables.tabulated(data, ranges, node.op == "TabulateFusionSeT", f"the table of {node.name}")
