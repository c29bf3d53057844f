"""reference - the definition of an se_e2_a energy model in float64 numpy: slow, obvious, used to check the product.

Everything is evaluated slot by slot as the original does: each atom has sum(sel) slots in blocks of one neighbour
type, empty ones included. Derivatives are carried forward beside values, so no formula is differentiated by hand twice.
"""

import itertools

import numpy as np
from compress_onnx.model import Layer, Model, Net, SeA


def evaluate(model: Model, coord: np.ndarray, atype: np.ndarray, cell: np.ndarray | None = None) -> dict:
    """Energy [], force [n, 3], virial [3, 3], atom_energy [n], atom_virial [n, 3, 3] in eV and Å.

    coord [n, 3], atype [n] (negative: no atom), cell [3, 3] with lattice vectors as rows, or None or zeros.
    """
    coord, atype = np.asarray(coord, float).reshape(-1, 3), np.asarray(atype)
    neighbours = all_neighbours(coord, atype, cell, model.descriptor.switch.cutoff)
    atom_energy, force = np.zeros(len(coord)), np.zeros((len(coord), 3))
    atom_virial = np.zeros((len(coord), 3, 3))
    for i in np.flatnonzero(atype >= 0):
        j, d = slots(model.descriptor, atype, *neighbours[i])
        filled = j >= 0
        atom_energy[i], gradient = atom(model, atype[i], d, filled)
        j, d, gradient = j[filled], d[filled], gradient[filled]
        force[i] += gradient.sum(0)
        np.add.at(force, j, -gradient)
        np.add.at(atom_virial, j, -gradient[:, :, None] * d[:, None, :])
    return {
        "energy": atom_energy.sum(),
        "force": force,
        "virial": atom_virial.sum(0),
        "atom_energy": atom_energy,
        "atom_virial": atom_virial,
    }


def all_neighbours(coord, atype, cell, cutoff) -> list[tuple[np.ndarray, np.ndarray]]:
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
        j = np.nonzero(near)[1]
        order = np.argsort(np.linalg.norm(d[near], axis=1), kind="stable")
        result.append((j[order], d[near][order]))
    return result


def slots(descriptor: SeA, atype, j, d) -> tuple[np.ndarray, np.ndarray]:
    """What fills the slots: atom index [sum(sel)] or -1, vector [sum(sel), 3]. Too many neighbours: see SeA.total_first."""
    if descriptor.total_first:
        j, d = j[: sum(descriptor.sel)], d[: sum(descriptor.sel)]
    index, vector = [], []
    for kind, size in enumerate(descriptor.sel):
        kept = np.flatnonzero(atype[j] == kind)[:size]
        index += [*j[kept], *[-1] * (size - len(kept))]
        vector += [*d[kept], *[np.zeros(3)] * (size - len(kept))]
    return np.array(index), np.array(vector).reshape(-1, 3)


