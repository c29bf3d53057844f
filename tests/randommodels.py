"""randommodels - small models of every kind with random weights, and atoms to evaluate them on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from compress_onnx.model import (
    Descriptor,
    Fitting,
    Layer,
    Model,
    Net,
    PairTable,
    Source,
    Switch,
    Term,
    ThreeBody,
    TwoBody,
)

CUTOFF = 4.0
CELLS = {
    "open": np.zeros((3, 3)),
    "triclinic": np.array([[5.6, 0.3, 0.0], [0.7, 5.2, -0.4], [0.1, -0.6, 6.1]]),
    "small": np.array([[2.9, 0.4, 0.0], [0.2, 3.3, 0.3], [-0.5, 0.1, 2.6]]),  # smaller than the cutoff
}
# what random_model takes for a descriptor; several joined by + are a hybrid one
DESCRIPTORS = ("se_e2_a", "se_e2_r", "se_atten", "se_atten_v2", "se_atten_tf", "se_a_tebd_v2")
DESCRIPTORS += ("se_e3", "se_e3_tebd", "se_e3_tebd_smooth")
FITTINGS = ("ener", "dipole", "polar", "polar_full", "dos", "property", "property_intensive")
STRIP = {"se_atten": "none", "se_atten_v2": "switch", "se_atten_tf": "surrogate", "se_a_tebd_v2": "none"}


def net(rng, widths, activation, idt, *, fitting=False) -> Net:
    layers = []
    for number, (before, after) in enumerate(pairwise(widths)):
        last = fitting and number == len(widths) - 2
        layers.append(
            Layer(
                weight=rng.normal(size=(before, after)) / np.sqrt(before),
                bias=None if last else 0.3 * rng.normal(size=after),
                idt=0.5 + rng.random(after) if idt and not last else None,
                activation="linear" if last else activation,
                residual=0 if last else {before: 1, 2 * before: 2}.get(after, 0),
            )
        )
    return Net(tuple(layers))


def random_model(
    kind="se_e2_a",
    seed=0,
    *,
    fitting="ener",
    types=2,
    activation="tanh",
    idt=False,
    precision="float64",
    mixed=False,
    fparam=0,
    aparam=0,
    unfitted=(),
    ignored=(),
    **options,
) -> Model:
    """A model with descriptor `kind` (of DESCRIPTORS, + between members) and `fitting` (of FITTINGS); types A, B, ...

    mixed: one fitting net, with two constant inputs for each type; fparam, aparam: how many; unfitted: types without
    a net; ignored: pairs of types that do not see each other. options: sel, total (of the slots, if not given), exclude, mean (the size of the
    environment's mean, which empty slots show), one_side, width, axis, cutoff; for every member.
    """
    rng = np.random.default_rng(seed)
    types = len(options["sel"]) if len(options.get("sel", ())) > 1 else types
    members = []
    for number, name in enumerate(kind.split("+")):
        given = {"cutoff": CUTOFF - 0.6 * number, **options}
        member = descriptor(rng, name, types, activation, idt, **given)
        members.append(replace(member, precision=precision, ignored=_pairs(types, ignored) if ignored else None))
    term = Term(
        descriptors=tuple(members),
        fitting=fitted(rng, members, fitting, types, activation, idt, mixed, fparam, aparam, unfitted, precision),
    )
    return Model(tuple("ABCDEF"[:types]), (term,), Source("random", "native .dp", "0" * 64))


def model(seed=0, **options) -> Model:
    """An se_e2_a energy model."""
    return random_model("se_e2_a", seed, **options)


def magnetic(kind="se_e2_a", seed=0, *, scale=(0.3, 0.0), **options) -> Model:
    """A model with spin: scale [types], 0 for those without, whose virtual atoms are placeholders that nobody sees."""
    types = len(scale)
    virtual, placeholders = range(types, 2 * types), [types + t for t in range(types) if scale[t] == 0]
    options["ignored"] = [(i, j) for i in placeholders for j in range(2 * types)]
    if len(options.get("sel", ())) > 1:
        options["sel"] = (*options["sel"], *options["sel"])
    both = random_model(kind, seed, types=2 * types, unfitted=virtual, **options)
    (term,) = both.terms
    term.fitting.bias[types:] = 0
    return replace(both, type_map=both.type_map[:types], spin=np.array(scale))


def with_pairs(model: Model, seed=0, *, sel=40, intervals=70) -> Model:
    """The same with a smooth pair potential below 2.6 Å, alone below 1.2 Å."""
    rng, types, cutoff, start = np.random.default_rng(seed), len(model.type_map), CUTOFF - 0.4, 0.2
    step = (cutoff - start) / (intervals - 0.5)  # the cutoff is inside the last interval
    r = start + step * np.arange(intervals + 1)
    rest, height = np.maximum(1 - r / cutoff, 0), rng.uniform(5, 10, (types, types, 1))
    value, slope = rest**3 * np.exp(-r), -(3 * rest**2 / cutoff + rest**3) * np.exp(-r) * step
    value, slope = ((height + height.swapaxes(0, 1)) * part for part in (value, slope))
    (y0, y1), (s0, s1) = ((part[..., :-1], part[..., 1:]) for part in (value, slope))
    table = np.stack([2 * (y0 - y1) + s0 + s1, 3 * (y1 - y0) - 2 * s0 - s1, s0, y0], axis=-1)
    pair = PairTable(
        cutoff=cutoff, sel=(sel,), total=sel, alpha=0.3, inner=1.2, outer=2.6, start=start, step=step, table=table,
        bias=rng.normal(size=types),
    )  # fmt: skip
    return replace(model, terms=tuple(replace(term, pair=pair) for term in model.terms))


def masked(model: Model) -> Model:
    """The same with aparam that says which atoms are there, and without a cutoff."""
    terms = []
    for term in model.terms:
        members = tuple(replace(d, switch=Switch(1e6, 2e6, 1e6), pad_net=d.pad_net * 0 - 1) for d in term.descriptors)
        terms.append(replace(term, descriptors=members))
    return replace(model, terms=tuple(terms), masked=True)


def linear(*models: Model) -> Model:
    """Their sum, with the first one's types."""
    return replace(models[0], terms=tuple(term for model in models for term in model.terms))


def descriptor(rng, kind, types, activation="tanh", idt=False, **options) -> Descriptor:
    if kind.startswith("se_e3"):
        return three_body(rng, kind, types, activation, idt, **options)
    return two_body(rng, kind, types, activation, idt, **options)


def two_body(
    rng, kind, types, activation, idt, *, sel=None, total=None, exclude=(), mean=0.1, one_side=False,
    width=8, axis=3, cutoff=CUTOFF, protection=0.0,
) -> TwoBody:  # fmt: skip
    radial, strip = kind == "se_e2_r", STRIP.get(kind)
    sel = tuple(sel or (30 + 10 * k for k in range(types)))
    if strip and kind != "se_a_tebd_v2":
        sel = (sum(sel),)
    count = sum(sel) * (5.0 if radial else 0.25)
    means, stds = mean * rng.normal(size=(types, 4)), 0.3 + 0.2 * rng.random((types, 4))
    if radial:
        means[:, 1:], stds[:, 1:] = 0, 1
    if strip:
        one_side = False
        parts = _strip(rng, strip, types, width)
        nets = (net(rng, [1, 2, 4, width], activation, idt),)
        pad_net = np.zeros((types, len(sel)), int)
    else:
        pad_net = np.tile(np.arange(types), (types, 1)) if one_side else np.arange(types**2).reshape(types, types)
        parts = {"net": pad_net.copy()}
        nets = tuple(net(rng, [1, 2, 4, width], activation, idt) for _ in range(pad_net.max() + 1))
    excluded = _pairs(types, exclude)
    mask_net = np.where(excluded, parts["net"], -1) if radial and exclude else None
    for name in ("net", "gate_net"):
        if parts.get(name) is not None:
            parts[name] = np.where(excluded, -1, parts[name])
    pad_env = np.repeat((-means / stds)[:, None], len(sel), axis=1)
    return TwoBody(
        kind=kind.removesuffix("_tf"), switch=Switch(0.5, cutoff, cutoff - 0.5, protection), sel=sel,
        total=sum(sel) if total is None else total, mean=means,
        std=stds, nets=nets, precision="float64", exclude_types=_listed(excluded), count=count,
        axis=0 if radial else axis, pad_net=pad_net, pad_env=pad_env, mask_net=mask_net, type_one_side=one_side, **parts,
    )  # fmt: skip


# weights are 30 times what they are in trained models, whose nets have larger weights
def three_body(
    rng, kind, types, activation, idt, *, sel=None, total=None, exclude=(), mean=0.1, width=6, cutoff=CUTOFF,
    protection=0.0, **_,
) -> ThreeBody:  # fmt: skip
    sel = tuple(sel or (14 + 4 * k for k in range(types)))
    means, stds = mean * rng.normal(size=(types, 4)), 0.3 + 0.2 * rng.random((types, 4))
    means[:, 1:], excluded = 0, _pairs(types, exclude)
    if kind == "se_e3":
        number = np.cumsum(np.triu(np.ones((types, types), int))).reshape(types, types) - 1
        parts = {"net": np.triu(number) + np.triu(number, 1).T}
        product = np.outer(sel, sel)
        weight = np.divide(30.0, product, out=np.zeros((types, types)), where=product > 0)
    else:
        parts = _strip(rng, "switch" if kind.endswith("smooth") else "none", types, width, symmetric=True)
        sel = (sum(sel),)
        weight = 30 * (2 - np.eye(types)) / sel[0] ** 2
    nets = tuple(
        net(rng, [1, 2, 4, width], activation, idt) for _ in range(1 if "scale" in parts else number.max() + 1)
    )
    return ThreeBody(
        kind="se_e3" if kind == "se_e3" else "se_e3_tebd", switch=Switch(0.5, cutoff, cutoff - 0.5, protection),
        sel=sel, total=sum(sel) if total is None else total, mean=means, std=stds, nets=nets, precision="float64",
        exclude_types=_listed(excluded), weight=weight, masked=excluded, **parts,
    )  # fmt: skip


def _strip(rng, gate, types, width, symmetric=False) -> dict:
    """net, base, scale and gates of one net that is scaled for each pair of types."""
    embedding = rng.normal(size=(types, types, width))
    if symmetric:
        embedding = (embedding + embedding.swapaxes(0, 1)) / 2
    embedding = embedding.reshape(-1, width)
    numbers = 1 + np.arange(types**2).reshape(types, types)
    if symmetric:
        numbers = np.minimum(numbers, numbers.T)
    scale = np.concatenate([np.ones((1, width)), embedding if gate != "none" else 1 + embedding])
    parts = {"scale": scale, "base": np.zeros(len(scale), int), "net": numbers, "gate": gate}
    if gate == "none":
        return parts
    return parts | {
        "net": np.zeros((types, types), int),
        "gate_net": numbers,
        "gate_smooth": 0.5 * (gate == "surrogate"),
    }


def _pairs(types, pairs) -> np.ndarray:
    """Symmetric, bool [types, types]."""
    marked = np.zeros((types, types), bool)
    for i, j in pairs:
        marked[i, j] = marked[j, i] = True
    return marked


def _listed(pairs: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple((int(i), int(j)) for i, j in np.argwhere(pairs))


def fitted(
    rng, members, kind, types, activation, idt, mixed=False, fparam=0, aparam=0, unfitted=(), precision="float64"
) -> Fitting:
    features, channels = sum(d.features for d in members), sum(d.channels for d in members)
    outputs = {"ener": 1, "dipole": channels, "polar": channels, "polar_full": channels**2}.get(kind, 3)
    constant = rng.normal(size=(types, 2)) if mixed else np.zeros((types, 0))
    width = features + constant.shape[1] + fparam + aparam
    nets = tuple(
        net(rng, [width, width, 5, 10, outputs], activation, idt, fitting=True) for _ in range(1 if mixed else types)
    )
    if kind == "polar_full":
        nets = tuple(_symmetric(one, channels) for one in nets)
    number = np.zeros(types, int) if mixed else np.arange(types)
    for one in unfitted:
        number[one] = -1
    bias = np.zeros((types, 3)) if kind == "dipole" else rng.normal(size=(types, {"ener": 1, "dos": 3}.get(kind, 3)))
    if kind.startswith("polar"):
        bias = np.repeat(bias[:, :1], 9, axis=1)  # only the first counts
    norms = (np.stack([rng.normal(size=n), 0.5 + rng.random(n)]) for n in (fparam, aparam))
    return Fitting(
        kind=kind.split("_")[0], nets=nets, net=number, bias=bias, precision=precision, constant=constant,
        fparam=next(norms), aparam=next(norms), intensive=kind == "property_intensive",
    )  # fmt: skip


def _symmetric(one: Net, channels: int) -> Net:
    """The net with a symmetric [channels, channels] output."""
    *rest, last = one.layers
    weight = last.weight.reshape(-1, channels, channels)
    return Net((*rest, replace(last, weight=((weight + weight.swapaxes(1, 2)) / 2).reshape(len(weight), -1))))


def atoms(cell, count, types=2, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Positions [count, 3], at least 0.9 Å apart and partly outside the cell, and types int32 [count]."""
    rng = np.random.default_rng(seed)
    inverse = np.linalg.inv(cell) if cell.any() else None
    coord = np.zeros((0, 3))
    while len(coord) < count:
        new = rng.uniform(-3, 3, 3) if inverse is None else rng.uniform(-1, 2, 3) @ cell
        d = coord - new
        if inverse is not None:
            fraction = d @ inverse
            d = (fraction - np.round(fraction)) @ cell
        if len(d) == 0 or np.linalg.norm(d, axis=1).min() > 0.9:
            coord = np.vstack([coord, new])
    return coord, rng.integers(0, types, count).astype(np.int32)
