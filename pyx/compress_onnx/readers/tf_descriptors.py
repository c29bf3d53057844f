"""tf_descriptors - the descriptors of a frozen graph, each found by following the data from its environment matrix."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from ..model import Descriptor, ModelError, Net, Switch, TabulatedNet, Term, ThreeBody, TwoBody
from . import graphdef, parts, tf_attention, tf_tables
from .tf_graph import Frozen
from .tf_tables import Source

MASKED = "DescrptSeAMask"  # the environment of all atoms, which has no cutoff
# The operations between an environment matrix and its descriptor, in the spellings of several TensorFlow versions.
_COMMON = f"""{" ".join(tf_tables.OPERATIONS)}
Add AddN AddV2 BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Cast ConcatV2 GeluCustom Identity Less MatMul Mul Pack
Pow RealDiv Relu Relu6 Reshape Select SelectV2 Sigmoid Slice Softplus StridedSlice Sub Tanh Tile Transpose
"""
_KINDS = {
    "se_e2_a": _COMMON + "ProdEnvMatA",
    "se_a_mask": _COMMON + MASKED,
    "se_e2_r": _COMMON + "Fill Mean ProdEnvMatR",
    "se_e3": _COMMON + "Einsum ProdEnvMatA",
    "se_a_ebd_v2": _COMMON + "GatherV2 ProdEnvMatA",
    "se_atten": f"{_COMMON} GatherV2 Maximum Minimum Neg ProdEnvMatAMix {tf_attention.OPERATIONS}",
}
_VIRTUAL = " GatherV2 Maximum"  # with spin also: how far neighbours are from their virtual atoms
# the attributes of an environment matrix: slots, cutoff, where the switching begins
_ATTRIBUTES = {
    "ProdEnvMatA": ("sel_a", "rcut_r", "rcut_r_smth"),
    "ProdEnvMatAMix": ("sel_a", "rcut_r", "rcut_r_smth"),
    "ProdEnvMatR": ("sel", "rcut", "rcut_smth"),
}
ENVIRONMENTS = tuple(_ATTRIBUTES)
_UNSWITCHED = Switch(1e6, 2e6, 1e6)  # beyond any distance
_NO_DATA = ("ProdForce", "ProdVirial", "Shape")  # operations that take derivatives or no values on
_END = re.compile(r"o_descriptor|o_rot_mat|(?:final_layer|layer_\d+|share_\w+)[^/]*/")
_FIRST_WEIGHT = re.compile(r"(?P<scope>.*(?:filter|DS_layer)_type_(?P<centre>all|\d+)[^/]*)/matrix_1(?P<tail>[_\d]*)")


@dataclass
class _Member:
    """One descriptor of the graph, and what all kinds need of it."""

    graph: Frozen
    environment: object  # the node
    nodes: dict  # all between the environment matrix and the descriptor, by name
    types: int
    embedding: np.ndarray | None  # [types or types + 1, k] of the types; the last row stands for empty slots
    nets: list[Net | TabulatedNet] = field(default_factory=list)

    def check(self, kind: str) -> None:
        known = _KINDS[kind] + (_VIRTUAL if "spin_attr/ntypes_spin" in self.graph else "")
        unknown = sorted({node.op for node in self.nodes.values()}.difference(known.split()))
        if unknown:
            raise parts.unsupported(f"descriptor {kind} with operations that it usually lacks ({', '.join(unknown)})")

    @cached_property
    def sources(self) -> list[Source]:
        """All embedding nets, or tables, that the environment goes through."""
        if self.environment.op in _ATTRIBUTES:
            found = tf_tables.sources(self.graph, self.nodes, self.sel, self._components)
            if found:
                return found
        products = (node for node in self.nodes.values() if node.op == "MatMul")
        names = {self.graph.behind(product.input[1]).name for product in products}
        matches = filter(None, map(_FIRST_WEIGHT.fullmatch, sorted(names)))
        return [Source(match["scope"], match["centre"], match["tail"], match[0]) for match in matches]

    @property
    def _components(self) -> int:
        return 1 if self.environment.op == "ProdEnvMatR" else 4

    @cached_property
    def sel(self) -> tuple[int, ...]:
        return tuple(self._attribute(0).list.i)

    def _attribute(self, number: int):
        return graphdef.attribute(self.environment, _ATTRIBUTES[self.environment.op][number])

    @cached_property
    def switch(self) -> Switch:
        cutoff, smooth = (np.float32(self._attribute(number).f) for number in (1, 2))
        # The operation takes the difference of its float32 attributes in float32.
        return Switch(float(smooth), float(cutoff), float(cutoff - smooth))

    def _statistics(self, number: int, filling: float) -> np.ndarray:
        """[types, 4]; se_e2_r has the first component only."""
        name = self.graph.behind(self.environment.input[number], {"Identity", "Reshape"}).name
        values = parts.per_type(self.graph[name], self.types, sum(self.sel), name, self._components)
        return np.pad(values, ((0, 0), (0, 4 - self._components)), constant_values=filling)

    @cached_property
    def common(self) -> dict:
        """The fields of every Descriptor but its kind and what its nets say."""
        return {
            "switch": self.switch,
            "sel": self.sel,
            "total": 0,
            "mean": self._statistics(5, 0.0),
            "std": self._statistics(6, 1.0),
        }

    @cached_property
    def empty(self) -> np.ndarray:
        """[types, 4], the normalised environment of an empty slot."""
        return -self.common["mean"] / self.common["std"]

    @property
    def pad_env(self) -> np.ndarray:
        return np.repeat(self.empty[:, None], len(self.sel), axis=1)

    @cached_property
    def precision(self) -> str:
        precisions = {self.graph[source.constant].dtype.name for source in self.sources}
        if len(precisions) != 1:
            raise ModelError("the embedding nets are missing or differ in precision: the graph is damaged")
        return parts.precision(precisions.pop(), "descriptor")

    @cached_property
    def excluded(self) -> np.ndarray:
        """bool [types, types] of (centre, neighbour): pairs whose rows the graph multiplies with or replaces by zero."""
        for node in self.nodes.values():
            if node.op in ("Mul", "Select", "SelectV2"):
                for source in map(self.graph.behind, node.input, [{"Identity", "Cast", "Reshape"}] * 3):
                    mask = self._mask(source)
                    if mask is not None:
                        return mask == 0
        return np.zeros((self.types, self.types), bool)

    def _mask(self, lookup) -> np.ndarray | None:
        """The table of ones and zeros that a node looks pairs up in."""
        if lookup.op != "GatherV2":
            return None
        table = self.graph.behind(lookup.input[0], {"Identity", "Reshape"})
        if table.op != "Const" or (mask := graphdef.tensor(table)).ndim != 2 or mask.shape[0] != self.types:
            return None
        # A second column more is that of empty slots.
        return mask[:, : self.types] if np.isin(mask, (0, 1)).all() else None

    def contraction(self) -> tuple[float, int]:
        """N that the product of environment and embedding is divided by, and the number of axis neurons."""
        found = {self._first_columns(node) for node in self.nodes.values() if node.op == "Slice"} - {None}
        if len(found) != 1:
            raise parts.unsupported(f"a descriptor that is contracted in {len(found)} ways")
        return found.pop()

    def _first_columns(self, node) -> tuple[float, int] | None:
        """The same from the node that takes the columns of the axis neurons out of the product divided by N."""
        constants = [self.graph.constant(name) for name in node.input[1:]]
        begin, size = ([] if value is None else value.tolist() for value in constants)
        product = self.graph.behind(node.input[0])
        if begin != [0, 0, 0] or size[:2] != [-1, -1] or product.op not in ("RealDiv", "Mul"):
            return None
        factor = float(self.graph.constant(product.input[1]))
        return factor if product.op == "RealDiv" else 1 / factor, size[2]

    def add(self, source: Source) -> int:
        """The number of a net, which joins `nets`."""
        if tf_tables.is_table(self.graph, source):
            self.nets.append(tf_tables.tabulated(self.graph, source))
        else:
            self.nets.append(self.graph.embedding_net(source.scope, source.tail))
        return len(self.nets) - 1


def between(graph: Frozen, environment) -> dict:
    """The nodes by name that depend on an environment matrix, up to the descriptor."""

    def is_beyond(node) -> bool:
        return node.op.startswith(_NO_DATA) or _END.match(node.name) is not None

    found = graph.descendants(environment, is_beyond)
    return {name: node for name, node in found.items() if not is_beyond(node)}


def read_descriptor(graph: Frozen, environment, nodes: dict, types: int, embedding: np.ndarray | None) -> Descriptor:
    """What becomes of the environment matrix that the node `environment` makes; `nodes` are all between the two.

    embedding [types, or types + 1 with a row for empty slots, k].
    """
    member = _Member(graph, environment, nodes, types, embedding)
    if environment.op == MASKED:
        return _se_a_mask(member)
    tails = {source.tail.count("_") for source in member.sources}
    if environment.op == "ProdEnvMatR":
        return _se_e2_r(member)
    if tails == {2}:
        return _se_e3(member)
    if tails == {1}:
        return _se_e2_a(member)
    if tails == {0} and embedding is not None and len(member.sources) == 1:
        return _type_embedding(member, member.sources[0])
    raise ModelError("the embedding nets of a descriptor are missing: the graph is damaged")


def _by_pair(member: _Member) -> np.ndarray:
    """int [types, types], the net of (centre, neighbour) where both have their own, or of the neighbour alone."""
    index = {}
    for source in member.sources:
        number, neighbour = member.add(source), int(source.tail[1:])
        for centre in range(member.types) if source.centre == "all" else [int(source.centre)]:
            index[centre, neighbour] = number
    return parts.pair_table(member.types, index)


def _one_side(member: _Member) -> bool:
    return all(source.centre == "all" for source in member.sources)


def _se_e2_a(member: _Member) -> TwoBody:
    member.check("se_e2_a")
    count, axis = member.contraction()
    # A pair without a net, or masked, contributes nothing, and neither do the empty slots of its section.
    net = np.where(member.excluded, -1, _by_pair(member))
    return TwoBody(
        kind="se_e2_a",
        **member.common,
        nets=tuple(member.nets),
        net=net,
        pad_net=net.copy(),
        pad_env=member.pad_env,
        count=count,
        axis=axis,
        precision=member.precision,
        type_one_side=_one_side(member),
        exclude_types=_pairs(net < 0),
    )


def _se_a_mask(member: _Member) -> TwoBody:
    """All atoms are neighbours; there are as many slots as atoms, and those without one contribute nothing."""
    member.check("se_a_mask")
    count, axis = member.contraction()
    types, net = member.types, _by_pair(member)
    return TwoBody(
        kind="se_a_mask",
        switch=_UNSWITCHED,
        sel=(int(count),),
        total=0,
        mean=np.zeros((types, 4)),
        std=np.ones((types, 4)),
        nets=tuple(member.nets),
        net=net,
        pad_net=np.full((types, 1), -1),
        pad_env=np.zeros((types, 1, 4)),
        count=count,
        axis=axis,
        precision=member.precision,
        type_one_side=_one_side(member),
    )


def with_placeholders(term: Term, types: int) -> Term:
    """`term` for `types` types, of which the last ones are of no atom."""
    known = len(term.descriptors[0].mean)
    more, descriptors = types - known, []
    ignored = np.pad(np.zeros((known, known), bool), (0, more), constant_values=True)
    for part in term.descriptors:
        if not isinstance(part, TwoBody) or part.shared or part.scale is not None:
            raise parts.unsupported(f"spin of descriptor {part.kind}")
        pad = partial(_padded, more=more)
        square = {name: pad(pad(getattr(part, name), filling=-1), filling=-1, axis=1) for name in ("net", "pad_net")}
        descriptors.append(
            replace(part, sel=(*part.sel, *[0] * more), mean=pad(part.mean), std=pad(part.std, filling=1.0),
                    pad_env=pad(pad(part.pad_env), axis=1), ignored=ignored, **square)
        )  # fmt: skip
    fitting, more = term.fitting, types - len(term.fitting.net)
    changes = {name: _padded(getattr(fitting, name), more) for name in ("bias", "constant")}
    fitting = replace(fitting, net=_padded(fitting.net, more, -1), **changes)
    return replace(term, descriptors=tuple(descriptors), fitting=fitting)


def _padded(array: np.ndarray, more: int, filling: float = 0, axis: int = 0) -> np.ndarray:
    width = [(0, more if number == axis else 0) for number in range(array.ndim)]
    return np.pad(array, width, constant_values=filling)


def _pairs(excluded: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple((int(i), int(j)) for i, j in np.argwhere(excluded))


def _se_e2_r(member: _Member) -> TwoBody:
    member.check("se_e2_r")
    net = _by_pair(member)
    (factor,) = {float(member.graph.constant(mean.input[1])) for mean in _after_mean(member)}
    return TwoBody(
        kind="se_e2_r",
        **member.common,
        nets=tuple(member.nets),
        net=np.where(member.excluded, -1, net),
        # A mask sets what goes into the net to zero, in empty slots too.
        mask_net=np.where(member.excluded, net, -1) if member.excluded.any() else None,
        pad_net=net,
        pad_env=np.where(member.excluded[:, :, None], 0.0, member.pad_env),
        count=sum(member.sel) / factor,
        axis=0,
        precision=member.precision,
        type_one_side=_one_side(member),
        exclude_types=_pairs(member.excluded | (net < 0)),
    )


def _after_mean(member: _Member) -> list:
    """The products of the mean over all slots with a constant."""
    means = [node for node in member.nodes.values() if node.op == "Mean"]
    return [reader for mean in means for reader in member.graph.readers[mean.name] if reader.op == "Mul"]


def _se_e3(member: _Member) -> ThreeBody:
    member.check("se_e3")
    if member.common["mean"][:, 1:].any():
        raise parts.unsupported("descriptor se_e3 with a mean of the angular environment")
    index = {}
    for source in member.sources:
        first, second = map(int, source.tail.split("_")[1:])
        index[first, second] = index[second, first] = member.add(source)
    slots = np.outer(member.sel, member.sel).astype(float)
    return ThreeBody(
        kind="se_e3",
        **member.common,
        nets=tuple(member.nets),
        net=parts.pair_table(member.types, index),
        weight=np.divide(1.0, slots, out=np.zeros_like(slots), where=slots > 0),
        masked=np.zeros((member.types, member.types), bool),
        precision=member.precision,
    )


def _type_embedding(member: _Member, source: Source) -> TwoBody:
    """A net for all types, told apart by what their embeddings add to its inputs (concat) or make of its output (strip)."""
    shared = member.environment.op == "ProdEnvMatAMix"
    kind = "se_atten" if shared else "se_a_ebd_v2"
    member.check(kind)
    count, axis = member.contraction()
    inputs = 1 if tf_tables.is_table(member.graph, source) else member.graph[source.constant].shape[0]
    attention = tf_attention.read_attention(member.graph, member.nodes)
    smooth = _surrogate(member)
    if smooth is not None and member.excluded.any() and member.common["mean"][:, 0].any():
        raise parts.unsupported("exclude_types of a smooth se_atten descriptor with set_davg_zero: false")
    if inputs == 1:
        fields = _strip(member, source, shared, smooth)
    else:
        fields = _concat(member, source, shared, inputs - 1)
        if smooth is not None:
            none = np.full((member.types, member.types), -1)
            fields |= {"gate": "surrogate", "gate_net": none, "gate_smooth": smooth}
    if not shared and inputs > 1:
        kind = "se_e2_a"  # a net for each pair of types is all that there is left of the embedding
    return TwoBody(
        kind=kind,
        **member.common,
        nets=tuple(member.nets),
        **fields,
        pad_env=member.pad_env,
        count=count,
        axis=axis,
        precision=member.precision,
        exclude_types=_pairs(member.excluded),
        attention=attention,
    )


def _concat(member: _Member, source: Source, shared: bool, width: int) -> dict:
    """One net for each pair of types: the embeddings among its inputs are constants."""
    table, net = member.embedding, member.graph.embedding_net(source.scope, source.tail)
    embeddings, rest = divmod(width, table.shape[1])
    if rest or embeddings not in (1, 2):
        raise ModelError(f"an embedding net has {width + 1} inputs for type embeddings of {table.shape[1]}: damaged")
    numbers = {}

    def of_pair(centre: int, neighbour: int) -> int:
        rows = (neighbour, centre)[:embeddings]
        if rows not in numbers:
            numbers[rows] = len(member.nets)
            member.nets.append(parts.with_constants(net, table[list(rows)].ravel()))
        return numbers[rows]

    types = range(member.types)
    index = np.array([[-1 if member.excluded[i, j] else of_pair(i, j) for j in types] for i in types])
    pad_net = index.copy()
    if shared:
        # Without an environment an empty slot contributes nothing, and needs no net.
        pad_net = np.array([[of_pair(i, member.types) if member.empty[i].any() else -1] for i in types])
    return {"net": index, "pad_net": pad_net, "type_one_side": embeddings == 1}


def _strip(member: _Member, source: Source, shared: bool, smooth: float | None) -> dict:
    """One table: the embeddings' own net gives its channels a factor for each pair of types."""
    member.add(source)
    channels, types = member.nets[0].width, member.types
    factor = _pair_factors(member, channels)  # [types, types + 1, channels], the last for empty slots
    number = np.arange(types * (types + 1)).reshape(types, types + 1)
    fields = {"type_one_side": bool((factor == factor[:1]).all())}
    if smooth is None:
        net, pad_net = number[:, :types], np.repeat(number[:, types:], len(member.sel), axis=1)
        fields |= {"scale": 1 + factor.reshape(-1, channels)}
    else:
        scale = np.concatenate([np.ones((1, channels)), factor[:, :types].reshape(-1, channels)])
        gate_net = np.where(member.excluded, -1, 1 + np.arange(types * types).reshape(types, types))
        net, pad_net = np.zeros((types, types), np.int64), np.zeros((types, len(member.sel)), np.int64)
        fields |= {"scale": scale, "gate": "surrogate", "gate_net": gate_net, "gate_smooth": smooth}
    net = np.where(member.excluded, -1, net)
    if not shared:
        pad_net = np.where(member.excluded, -1, pad_net)
    return fields | {"net": net, "pad_net": pad_net, "base": np.zeros(len(fields["scale"]), np.int64)}


def _pair_factors(member: _Member, channels: int) -> np.ndarray:
    """[types, types + 1, channels] for centre and neighbour: a table that the graph makes of constants, and looks up."""
    types = member.types
    for node in member.nodes.values():
        table = member.graph.constant(node.input[0]) if node.op == "GatherV2" else None
        if table is not None and table.ndim == 2 and table.shape[1] == channels:
            table = parts.array(table, node.name)
            if len(table) == types + 1:
                return np.broadcast_to(table, (types, *table.shape))
            return table.reshape(types + 1, types + 1, channels)[:types]
    raise ModelError("the graph has no table of pairs of types: it is damaged")


def _surrogate(member: _Member) -> float | None:
    """What sw/r is multiplied by in 1 - (1 - x)³ that a pair's factor is switched off with (smooth_type_embedding)."""
    if all(node.op != "Minimum" for node in member.nodes.values()):
        return None
    products = (member.graph.behind(node.input[1]) for node in member.nodes.values() if node.op == "Sub")
    factors = (member.graph.constant(product.input[0]) for product in products if product.op == "Mul")
    (smooth,) = {float(factor) for factor in factors if factor is not None and factor.size == 1}
    return smooth
