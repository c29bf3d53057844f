"""model - a Deep Potential in memory: frozen dataclasses of arrays, whatever file it came from.

Arrays are float64 numpy arrays unless a comment says otherwise (a float32 model's weights are
widened, which is exact); `precision` says what arithmetic the original used. Lengths in angstrom,
energies in eV. `nt` is the number of types.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np


class ModelError(Exception):
    """A file that is no model, or a model with a part that is not supported: one sentence for the user."""


@dataclass(frozen=True)
class Layer:
    """y = x·weight + bias; h = activation(y) * idt; result h, x + h or [x, x] + h."""

    weight: np.ndarray  # [in, out]
    bias: np.ndarray | None  # [out]
    idt: np.ndarray | None  # [out]
    activation: str  # of ACTIVATIONS
    residual: int  # 0 none, 1 x + h, 2 [x, x] + h: decided by the reader, the formats' rules differ


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / sqrt(variance + epsilon) · weight + bias, over the channels of one slot."""

    weight: np.ndarray  # [channels]
    bias: np.ndarray  # [channels]
    epsilon: float


@dataclass(frozen=True)
class Net:
    layers: tuple[Layer, ...]

    @property
    def width(self) -> int:
        return self.layers[-1].weight.shape[1]


@dataclass(frozen=True)
class Grid:
    """The nodes of one table. Counts are integers, so that bounds follow from them and never the reverse."""

    name: str
    lower: float
    step0: float
    rows0: int
    step1: float
    rows1: int

    @property
    def upper(self) -> float:
        """End of the first sub-table."""
        return self.lower + self.rows0 * self.step0

    @property
    def maximum(self) -> float:
        """End of the second sub-table."""
        return self.upper + self.rows1 * self.step1

    def steps(self) -> np.ndarray:
        """Width of each interval, [rows0 + rows1]."""
        return np.repeat([self.step0, self.step1], [self.rows0, self.rows1])

    def positions(self) -> np.ndarray:
        """The nodes, [rows0 + rows1 + 1]."""
        first = self.lower + self.step0 * np.arange(self.rows0)
        return np.concatenate([first, self.upper + self.step1 * np.arange(self.rows1 + 1)])


@dataclass(frozen=True, eq=False)
class TabulatedNet:
    """A net of one number that a file has only as a table: values and derivatives, quintics between the nodes."""

    grid: Grid
    nodes: np.ndarray  # [rows0 + rows1 + 1, 3, width] value, first and second derivative

    @property
    def width(self) -> int:
        return self.nodes.shape[2]


@dataclass(frozen=True)
class Switch:
    """sw(r) and the environment's denominators; see docs/format.md, `switch`.

    width is stored, not cutoff - smooth: TensorFlow files take that difference in float32.
    """

    smooth: float
    cutoff: float
    width: float
    protection: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What all descriptors have. `sections` is len(sel); the channels of all nets of a descriptor are as many.

    Of the neighbours within the cutoff the nearest `total` of all types come first into question, then the nearest sel[t]
    of each type t take slots; with one section for all types the nearest sel[0].
    Tables are made of `nets`, each a function of one number. What pairs of types go through are *variants* of these:
    variant v is nets[base[v]] times scale[v], or nets[v] itself where scale is None.
    """

    kind: str  # the format's name: se_e2_a, se_e2_r, se_atten, se_e3, ...
    switch: Switch
    sel: tuple[int, ...]  # [nt] slots by neighbour type, or [1] shared by all types
    total: int  # 0: no cut over all types (TensorFlow)
    mean: np.ndarray  # [nt, 4] of centre types: normalised environment = (env - mean) / std
    std: np.ndarray  # [nt, 4]
    nets: tuple[Net | TabulatedNet, ...]
    net: (
        np.ndarray
    )  # int [nt, nt] variant of (centre, neighbour); of two neighbours for three bodies; -1: no contribution
    precision: str  # float64 or float32
    scale: np.ndarray | None = None  # [variants, channels]
    base: np.ndarray | None = None  # int [variants], index of nets
    # G = variant `net` + w variant `gate_net`, with w 0 ("none"), sw(r) ("switch") or
    # clip(1 - (1 - gate_smooth s)^3, 0, 1) of s = sw(r)/r ("surrogate"); of both neighbours, multiplied, for three bodies
    gate: str = "none"
    gate_net: np.ndarray | None = None  # int [nt, nt], -1: none
    gate_smooth: float = 0.0  # of a surrogate: TensorFlow multiplies by a double here, while switch.smooth is float32
    # bool [nt, nt]: neighbours that take part in both cuts, and leave their slots empty then (pair_exclude_types)
    ignored: np.ndarray | None = None
    exclude_types: tuple[tuple[int, int], ...] = ()  # what the file says, for reports

    @property
    def channels(self) -> int:
        return self.nets[0].width

    @property
    def variants(self) -> np.ndarray:
        """int [variants], the net of each."""
        return np.arange(len(self.nets)) if self.base is None else self.base

    @property
    def cutoff(self) -> float:
        return self.switch.cutoff

    @property
    def shared(self) -> bool:
        """Whether one section of slots serves all types."""
        return len(self.sel) == 1


@dataclass(frozen=True)
class AttentionLayer:
    """G becomes norm(G + out(A value(G))), where A follows from products query(G)_n · key(G)_m; see Attention."""

    query: Layer  # [channels, hidden], linear, as the others
    key: Layer
    value: Layer
    out: Layer  # [hidden, channels]
    scale: float  # of the products
    norm: Normalisation


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What the channels G of an atom's slots go through before they are contracted.

    A_nm is the softmax over m of the products, those with empty slots and excluded neighbours left out. If `smooth`
    these count too: it is that of (product + ATTENTION_SHIFT) w_n w_m - ATTENTION_SHIFT, times w_n w_m, where w is the
    descriptor's gate, 0 for them. If `angular` A_nm is multiplied by the cosine of the angle between the directions
    env[1:] of n and m. Empty slots get their own G from pad_net and give nothing to others.
    """

    layers: tuple[AttentionLayer, ...]
    smooth: bool
    angular: bool
    unit: bool  # queries, keys and values are divided by their lengths
    shortest: float  # what a length counts as that is smaller


