"""trees - what all parts of DeePMD-kit's native dictionaries have in common: versions, extras, pairs and nets."""

from __future__ import annotations

import numpy as np

from ..model import Layer, ModelError, Net, Normalisation, TabulatedNet
from . import parts


def version(tree: dict, part: str, newest: int) -> None:
    found = tree.get("@version", 1)
    if not 1 <= found <= newest:
        raise ModelError(f"the {part} has version {found}, newer than {newest}: update compress-onnx")


def absent(tree: dict, part: str, *keys: str) -> None:
    """Refuse keys that are set; false, zero, empty and missing ones change nothing."""
    for key in keys:
        if tree.get(key):
            raise parts.unsupported(f"{key} of the {part}")


def excluded_pairs(pairs: list | None, types: int) -> np.ndarray:
    """bool [types, types], symmetric, from a list of pairs of types."""
    mask = np.zeros((types, types), dtype=bool)
    for a, b in pairs or ():
        mask[a, b] = mask[b, a] = True
    return mask


def nets(collection: dict, kind: str, types: int) -> tuple[Net, ...]:
    """All nets of a collection: one, or one for each type, or for each pair with the first type counting fastest."""
    version(collection, f"collection of {kind}s", 1)
    found = collection["networks"]
    if len(found) != types ** int(collection["ndim"]):
        raise ModelError(f"there are {len(found)} {kind}s for {types} types: the file is damaged")
    return tuple(net(one, f"{kind} {number}") for number, one in enumerate(found))


def only_net(collection: dict, kind: str, types: int) -> Net:
    """The net that all types share."""
    if int(collection["ndim"]) != 0:
        raise ModelError(f"there is more than one {kind}: the file is damaged")
    return nets(collection, kind, types)[0]


def net(tree: dict | TabulatedNet | None, name: str) -> Net | TabulatedNet:
    if isinstance(tree, TabulatedNet):
        return tree
    if tree is None:
        raise parts.unsupported(f"a file without {name}")
    version(tree, name, 2)
    return Net(tuple(layer(one, f"layer {number} of {name}") for number, one in enumerate(tree["layers"])))


def layer(tree: dict, where: str) -> Layer:
    version(tree, where, 2)
    parts.precision(tree["precision"], where)
    values = tree["@variables"]
    # A shortcut exists wherever widths allow it, in fitting nets and first layers too.
    residual = parts.shortcut(np.shape(values["w"])) if tree["resnet"] else 0
    activation = parts.activation(tree["activation_function"])
    return parts.layer(values["w"], values.get("b"), values.get("idt"), activation, residual, where)


def normalisation(tree: dict, where: str) -> Normalisation:
    version(tree, where, 1)
    weight, bias = (parts.array(tree["@variables"][name], f"{name} of {where}") for name in ("w", "b"))
    return Normalisation(weight, bias, float(tree["eps"]))
