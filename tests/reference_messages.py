"""reference_messages - models whose atoms exchange messages (DPA-2), beside reference.py, which calls this for them.

Complex arrays [p, ...] as in reference_attention; the p numbers are the components of all vectors to neighbours.
"""

from typing import NamedTuple

import numpy as np
from compress_onnx.model import (
    COUNT_GUARD,
    Layer,
    LocalAttention,
    Model,
    PairAttention,
    Repformer,
    RepformerLayer,
    Term,
    ThreeBody,
)
from reference import fitted, real_neighbours, slots, three_body, two_body
from reference_attention import STEP, activated, dense, dual, environments, lifted, normalised, padded, softmax


class Surroundings(NamedTuple):
    """Of one atom: all neighbours within the model's cutoff, nearest first."""

    centre: int  # type
    atoms: np.ndarray  # [n]
    kinds: np.ndarray  # [n]
    vectors: np.ndarray  # [n, 3]
    changes: np.ndarray  # [p, n, 3], their derivatives


def evaluate(model: Model, coord, atype, cell, fparam, aparam) -> dict[str, np.ndarray]:
    """As reference.evaluate."""
    pairs = real_neighbours(coord, atype, cell, model.cutoff)
    ends = np.cumsum([len(j) for j, _ in pairs])
    count = max(ends[-1], 1)
    around = []
    for i, (j, d) in enumerate(pairs):
        changes = np.zeros((count, 3, len(j), 3))
        changes[ends[i] - len(j) + np.arange(len(j)), :, np.arange(len(j))] = np.eye(3)
        around.append(Surroundings(atype[i], j, atype[j], d, changes.reshape(3 * count, len(j), 3)))
    outputs = model.terms[0].fitting.outputs
    atoms, gradient = np.zeros((len(coord), outputs)), np.zeros((outputs, 3 * count))
    for term in model.terms:
        features, rotations = described(term, around)
        for i in np.flatnonzero(atype >= 0):
            own = None if aparam is None else aparam[i]
            rotation = [dual(part) for part in rotations[i]]
            result = fitted(term.fitting, atype[i], dual(features[i]), rotation, fparam, own)
            atoms[i] += result.value
            gradient += result.slope
    gradient = gradient.reshape(outputs, count, 3)
    force, atom_virial = np.zeros((outputs, len(coord), 3)), np.zeros((outputs, len(coord), 3, 3))
    for i, (j, d) in enumerate(pairs):
        part = gradient[:, ends[i] - len(j) : ends[i]]
        force[:, i] += part.sum(1)
        np.subtract.at(force, (slice(None), j), part)
        np.subtract.at(atom_virial, (slice(None), j), part[:, :, :, None] * d[:, None])
    virial = atom_virial.sum(1)
    if model.kind == "ener":
        results = {"energy": atoms.sum(), "atom_energy": atoms[:, 0]}
        return results | {"force": force[0], "virial": virial[0], "atom_virial": atom_virial[0]}
    results = {"tensor": atoms.sum(0), "atom_tensor": atoms}
    return results | {"force": force, "virial": virial, "atom_virial": atom_virial}