@dataclass(frozen=True, kw_only=True)
class TwoBody(Descriptor):
    """X = sum over slots of env ⊗ G(env_0) / count and D = Xᵀ X[:, :axis], or with axis 0 D = sum of G / count.

    se_e2_a, the strip form of se_atten without attention layers, and with axis 0 se_e2_r (whose 1/5 is in count).
    """

    count: float
    axis: int
    pad_net: np.ndarray  # int [nt, sections]: variant that the empty slots of a section go through, ungated; -1: none
    pad_env: np.ndarray  # [nt, sections, 4]: their normalised environment
    mask_net: np.ndarray | None = None  # int [nt, nt], axis 0: variant whose value at 0 an excluded neighbour adds
    type_one_side: bool = True
    attention: Attention | None = None

    @property
    def features(self) -> int:
        return self.channels * max(self.axis, 1)


@dataclass(frozen=True, kw_only=True)
class ThreeBody(Descriptor):
    """D = sum over types a <= b of weight[a, b] times the sum over slots n of a, m of b of t G(t), t = env_n · env_m.

    env without its first component; n = m included where a = b. se_e3 and the strip form of se_e3_tebd.
    """

    weight: np.ndarray  # [nt, nt], symmetric
    masked: np.ndarray  # bool [nt centre, nt neighbour]: neighbours that take a slot and contribute nothing

    @property
    def features(self) -> int:
        return self.channels


@dataclass(frozen=True, kw_only=True)
class LocalAttention:
    """g1 of an atom from those of its neighbours m: out of, for each head, sum of A_m value(g1_m), A the softmax of
    query(g1) · key(g1_m), smooth as in Attention but with w of m alone. Matrices hold one head after the other.
    """

    heads: int
    query: np.ndarray  # [g1, heads · hidden], with the scale of the products
    key: np.ndarray  # [g1, heads · hidden]
    value: np.ndarray  # [g1, heads · g1]
    out: Layer  # [heads · g1, g1]


@dataclass(frozen=True, kw_only=True)
class PairAttention:
    """A_nm of each head from g2 of two slots as in Attention, if `gated` of products times h2_n · h2_m; times
    h2_n · h2_m / √3. It updates g2 by norm(out of A value(g2)) and h2 by the heads' A h2 times `direction`.
    """

    heads: int
    query: np.ndarray  # [g2, heads · hidden], with the scale of the products
    key: np.ndarray  # [g2, heads · hidden]
    gated: bool
    value: np.ndarray | None  # [g2, heads · g2]; None: g2 is not updated
    out: Layer | None  # [heads · g2, g2]
    norm: Normalisation | None
    direction: np.ndarray | None  # [heads]; None: h2 is not updated


