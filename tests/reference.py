"""reference - the definition of every Model in float64 numpy: slow, obvious, used to check the product.

Everything is evaluated slot by slot as the original does. Derivatives are carried forward beside values, so no formula
is differentiated by hand twice.
"""

import itertools
from typing import NamedTuple

import numpy as np
from compress_onnx.model import (
    Descriptor,
    Fitting,
    Layer,
    Model,
    Net,
    PairTable,
    TabulatedNet,
    Term,
    ThreeBody,
    TwoBody,
)
from compress_onnx.nets import derivatives


class Dual(NamedTuple):
    """An array and its derivatives by k numbers, which are the last axis of `slope`."""

    value: np.ndarray  # [...]
    slope: np.ndarray  # [..., k]

    def __getitem__(self, index):
        return Dual(self.value[index], self.slope[index])

    def __add__(self, other):
        return Dual(self.value + other.value, self.slope + other.slope)


def constant(value, count: int) -> Dual:
    value = np.asarray(value, float)
    return Dual(value, np.zeros((*value.shape, count)))


def product(subscripts: str, a: Dual, b: Dual) -> Dual:
    """The Einstein sum of two, whose subscripts do not use z."""
    one, two, result = subscripts.replace("->", ",").split(",")
    return Dual(
        np.einsum(subscripts, a.value, b.value),
        np.einsum(f"{one}z,{two}->{result}z", a.slope, b.value, optimize=True)
        + np.einsum(f"{one},{two}z->{result}z", a.value, b.slope, optimize=True),
    )


def concatenate(parts: list[Dual]) -> Dual:
    """Along the last axis of the values."""
    axis = parts[0].value.ndim - 1
    return Dual(*(np.concatenate(arrays, axis=axis) for arrays in zip(*parts, strict=True)))


class Neighbours(NamedTuple):
    """Of one atom, nearest first."""

    index: np.ndarray  # [n] atoms, or those that virtual ones belong to
    kind: np.ndarray  # [n]
    d: np.ndarray  # [n, 3] vectors
    between: np.ndarray  # [n, 3] vectors to `index`
    scale: np.ndarray  # [n] Å, of the spin that a virtual atom is moved by; 0: no virtual atom


def evaluate(model: Model, coord, atype, cell=None, fparam=None, aparam=None, spin=None) -> dict[str, np.ndarray]:
    """Results in eV and Å, or in the units of what was fitted.

    coord [n, 3], atype [n] (negative: no atom), cell [3, 3] with lattice vectors as rows, or None or zeros,
    fparam [number], aparam [n, number], spin [n, 3].
    Energies: energy [], force [n, 3], virial [3, 3], atom_energy [n], atom_virial [n, 3, 3], and with spin
    force_mag [n, 3]. Else, for k outputs:
    tensor [k], atom_tensor [n, k], force [k, n, 3], virial [k, 3, 3], atom_virial [k, n, 3, 3].
    """
    coord, atype = np.asarray(coord, float).reshape(-1, 3), np.asarray(atype)
    if any(term.repformer for term in model.terms):
        from reference_messages import evaluate  # which is made of the parts of this file

        return evaluate(model, coord, atype, cell, fparam, aparam)
    seen = atype
    if model.masked:
        seen, cell, aparam = np.where(np.ravel(aparam) == 0, -1, atype), None, None
    neighbours = neighbourhoods(model, coord, seen, cell, spin)
    outputs = model.terms[0].fitting.outputs
    atoms = np.zeros((len(coord), outputs))
    force, atom_virial = np.zeros((len(coord), outputs, 3)), np.zeros((len(coord), outputs, 3, 3))
    magnetic = np.zeros_like(force)
    for i in np.flatnonzero(atype >= 0):
        near = neighbours[i]
        for term in model.terms:
            result = atom(term, atype[i], near.kind, near.d, fparam, None if aparam is None else aparam[i])
            atoms[i] += result.value
            gradient = np.moveaxis(result.slope.reshape(outputs, len(near.d), 3), 1, 0)  # [neighbours, k, 3]
            force[i] += gradient.sum(0)
            np.add.at(force, near.index, -gradient)
            np.add.at(magnetic, near.index, -gradient * near.scale[:, None, None])
            np.add.at(atom_virial, near.index, -gradient[:, :, :, None] * near.between[:, None, None, :])
    factor = 1 / max(np.sum(atype >= 0), 1) if model.terms[0].fitting.intensive else 1.0
    force, atom_virial = factor * np.moveaxis(force, 1, 0), factor * np.moveaxis(atom_virial, 1, 0)
    if model.masked:
        atom_virial[:] = 0  # without a cell there is none
    total, virial = factor * atoms.sum(0), atom_virial.sum(1)
    if model.kind == "ener":
        names = ("energy", "atom_energy", "force", "virial", "atom_virial")
        results = dict(zip(names, (total[0], atoms[:, 0], force[0], virial[0], atom_virial[0]), strict=True))
        return results if model.spin is None else results | {"force_mag": magnetic[:, 0]}
    return {"tensor": total, "atom_tensor": atoms, "force": force, "virial": virial, "atom_virial": atom_virial}