def described(term: Term, around: list[Surroundings]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Of each atom the features that are fitted [p, features] and rot [p, 3, channels]."""
    features = []
    for site in around:
        found = [descriptor_at(descriptor, site) for descriptor in term.descriptors if site.centre >= 0]
        features.append(np.concatenate(found, axis=1) if found else None)
    return rounds(term.repformer, around, features)


def descriptor_at(descriptor, site: Surroundings) -> np.ndarray:
    """D [p, features]."""
    kept, empty = slots(descriptor, site.centre, site.kinds, site.vectors)
    function = three_body if isinstance(descriptor, ThreeBody) else two_body
    feature, _ = function(descriptor, site.centre, site.kinds[kept], site.vectors[kept], empty)
    return lifted(feature, site.changes[:, kept])


class Pairs(NamedTuple):
    """The slots of one atom in a repformer."""

    atoms: np.ndarray  # [sel], 0 where there is none
    seen: np.ndarray  # bool [sel]
    w: np.ndarray  # [p, sel]


def rounds(r: Repformer, around: list[Surroundings], features: list) -> tuple[list, list]:
    """The same two lists as `described` gives."""
    present = [i for i, site in enumerate(around) if site.centre >= 0]
    act = Layer(np.zeros((0, 0)), None, None, r.activation, 0)
    g1, g2, h2, pairs = {}, {}, {}, {}
    for i in present:
        g1[i] = activated(act, features[i] @ r.transform + r.shift[around[i].centre])
        pairs[i], g2[i], h2[i] = first_pairs(r, around[i])
    for layer in r.layers:
        found = {i: layer_at(r, layer, i, g1, g2[i], h2[i], pairs[i]) for i in present}
        g1, g2, h2 = ({i: found[i][k] for i in present} for k in range(3))
    rotations = [[mean_product(r, g2[i], h2[i], pairs[i])] if i in pairs else [] for i in range(len(around))]
    return [g1.get(i) for i in range(len(around))], rotations


def first_pairs(r: Repformer, site: Surroundings) -> tuple[Pairs, np.ndarray, np.ndarray]:
    """With g2 [p, sel, g2] and h2 [p, sel, 3]."""
    kept, (empty,) = slots(r, site.centre, site.kinds, site.vectors)
    size = len(kept) + empty
    env, w = environments(Gated(r.switch, r.mean, r.std), site.centre, site.vectors[kept], site.changes[:, kept])
    env = padded(env, size, -r.mean[site.centre] / r.std[site.centre])
    if r.direct:
        d = padded(site.vectors[kept] + 1j * STEP * site.changes[:, kept], size) / r.switch.cutoff
        square = (d * d).sum(-1, keepdims=True)
        env = np.concatenate([np.sqrt(np.where(square.real > 0, square, 0)), d], axis=2)
    atoms = np.concatenate([site.atoms[kept], np.zeros(empty, int)])
    return Pairs(atoms, np.arange(size) < len(kept), padded(w, size)), dense(r.embedding, env[:, :, :1]), env[:, :, 1:]


class Gated(NamedTuple):
    """What reference.environment asks a descriptor for."""

    switch: object
    mean: np.ndarray
    std: np.ndarray
    gate: str = "switch"
    gate_smooth: float = 0.0


def layer_at(r: Repformer, layer: RepformerLayer, i: int, g1: dict, g2, h2, pairs: Pairs) -> tuple:
    """g1 [p, g1], g2 [p, sel, g2], h2 [p, sel, 3] of atom i after one round."""
    own, count = g1[i], r.sel[0] if r.smooth else pairs.seen.sum() + COUNT_GUARD
    near = np.stack([g1[j] if seen else np.zeros_like(own) for j, seen in zip(pairs.atoms, pairs.seen, strict=True)], 1)
    shown = (pairs.w if r.smooth else np.ones_like(pairs.w)) * pairs.seen
    of_g1, of_g2, of_h2, mixed = [own], [g2], [h2], [own]
    if layer.own:
        mixed = []
        of_g1.append(dense(layer.own, own))
    if layer.pair_own:
        of_g2.append(dense(layer.pair_own, g2))
    if layer.product:
        of_g2.append(dense(layer.product, own[:, None] * near * shown[:, :, None]))
    if layer.attention:
        a = pair_weights(r, layer.attention, g2, h2, pairs)
        if layer.attention.value is not None:
            of_g2.append(pair_update(layer.attention, a, g2))
        if layer.attention.direction is not None:
            of_h2.append(np.einsum("h,phnm,pmc->pnc", layer.attention.direction, a, h2))
    if layer.convolution and layer.apart:
        of_g1.append((dense(layer.convolution, g2) * near * shown[:, :, None]).sum(1) / count)
    elif layer.convolution:
        mixed.append((g2 * dense(layer.convolution, near) * shown[:, :, None]).sum(1) / count)
    for wanted, g in ((layer.with_pairs, g2), (layer.with_neighbours, near)):
        if wanted:
            h = mean_product(r, g, h2, pairs)
            mixed.append(np.einsum("pca,pcm->pam", h[:, :, : r.axis], h).reshape(len(h), -1) / 3)
    of_g1.append(dense(layer.mixed, np.concatenate(mixed, axis=1)))
    if layer.local:
        of_g1.append(local_update(r, layer.local, own, near, pairs))
    return tuple(
        sum(factor * part for factor, part in zip(factors, parts, strict=True))
        for factors, parts in ((layer.of_g1, of_g1), (layer.of_g2, of_g2), (layer.of_h2, of_h2))
    )


def mean_product(r: Repformer, g, h2, pairs: Pairs) -> np.ndarray:
    """H [p, 3, k]."""
    shown = (pairs.w if r.smooth else np.ones_like(pairs.w)) * pairs.seen
    count = r.sel[0] if r.smooth else pairs.seen.sum()
    divisor = (np.sqrt(count) if r.root else count) + (0 if r.smooth else COUNT_GUARD)
    return np.einsum("pnc,pnk,pn->pck", h2, g, shown) / divisor


def by_head(x: np.ndarray, heads: int) -> np.ndarray:
    """[p, heads, n, width] of [p, n, heads · width]."""
    return np.moveaxis(x.reshape(*x.shape[:2], heads, -1), 2, 1)


def pair_weights(r: Repformer, attention: PairAttention, g2, h2, pairs: Pairs) -> np.ndarray:
    """A [p, heads, sel, sel]."""
    q, k = (by_head(g2 @ weight, attention.heads) for weight in (attention.query, attention.key))
    products = np.einsum("pnc,pmc->pnm", h2, h2)[:, None]
    a = np.einsum("phna,phma->phnm", q, k) * (products if attention.gated else 1)
    a = softmax(a, pairs.w if r.smooth else None, pairs.w, pairs.seen)
    return a * pairs.seen[:, None] * pairs.seen * products / np.sqrt(3)


def pair_update(attention: PairAttention, a, g2) -> np.ndarray:
    found = np.einsum("phnm,phmk->pnhk", a, by_head(g2 @ attention.value, attention.heads))
    return normalised(attention.norm, dense(attention.out, found.reshape(*found.shape[:2], -1)))


def local_update(r: Repformer, local: LocalAttention, own, near, pairs: Pairs) -> np.ndarray:
    """[p, g1]."""
    q, k, v = (
        by_head(x @ w, local.heads) for x, w in ((own[:, None], local.query), (near, local.key), (near, local.value))
    )
    a = np.einsum("phna,phma->phnm", q, k)
    a = softmax(a, np.ones((len(own), 1)) if r.smooth else None, pairs.w, pairs.seen) * pairs.seen
    return dense(local.out, np.einsum("phnm,phmk->pnhk", a, v).reshape(len(own), -1))