@dataclass(frozen=True, kw_only=True)
class RepformerLayer:
    """One round of messages. Each of g1, g2 and h2 becomes the sum of itself and its updates times `of_...`: of g1 in the
    order own, convolution if `apart`, mixed, local; of g2 pair_own, product, attention; of h2 attention.
    """

    own: Layer | None  # of g1
    mixed: (
        Layer  # of [g1 where `own` is None, convolution unless `apart`, g2 symmetrised, g1 of neighbours symmetrised]
    )
    with_pairs: bool  # the third of these
    with_neighbours: bool  # the fourth
    # mean over slots of g1 of the neighbour times g2, one of which goes through this layer: g2 if `apart`
    convolution: Layer | None
    apart: bool
    local: LocalAttention | None
    pair_own: Layer | None  # of g2; None: g2 and h2 stay as they are
    product: Layer | None  # of g1 times g1 of the neighbour
    attention: PairAttention | None
    of_g1: np.ndarray  # [1 + updates, g1]
    of_g2: np.ndarray  # [1 + updates, g2]
    of_h2: np.ndarray  # [1 + updates]


@dataclass(frozen=True, kw_only=True)
class Repformer:
    """Atoms' features g1 that exchange messages with neighbours: what DPA-2 puts between descriptors and fitting net.

    g1 = activation(features · transform + shift[type]); g2 = embedding(env_0) and h2 = env[1:] of each slot, if `direct`
    r / cutoff and d / cutoff in their place. Sums over slots are weighted by sw(r) if `smooth` and divided by their
    number `sel`, if not by that of neighbours plus COUNT_GUARD (or by the root of these where g is symmetrised, if
    `root`). Symmetrised g: H = mean of h2 ⊗ g [3, k], then H[:, :axis]ᵀ H / 3, flattened row by row. What is fitted is
    g1, and dipoles have rot = H of g2, both after the last layer. Empty slots count only in smooth softmaxes, as in
    Attention.
    """

    switch: Switch
    sel: tuple[int]  # as in Descriptor, like the next four
    total: int
    mean: np.ndarray  # [nt, 4]
    std: np.ndarray  # [nt, 4]
    ignored: np.ndarray | None = None  # bool [nt, nt]
    transform: np.ndarray  # [features, g1]
    shift: np.ndarray  # [nt, g1]
    activation: str
    embedding: Layer  # [1, g2]
    direct: bool
    smooth: bool
    root: bool
    axis: int
    layers: tuple[RepformerLayer, ...]

    @property
    def cutoff(self) -> float:
        return self.switch.cutoff

    @property
    def features(self) -> int:
        return self.transform.shape[1]

    @property
    def channels(self) -> int:
        return self.embedding.weight.shape[1]


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """One atom's outputs: a net of [D of every descriptor, constant[type], fparam, aparam], the last two normalised.

    kind ener: energy = output + bias. dos, property: outputs + bias. dipole: sum over channels m of output_m rot_m with
    rot_m = X[1:4, m], descriptors one after the other. polar: sum of output_m rot_m rot_mᵀ, or with outputs [M, M]
    (symmetric) of output_mn rot_m rot_nᵀ; plus bias[type, 0] times the identity.
    """

    kind: str  # ener, dipole, polar, dos, property
    nets: tuple[Net, ...]  # the last layer of each is linear
    net: np.ndarray  # int [nt], -1: nothing but the bias
    bias: np.ndarray  # [nt, outputs]; all that is added after the net
    precision: str
    constant: np.ndarray  # [nt, k] inputs that belong to the type: type embedding, case embedding
    fparam: np.ndarray  # [2, number of fparam]: mean and inverse deviation
    aparam: np.ndarray  # [2, number of aparam]
    intensive: bool = False  # property: the mean over atoms instead of their sum

    @property
    def outputs(self) -> int:
        """Numbers per atom."""
        return {"dipole": 3, "polar": 9}.get(self.kind) or self.nets[0].width


