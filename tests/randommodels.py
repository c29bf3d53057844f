"""randommodels - small models with random weights, and atoms to evaluate them on."""

from itertools import pairwise

import numpy as np
from compress_onnx.model import EnergyFitting, Layer, Model, Net, SeA, Source, Switch

CUTOFF = 4.0
CELLS = {
    "open": np.zeros((3, 3)),
    "triclinic": np.array([[5.6, 0.3, 0.0], [0.7, 5.2, -0.4], [0.1, -0.6, 6.1]]),
    "small": np.array([[2.9, 0.4, 0.0], [0.2, 3.3, 0.3], [-0.5, 0.1, 2.6]]),  # smaller than the cutoff
}


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


def model(
    seed=0, *, activation="tanh", idt=False, one_side=False, total_first=True, sel=(30, 40), exclude=(), mean=0.1
) -> Model:
    """Types A, B, ...; `mean` scales the environment's mean, which empty slots show."""
    rng = np.random.default_rng(seed)
    types, axis, width = len(sel), 3, 8
    numbers = np.tile(np.arange(types), (types, 1)) if one_side else np.arange(types**2).reshape(types, types)
    used = numbers.copy()
    for pair in exclude:
        used[pair] = used[pair[::-1]] = -1
    descriptor = SeA(
        switch=Switch(0.5, CUTOFF, CUTOFF - 0.5),
        sel=tuple(sel),
        total_first=total_first,
        count=float(sum(sel)) / 4,
        mean=mean * rng.normal(size=(types, 4)),
        std=0.3 + 0.2 * rng.random((types, 4)),
        nets=tuple(net(rng, [1, 2, 4, width], activation, idt) for _ in range(numbers.max() + 1)),
        net=used,
        pad_net=numbers,
        axis=axis,
        precision="float64",
        type_one_side=one_side,
        exclude_types=tuple(exclude),
    )
    widths = [width * axis, width * axis, 5, 10, 1]
    nets = tuple(net(rng, widths, activation, idt, fitting=True) for _ in sel)
    source = Source("random", "native .dp", "0" * 64)
    return Model(tuple("ABCDEF"[:types]), descriptor, EnergyFitting(nets, rng.normal(size=types), "float64"), source)


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