def neighbourhoods(model: Model, coord, atype, cell, spin) -> list[Neighbours]:
    """For each atom all neighbours and images that may be within the cutoff, virtual atoms included."""
    if model.spin is None:
        pairs = real_neighbours(coord, atype, cell, model.cutoff)
        return [Neighbours(j, atype[j], d, d, np.zeros(len(j))) for j, d in pairs]
    scale = np.where(atype >= 0, model.spin[atype], 0.0)
    moved = np.asarray(spin, float) * scale[:, None]
    reach = np.linalg.norm(moved, axis=1).max(initial=0.0)
    result = []
    for i, (j, d) in enumerate(real_neighbours(coord, atype, cell, model.cutoff + reach)):
        j, d = np.append(i, j), np.concatenate([np.zeros((1, 3)), d])  # an atom is a neighbour of its virtual one
        both = Neighbours(
            index=np.repeat(j, 2),
            kind=np.stack([atype[j], atype[j] + len(model.spin)], axis=1).ravel(),
            d=np.stack([d, d + moved[j]], axis=1).reshape(-1, 3),
            between=np.repeat(d, 2, axis=0),
            scale=np.stack([np.zeros(len(j)), scale[j]], axis=1).ravel(),
        )
        order = 1 + np.argsort(np.linalg.norm(both.d[1:], axis=1), kind="stable")
        result.append(Neighbours(*(array[order] for array in both)))
    return result