@dataclass(frozen=True, kw_only=True)
class PairTable:
    """A pair potential in place of what is fitted where atoms are near: E = (1 - c) E_fitted + c E_pair of each atom.

    E_pair = bias[type] + half the sum of V over its slots, V = ((a3 u + a2) u + a1) u + a0 with (a3, ..., a0) =
    table[type, type of the neighbour, k] where (r - start) / step = k + u; 0 from the cutoff or the end of the table on.
    c = 1 for x < inner, 0 for x >= outer, u³(-6u² + 15u - 10) + 1 of u = (x - inner) / (outer - inner) between these,
    where x is the mean of r over the slots with weights exp(-r / alpha); c = 0 without a neighbour.
    """

    cutoff: float
    sel: tuple[int, ...]  # slots, and what takes them, as in Descriptor
    total: int
    ignored: np.ndarray | None = None
    alpha: float
    inner: float
    outer: float
    start: float
    step: float
    table: np.ndarray  # [nt, nt, intervals, 4]
    bias: np.ndarray  # [nt]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A descriptor (several for a hybrid one: their features follow each other) and what is fitted to it."""

    descriptors: tuple[Descriptor, ...]
    fitting: Fitting
    repformer: Repformer | None = None  # what the features go through before they are fitted
    pair: PairTable | None = None

    @property
    def features(self) -> int:
        """Numbers that are fitted, beside the fitting's own."""
        parts = self.descriptors if self.repformer is None else (self.repformer,)
        return sum(part.features for part in parts)

    @property
    def channels(self) -> int:
        """Columns of rot, for dipoles and polarisabilities."""
        parts = self.descriptors if self.repformer is None else (self.repformer,)
        return sum(part.channels for part in parts)

    @property
    def attentive(self) -> bool:
        """Whether slots or atoms exchange anything, which onnxruntime evaluates and libdpc does not."""
        attention = (getattr(descriptor, "attention", None) for descriptor in self.descriptors)
        return self.repformer is not None or any(part is not None for part in attention)


@dataclass(frozen=True)
class Source:
    """Where a model came from."""

    path: str
    format: str  # "tensorflow .pb", "pytorch .pth", "native .dp", "native .yaml", "onnx"
    sha256: str
    version: str = ""  # of the software that wrote it, where the file says
    head: str = ""  # which of the file's models, if there are several


@dataclass(frozen=True)
class Model:
    """The sum of its terms: one, or several for a linear combination, whose weights their last layers and biases hold.

    Or an ensemble, the mean of such sums.
    """

    type_map: tuple[str, ...]  # [nt]
    terms: tuple[Term, ...]
    source: Source
    # [nt] Å: each atom of type t has a virtual one of type nt + t at its position + spin · scale[t], which is a neighbour
    # and never a centre; descriptors and fittings have 2 nt types then
    spin: np.ndarray | None = None
    masked: bool = False  # atoms whose only aparam is 0 neither have nor are neighbours; the cell counts for nothing
    min_distance: float | None = None  # smallest pair distance of the training data
    training_script: dict | None = field(default=None, repr=False)
    # of an ensemble, the sources of its models, which have equally many terms, one model's after the other's
    ensemble: tuple[Source, ...] = ()

    @property
    def models(self) -> int:
        """Of an ensemble, how many."""
        return len(self.ensemble) or 1

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        return tuple(descriptor for term in self.terms for descriptor in term.descriptors)

    @property
    def all_types(self) -> tuple[str, ...]:
        """The types that descriptors know: those of the type map, and with spin as many of virtual atoms."""
        return self.type_map if self.spin is None else (*self.type_map, *(f"{name}_spin" for name in self.type_map))

    @property
    def attentive(self) -> bool:
        """As of a Term."""
        return any(term.attentive for term in self.terms)

    @property
    def cutoff(self) -> float:
        """The largest of all descriptors and pair tables."""
        reaches = [descriptor.switch.cutoff for descriptor in self.descriptors]
        return max(reaches + [term.pair.cutoff for term in self.terms if term.pair is not None])

    @property
    def kind(self) -> str:
        """Of the fitting: ener, dipole, polar, dos or property."""
        return self.terms[0].fitting.kind

    @property
    def precision(self) -> str:
        """float32 if any descriptor or fitting net is."""
        parts = [*self.descriptors, *(term.fitting for term in self.terms)]
        return "float32" if any(part.precision == "float32" for part in parts) else "float64"

    def in_float64(self) -> Model:
        """The same, to be computed in float64 throughout."""
        terms = (
            replace(
                term,
                descriptors=tuple(replace(descriptor, precision="float64") for descriptor in term.descriptors),
                fitting=replace(term.fitting, precision="float64"),
            )
            for term in self.terms
        )
        return replace(self, terms=tuple(terms))


ATTENTION_SHIFT = 20.0
COUNT_GUARD = 1e-4
ACTIVATIONS = ("linear", "tanh", "gelu", "relu", "relu6", "softplus", "sigmoid", "silu", "gelu_tf", "silut")
SILUT_THRESHOLD = 3.0  # silu below it, above it a hyperbolic tangent of the same value and slope there
# of x + cubic x³ in the hyperbolic tangent form; TensorFlow's own gelu rounds it to float32
GELU_CUBIC = {"gelu": 0.044715, "gelu_tf": float(np.float32(0.044715))}
