"""flat - attention layers and repformers as named tensors, by the names of their fields, and back."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass

import numpy as np

from .model import ACTIVATIONS, ModelError, Switch

_NUMBERED = "layers"  # fields of this name are numbered instead
_RENAMED = {"mean": "env_mean", "std": "env_std"}  # as descriptors call them
_F64, _I64 = np.dtype(np.float64), np.dtype(np.int64)


def flattened(prefix: str, part: object, real: np.dtype) -> dict[str, np.ndarray]:
    """Tensors of a dataclass: arrays and numbers in `real`, statistics in float64, all else int64; none of what is None."""
    tensors = {}
    for field in fields(part):
        name, value = prefix + _RENAMED.get(field.name, field.name), getattr(part, field.name)
        if field.name == _NUMBERED:
            for number, one in enumerate(value):
                tensors |= flattened(f"{prefix}{number}.", one, real)
        elif isinstance(value, Switch):
            tensors[name] = np.array([value.smooth, value.cutoff, value.width, value.protection], _F64)
        elif is_dataclass(value):
            tensors |= flattened(f"{name}.", value, real)
        elif isinstance(value, str):
            tensors[name] = np.array(ACTIVATIONS.index(value), _I64)
        elif isinstance(value, (bool, int, tuple)) or getattr(value, "dtype", None) == bool:
            tensors[name] = np.array(value, _I64)
        elif value is not None:
            tensors[name] = np.array(value, _F64 if field.name in _RENAMED else real)
    return tensors


def weights(prefix: str, part: object, real: np.dtype) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Kind and shape of those tensors that a function computes with."""
    return {
        name: (tensor.dtype, tensor.shape)
        for name, tensor in flattened(prefix, part, real).items()
        if tensor.dtype.kind == "f"
    }


def architecture(part: object) -> tuple:
    """What the functions of two parts have in common if it is equal: all options, and the shapes of all arrays."""
    return tuple(
        (name, tensor.shape if tensor.dtype.kind == "f" else tensor.tobytes())
        for name, tensor in flattened("", part, _F64).items()
    )


def restored(kind: type, prefix: str, tensors: dict[str, np.ndarray]) -> typing.Any:
    """The dataclass of this kind that was flattened with `prefix`; arrays in float64."""
    hints = typing.get_type_hints(kind)
    values = {}
    for field in fields(kind):
        name = prefix + _RENAMED.get(field.name, field.name)
        given = typing.get_args(hints[field.name])
        needed = not isinstance(hints[field.name], types.UnionType)
        values[field.name] = _value(field.name, hints[field.name] if needed else given[0], name, prefix, tensors)
        if needed and values[field.name] is None:
            raise ModelError(f"there is no tensor {name}: the file is damaged")
    return kind(**values)


def _value(field: str, hint: typing.Any, name: str, prefix: str, tensors: dict[str, np.ndarray]) -> object:
    """Of one field, None where nothing is stored."""
    if field == _NUMBERED:
        one, found = typing.get_args(hint)[0], []
        while _begins(f"{prefix}{len(found)}.", tensors):
            found.append(restored(one, f"{prefix}{len(found)}.", tensors))
        return tuple(found)
    if is_dataclass(hint) and hint is not Switch:
        return restored(hint, f"{name}.", tensors) if _begins(f"{name}.", tensors) else None
    if name not in tensors:
        return None
    stored = tensors[name]
    if hint is Switch:
        return Switch(*stored.tolist())
    if hint is str:
        return ACTIVATIONS[stored.item()]
    if hint is np.ndarray:
        return stored.astype(_F64 if stored.dtype.kind == "f" else bool)
    return tuple(stored.tolist()) if stored.ndim else hint(stored.item())


def _begins(prefix: str, tensors: dict[str, np.ndarray]) -> bool:
    return any(name.startswith(prefix) for name in tensors)