def real_neighbours(coord, atype, cell, cutoff) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each atom the indices [k] of all neighbours and images within the cutoff and their vectors [k, 3], nearest first."""
    shifts = np.zeros((1, 3))
    if cell is not None and np.any(cell):
        cell = np.asarray(cell, float).reshape(3, 3)
        fraction = coord @ np.linalg.inv(cell)
        coord = (fraction - np.floor(fraction)) @ cell
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # between opposite faces
        reach = [range(-n, n + 1) for n in np.ceil(cutoff / heights).astype(int)]
        shifts = np.array(list(itertools.product(*reach))) @ cell
    result = []
    for i in range(len(coord)):
        d = coord[None] + shifts[:, None] - coord[i]  # [shifts, atoms, 3]
        near = (np.linalg.norm(d, axis=2) <= cutoff) & (atype >= 0)
        near[np.all(shifts == 0, axis=1), i] = False
        near &= atype[i] >= 0
        j = np.nonzero(near)[1]
        order = np.argsort(np.linalg.norm(d[near], axis=1), kind="stable")
        result.append((j[order], d[near][order]))
    return result


def atom(term: Term, centre: int, kinds: np.ndarray, d: np.ndarray, fparam, aparam) -> Dual:
    """Outputs [k] of an atom of type `centre` with neighbours of types `kinds` at d [n, 3]; slopes by all of d."""
    features, rotations = [], []
    for descriptor in term.descriptors:
        kept, empty = slots(descriptor, centre, kinds, d)
        function = three_body if isinstance(descriptor, ThreeBody) else two_body
        if getattr(descriptor, "attention", None):
            from reference_attention import attentive as function  # which is made of the parts of this file
        feature, rotation = function(descriptor, centre, kinds[kept], d[kept], empty)
        features.append(scattered(feature, kept, len(d)))
        if rotation is not None:
            rotations.append(scattered(rotation, kept, len(d)))
    result = fitted(term.fitting, centre, concatenate(features), rotations, fparam, aparam)
    return result if term.pair is None else mixed(term.pair, centre, kinds, d, result)


def mixed(pair: PairTable, centre: int, kinds, d, fitted: Dual) -> Dual:
    """(1 - c) times what is fitted plus c times the pair potential of an atom; slopes by all of d."""
    kept, _ = slots(pair, centre, kinds, d)
    r = np.linalg.norm(d[kept], axis=1)
    k = np.clip(np.floor((r - pair.start) / pair.step).astype(int), 0, pair.table.shape[2])
    u = (r - pair.start) / pair.step - k
    inside = (k < pair.table.shape[2]) & (r < pair.cutoff)
    a3, a2, a1, a0 = np.where(inside, pair.table[centre, kinds[kept], k * inside].T, 0.0)
    energy = pair.bias[centre] + np.sum(((a3 * u + a2) * u + a1) * u + a0) / 2
    by_r = ((3 * a3 * u + 2 * a2) * u + a1) / pair.step / 2

    weight = np.exp(-r / pair.alpha)
    total = max(weight.sum(), 1e-20)
    mean = weight @ r / total
    mean_by_r = weight * (1 - r / pair.alpha + mean / pair.alpha * (weight.sum() > 1e-20)) / total
    u = np.clip((mean - pair.inner) / (pair.outer - pair.inner), 0, 1)
    c = (u**3 * (-6 * u**2 + 15 * u - 10) + 1) * (mean != 0)
    c_by_r = (-30 * u**4 + 60 * u**3 - 30 * u**2) / (pair.outer - pair.inner) * mean_by_r
    by_r = (c * by_r + (energy - fitted.value[0]) * c_by_r)[:, None] * d[kept] / r[:, None]
    mixture = scattered(Dual(np.array([c * energy]), by_r[None]), kept, len(d))
    return mixture + Dual((1 - c) * fitted.value, (1 - c) * fitted.slope)


def slots(descriptor: Descriptor | PairTable, centre: int, kinds, d) -> tuple[np.ndarray, np.ndarray]:
    """Which of the neighbours, nearest first, take a slot, and how many slots of each section stay empty."""
    near = np.linalg.norm(d, axis=1) <= descriptor.cutoff
    seen = np.flatnonzero(near)[: descriptor.total or None]
    section = np.zeros_like(kinds) if len(descriptor.sel) == 1 else kinds
    kept = [seen[section[seen] == kind][:size] for kind, size in enumerate(descriptor.sel)]
    if descriptor.ignored is not None:
        kept = [part[~descriptor.ignored[centre, kinds[part]]] for part in kept]
    empty = np.array([size - len(part) for size, part in zip(descriptor.sel, kept, strict=True)])
    return np.concatenate(kept), empty


def scattered(part: Dual, kept: np.ndarray, neighbours: int) -> Dual:
    """`part` with slopes [..., kept, 3] as one with slopes by the vectors of all neighbours."""
    slope = np.zeros((*part.value.shape, neighbours, 3))
    slope[..., kept, :] = part.slope
    return Dual(part.value, slope.reshape(*part.value.shape, 3 * neighbours))


def two_body(descriptor: TwoBody, centre: int, kinds, d, empty) -> tuple[Dual, Dual | None]:
    """D [features] and rot = X[1:4] [3, channels]; slopes by each neighbour's vector: [..., n, 3]."""
    env, gate = environment(descriptor, centre, d)
    g = embedding(descriptor, descriptor.net[centre, kinds], env[:, :1])
    if gate is not None:
        g += product("n,nm->nm", gate, embedding(descriptor, descriptor.gate_net[centre, kinds], env[:, :1]))
    pad_env = descriptor.pad_env[centre]  # [sections, 4]
    pad = embedding(descriptor, descriptor.pad_net[centre], constant(pad_env[:, :1], 0)).value
    if descriptor.axis == 0:
        if descriptor.mask_net is not None:
            g += embedding(descriptor, descriptor.mask_net[centre, kinds], constant(np.zeros((len(d), 1)), 3))
        total = g.value.sum(0) + empty @ pad
        return Dual(total / descriptor.count, np.moveaxis(g.slope, 0, 1) / descriptor.count), None
    pairs = product("na,nm->nam", env, g)
    value = pairs.value.sum(0) + np.einsum("s,sa,sm->am", empty, pad_env, pad)
    x = Dual(value / descriptor.count, np.moveaxis(pairs.slope, 0, 2) / descriptor.count)
    flat = Dual(x.value, x.slope.reshape(*value.shape, 3 * len(d)))
    feature = product("am,ab->mb", flat, flat[:, : descriptor.axis])
    return Dual(feature.value.ravel(), feature.slope.reshape(descriptor.features, len(d), 3)), x[1:]