def atom(model: Model, centre: int, d: np.ndarray, filled: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy of an atom of type `centre` and its derivative [slots, 3] by the vectors d [slots, 3] of filled slots."""
    descriptor = model.descriptor
    env, denv = environment(descriptor, d, filled)
    env, denv = (env - descriptor.mean[centre]) / descriptor.std[centre], denv / descriptor.std[centre][:, None]

    g, dg = np.zeros((len(d), descriptor.nets[0].width)), np.zeros((len(d), descriptor.nets[0].width))
    weight = np.ones(len(d))  # 0 for slots that contribute nothing
    first = 0
    for kind, size in enumerate(descriptor.sel):
        for table, here in ((descriptor.net, True), (descriptor.pad_net, False)):
            of_block = first + np.flatnonzero(filled[first : first + size] == here)
            if table[centre, kind] < 0:
                weight[of_block] = 0
            else:
                net = descriptor.nets[table[centre, kind]]
                y, slope = forward(net, env[of_block, :1], np.ones((len(of_block), 1, 1)))
                g[of_block], dg[of_block] = y, slope[:, :, 0]
        first += size

    axis = descriptor.axis
    t = np.einsum("n,na,nm->am", weight, env, g) / descriptor.count
    feature = np.einsum("am,ab->mb", t, t[:, :axis]).reshape(1, -1)
    energy, slope = forward_gradient(model.fitting.nets[centre], feature)
    slope = slope.reshape(-1, axis)
    dt = t[:, :axis] @ slope.T  # dE/dt
    dt[:, :axis] += t @ slope
    by_env = weight[:, None] * (g @ dt.T) / descriptor.count
    by_env[:, 0] += weight * np.einsum("na,am,nm->n", env, dt, dg) / descriptor.count
    return energy + model.fitting.bias[centre], np.einsum("na,nax->nx", by_env, denv)


def environment(descriptor: SeA, d, filled) -> tuple[np.ndarray, np.ndarray]:
    """Rows [sw/(r+p), sw d/(r+p)²], zero where empty, and their derivatives [slots, 4, 3]."""
    switch = descriptor.switch
    env, denv = np.zeros((len(d), 4)), np.zeros((len(d), 4, 3))
    d = d[filled]
    r = np.linalg.norm(d, axis=1)
    u = (r - switch.smooth) / switch.width
    inside = (r >= switch.smooth) & (r < switch.cutoff)
    sw = np.where(inside, u**3 * (-6 * u**2 + 15 * u - 10) + 1, np.where(r < switch.smooth, 1.0, 0.0))
    dsw = np.where(inside, (-30 * u**4 + 60 * u**3 - 30 * u**2) / switch.width, 0.0)
    rp = r + switch.protection
    unit = d / r[:, None]
    env[filled] = np.column_stack([sw / rp, (sw / rp**2)[:, None] * d])
    radial = dsw / rp - sw / rp**2  # derivatives by r
    angular = dsw / rp**2 - 2 * sw / rp**3
    by_d = (sw / rp**2)[:, None, None] * np.eye(3) + angular[:, None, None] * d[:, :, None] * unit[:, None, :]
    denv[filled] = np.concatenate([(radial[:, None] * unit)[:, None, :], by_d], axis=1)
    return env, denv


def forward(net: Net, x: np.ndarray, dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [n, out] at inputs x [n, in], and their derivatives [n, out, k] where the inputs' are dx [n, in, k]."""
    for layer in net.layers:
        h, slope = activation(layer, x @ layer.weight + (0 if layer.bias is None else layer.bias))
        dh = slope[:, :, None] * np.einsum("nik,io->nok", dx, layer.weight)
        if layer.residual:
            h = h + np.concatenate([x] * layer.residual, axis=1)
            dh = dh + np.concatenate([dx] * layer.residual, axis=1)
        x, dx = h, dh
    return x, dx


def forward_gradient(net: Net, x: np.ndarray) -> tuple[float, np.ndarray]:
    """The one output of a net at x [1, in] and its derivatives [in], by the chain rule from the last layer back."""
    jacobians = []
    for layer in net.layers:
        h, slope = activation(layer, x @ layer.weight + (0 if layer.bias is None else layer.bias))
        jacobian = layer.weight * slope
        if layer.residual:
            h = h + np.concatenate([x] * layer.residual, axis=1)
            jacobian = jacobian + np.concatenate([np.eye(x.shape[1])] * layer.residual, axis=1)
        jacobians.append(jacobian)
        x = h
    gradient = np.ones(1)
    for jacobian in reversed(jacobians):
        gradient = jacobian @ gradient
    return x.item(), gradient


def activation(layer: Layer, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """activation(y) · idt and its derivative by y."""
    sigmoid = 0.5 * (1 + np.tanh(0.5 * y))
    tanh = np.tanh(y)
    cubic = float(np.float32(0.044715)) if layer.activation == "gelu_tf" else 0.044715
    inner = np.tanh(np.sqrt(2 / np.pi) * (y + cubic * y**3))
    dinner = (1 - inner**2) * np.sqrt(2 / np.pi) * (1 + 3 * cubic * y**2)
    gelu = 0.5 * y * (1 + inner), 0.5 * (1 + inner) + 0.5 * y * dinner
    value, slope = {
        "linear": (y, np.ones_like(y)),
        "tanh": (tanh, 1 - tanh**2),
        "gelu": gelu,
        "gelu_tf": gelu,
        "relu": (np.maximum(y, 0), (y > 0) * 1.0),
        "relu6": (np.clip(y, 0, 6), ((y > 0) & (y < 6)) * 1.0),
        "softplus": (np.logaddexp(0, y), sigmoid),
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid)),
        "silu": (y * sigmoid, sigmoid * (1 + y * (1 - sigmoid))),
    }[layer.activation]
    idt = 1.0 if layer.idt is None else layer.idt
    return value * idt, slope * idt
