"""arguments - what callers hand to DeepPot and its relatives, as arrays of fixed shapes."""

import numpy as np


def _numbers(values, name):
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers") from None


def types(atom_types, mixed_type, ntypes):
    """int32 [1 or nframes, natoms]"""
    numbers = _numbers(atom_types, "atom_types")
    if numbers.ndim != (2 if mixed_type else 1):
        form = "[nframes, natoms] with mixed_type" if mixed_type else "[natoms]"
        raise ValueError(f"atom_types must have shape {form}, not {list(numbers.shape)}")
    bad = ~((numbers >= -1) & (numbers < ntypes) & (numbers == np.round(numbers)))
    if bad.any():
        raise ValueError(
            f"atom_types must be whole numbers from 0 to {ntypes - 1}, or -1 for no atom, not {numbers[bad][0]:g}"
        )
    return np.atleast_2d(numbers).astype(np.int32)


def coordinates(coords, natoms):
    """float64 [nframes, natoms, 3]"""
    coords = _numbers(coords, "coords")
    shape = coords.shape
    many = shape[1:] in ((natoms, 3), (3 * natoms,))
    if not many and shape not in ((natoms, 3), (3 * natoms,)):
        raise ValueError(
            f"coords must have shape [nframes, {3 * natoms}] or [nframes, {natoms}, 3] for {natoms} atom types, "
            f"not {list(shape)}"
        )
    coords = coords.reshape(shape[0] if many else 1, natoms, 3)
    if not np.isfinite(coords).all():
        frame, atom = np.argwhere(~np.isfinite(coords).all(axis=2))[0]
        raise ValueError(f"coords of atom {atom} in frame {frame} are {coords[frame, atom].tolist()}, not finite")
    return coords


def cells(cells, nframes):
    """float64 [nframes, 3, 3], or None"""
    if cells is None:
        return None
    cells = _numbers(cells, "cells")
    if cells.size != 9 * nframes or cells.shape[-1:] not in ((3,), (9,)):
        raise ValueError(f"cells must have shape [{nframes}, 9] for {nframes} frames, not {list(cells.shape)}")
    cells = cells.reshape(nframes, 3, 3)
    for frame, cell in enumerate(cells):
        if not np.isfinite(cell).all():
            raise ValueError(f"the cell of frame {frame} is not finite")
        volume = abs(np.linalg.det(cell))
        if cell.any() and volume <= 1e-12 * np.prod(np.linalg.norm(cell, axis=1)):
            raise ValueError(f"the cell of frame {frame} is singular: its vectors lie in a plane")
    return cells


def spins(spin, coords, known):
    """float64 like coords [nframes, natoms, 3], or None for a model whose spins are not `known`."""
    if not known:
        if spin is not None:
            raise ValueError("spin is given, but this model has none")
        return None
    if spin is None:
        raise ValueError("this model needs spin, three numbers for each atom")
    spin = _numbers(spin, "spin")
    if spin.size != coords.size:
        raise ValueError(f"spin must have shape {list(coords.shape)}, not {list(spin.shape)}")
    if not np.isfinite(spin).all():
        raise ValueError("spin has numbers that are not finite")
    return spin.reshape(coords.shape)


def parameters(values, name, shape):
    """fparam or aparam of every frame, float64 `shape`; `values` may leave out what all frames, or all atoms, share."""
    width = shape[-1]
    if values is None:
        if width:
            raise ValueError(
                f"this model needs {name}, {width} numbers for each {'atom' if len(shape) == 3 else 'frame'}"
            )
        return np.zeros(shape)
    if not width:
        raise ValueError(f"{name} is given, but this model takes none")
    numbers = _numbers(values, name)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} has numbers that are not finite")
    for fewer in range(len(shape)):
        if numbers.size == np.prod(shape[fewer:]):
            return np.broadcast_to(numbers.reshape(shape[fewer:]), shape)
    raise ValueError(f"{name} must have shape {list(shape)}, not {list(numbers.shape)}")