def three_body(descriptor: ThreeBody, centre: int, kinds, d, empty) -> tuple[Dual, None]:
    """D [features]; slopes by each neighbour's vector [features, n, 3].

    Every pair n, m is met twice, once as m, n, so the derivative by the first vector alone is the whole.
    """
    env, gate = environment(descriptor, centre, d)
    shown = np.where(descriptor.masked[centre, kinds], 0.0, 1.0)
    env = Dual(env.value[:, 1:] * shown[:, None], env.slope[:, 1:] * shown[:, None, None])
    rows, columns = (index.ravel() for index in np.indices((len(d), len(d))))
    t = product("pa,pa->p", env[rows], constant(env.value[columns], 3))
    pair = kinds[rows], kinds[columns]
    g = embedding(descriptor, descriptor.net[pair], t[:, None])
    if gate is not None:
        both = product("p,p->p", gate[rows], constant(gate.value[columns], 3))
        g += product("p,pm->pm", both, embedding(descriptor, descriptor.gate_net[pair], t[:, None]))
    h = product("p,pm->pm", t, g)
    weight = descriptor.weight[pair] * (1 + (pair[0] == pair[1]))
    slope = (weight[:, None, None] * h.slope).reshape(len(d), len(d), descriptor.channels, 3).sum(1)
    return Dual(weight @ h.value / 2, np.moveaxis(slope, 0, 1)), None


def environment(descriptor: Descriptor, centre: int, d) -> tuple[Dual, Dual | None]:
    """Normalised rows [sw/(r+p), sw d/(r+p)²] [n, 4] and the gate w [n], slopes by each vector: [..., 3]."""
    switch = descriptor.switch
    r = np.linalg.norm(d, axis=1)
    unit = np.divide(d, r[:, None], out=np.zeros_like(d), where=r[:, None] > 0)
    u = (r - switch.smooth) / switch.width
    inside = (r >= switch.smooth) & (r < switch.cutoff)
    value = np.where(inside, u**3 * (-6 * u**2 + 15 * u - 10) + 1, np.where(r < switch.smooth, 1.0, 0.0))
    slope = np.where(inside, (-30 * u**4 + 60 * u**3 - 30 * u**2) / switch.width, 0.0)
    sw = Dual(value, slope[:, None] * unit)
    r = r + switch.protection
    inverse = Dual(1 / r, -unit / r[:, None] ** 2)
    s = product("n,n->n", sw, inverse)
    vector = product("n,na->na", product("n,n->n", s, inverse), Dual(d, np.tile(np.eye(3), (len(d), 1, 1))))
    env = concatenate([s[:, None], vector])
    mean, std = descriptor.mean[centre], descriptor.std[centre]
    gate = None
    if descriptor.gate == "switch":
        gate = sw
    elif descriptor.gate == "surrogate":
        rest = 1 - descriptor.gate_smooth * s.value
        value = 1 - rest**3
        slope = np.where((value >= 0) & (value <= 1), 3 * rest**2 * descriptor.gate_smooth, 0.0)
        gate = Dual(np.clip(value, 0, 1), slope[:, None] * s.slope)
    return Dual((env.value - mean) / std, env.slope / std[:, None]), gate


def embedding(descriptor: Descriptor, variants: np.ndarray, x: Dual) -> Dual:
    """[n, channels] of the variant of each row at x [n, 1]; rows of variant -1 are zero."""
    result = constant(np.zeros((len(variants), descriptor.channels)), x.slope.shape[-1])
    for variant in np.unique(variants[variants >= 0]):
        base = variant if descriptor.base is None else descriptor.base[variant]
        scale = np.ones(descriptor.channels) if descriptor.scale is None else descriptor.scale[variant]
        here = np.flatnonzero(variants == variant)
        g = forward(descriptor.nets[base], x[here])
        result.value[here], result.slope[here] = g.value * scale, g.slope * scale[:, None]
    return result


def fitted(fitting: Fitting, centre: int, feature: Dual, rotations: list[Dual], fparam, aparam) -> Dual:
    """Outputs [k] from the features of all descriptors."""
    count = feature.slope.shape[-1]
    bias = constant(fitting.bias[centre], count)
    if fitting.kind == "polar":
        bias = constant(fitting.bias[centre, 0] * np.eye(3).ravel(), count)
    if fitting.net[centre] < 0:
        return bias
    extras = [fitting.constant[centre]]
    for given, (mean, inverse) in ((fparam, fitting.fparam), (aparam, fitting.aparam)):
        extras.append((np.asarray([] if given is None else given, float) - mean) * inverse)
    x = concatenate([feature, constant(np.concatenate(extras), count)])
    y = forward(fitting.nets[fitting.net[centre]], x[None])[0]
    if fitting.kind not in ("dipole", "polar"):
        return y + bias
    rotation = concatenate(rotations)  # [3, channels]
    channels = rotation.value.shape[1]
    if fitting.kind == "dipole":
        return product("m,cm->c", y, rotation) + bias
    if len(y.value) == channels:
        half = product("m,cm->cm", y, rotation)
    else:
        matrix = Dual(y.value.reshape(channels, channels), y.slope.reshape(channels, channels, count))
        half = product("mn,cm->cn", matrix, rotation)
    tensor = product("cm,dm->cd", half, rotation)
    return Dual(tensor.value.ravel(), tensor.slope.reshape(9, count)) + bias


def forward(net: Net | TabulatedNet, x: Dual) -> Dual:
    """Outputs [n, out] at inputs x [n, in]."""
    if isinstance(net, TabulatedNet):
        value, slope, _ = derivatives(net, x.value[:, 0])
        return Dual(value, slope[:, :, None] * x.slope)
    for layer in net.layers:
        value, slope = activation(layer, x.value @ layer.weight + (0 if layer.bias is None else layer.bias))
        h = Dual(value, slope[:, :, None] * np.einsum("nik,io->nok", x.slope, layer.weight, optimize=True))
        x = h + concatenate([x] * layer.residual) if layer.residual else h
    return x


def activation(layer: Layer, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """activation(y) · idt and its derivative by y."""
    sigmoid = 0.5 * (1 + np.tanh(0.5 * y))
    tanh = np.tanh(y)
    cubic = float(np.float32(0.044715)) if layer.activation == "gelu_tf" else 0.044715
    inner = np.tanh(np.sqrt(2 / np.pi) * (y + cubic * y**3))
    dinner = (1 - inner**2) * np.sqrt(2 / np.pi) * (1 + 3 * cubic * y**2)
    gelu = 0.5 * y * (1 + inner), 0.5 * (1 + inner) + 0.5 * y * dinner
    silu = y * sigmoid, sigmoid * (1 + y * (1 - sigmoid))
    at_three = 1 / (1 + np.exp(-3.0))
    bend = at_three * (1 + 3 * (1 - at_three))  # silu'(3)
    beyond = np.tanh(bend * (y - 3))
    value, slope = {
        "linear": (y, np.ones_like(y)),
        "tanh": (tanh, 1 - tanh**2),
        "gelu": gelu,
        "gelu_tf": gelu,
        "relu": (np.maximum(y, 0), (y > 0) * 1.0),
        "relu6": (np.clip(y, 0, 6), ((y > 0) & (y < 6)) * 1.0),
        "softplus": (np.logaddexp(0, y), sigmoid),
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid)),
        "silu": silu,
        "silut": (
            np.where(y < 3, silu[0], beyond + 3 * at_three),
            np.where(y < 3, silu[1], bend * (1 - beyond**2)),
        ),
    }[layer.activation]
    idt = 1.0 if layer.idt is None else layer.idt
    return value * idt, slope * idt
