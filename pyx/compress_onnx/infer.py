"""infer - energies, forces and virials from a model file, called like deepmd.infer."""

from __future__ import annotations

import json
import os
import threading
import warnings

import numpy as np

from .model import ModelError

RUNTIMES = ("auto", "native", "onnxruntime")


class DeepPot:
    """A potential: `DeepPot("model.onnx").eval(coords, cells, atom_types)`.

    runtime: "native" is libdpc, for compressed models; "onnxruntime" runs any of our files, with libdpc's kernels;
    "auto" is native where it can be. threads: how many evaluate; results do not depend on it.
    outside: what to do when atoms come closer than the model's tables reach (there the model goes on as a straight
    line): "warn", "raise" or "ignore". skin: how far beyond the cutoff neighbour lists reach, so that with "native" one
    serves until an atom has moved by half of it; for dynamics. Lengths are in Å, energies in eV.
    """

    def __init__(self, model_file, *, runtime="auto", threads=1, outside="warn", skin=0.0):
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
        if outside not in ("warn", "raise", "ignore"):
            raise ValueError(f"outside must be warn, raise or ignore, not {outside!r}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if not 0 <= skin < float("inf"):
            raise ValueError(f"skin must not be negative, got {skin}")
        self.model_file = os.fspath(model_file)
        self.outside = outside
        self.engine = _open(self.model_file, runtime, threads, skin)

    @property
    def runtime(self) -> str:
        """What evaluates: "native" or "onnxruntime"."""
        return self.engine.runtime

    def get_type_map(self) -> list[str]:
        """Names of the types, in the order of their numbers."""
        return list(self.engine.type_map)

    def get_ntypes(self) -> int:
        return len(self.engine.type_map)

    def get_rcut(self) -> float:
        """The cutoff in Å."""
        return self.engine.cutoff

    def get_dim_fparam(self) -> int:
        return 0

    def get_dim_aparam(self) -> int:
        return 0

    def get_sel_type(self) -> list[int]:
        """The types that have an energy; empty: all."""
        return []

    def eval(self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False):
        """Energy [nframes, 1] eV, force [nframes, natoms, 3] eV/Å and virial [nframes, 9] eV of each frame.

        coords: [nframes, natoms * 3], [nframes, natoms, 3] or, for one frame, [natoms, 3], in Å.
        cells: [nframes, 9] or [nframes, 3, 3], rows are lattice vectors; None or all zeros: no periodicity.
        atom_types: [natoms] numbers of types, -1 for an atom that is not there; [nframes, natoms] with mixed_type.
        atomic: return atom_energy [nframes, natoms, 1] and atom_virial [nframes, natoms, 9] too.
        No atoms have no energy. Raises ValueError where an argument cannot be evaluated.
        """
        for name, value in (("fparam", fparam), ("aparam", aparam)):
            if value is not None:
                raise ValueError(f"{name} is given, but this model takes none")
        types = _types(atom_types, mixed_type, self.get_ntypes())
        coords = _coordinates(coords, types.shape[-1])
        cells = _cells(cells, len(coords))
        if mixed_type and len(types) != len(coords):
            raise ValueError(f"atom_types has {len(types)} frames, coords has {len(coords)}")
        natoms = types.shape[1]
        shapes = {"energy": (1,), "force": (natoms, 3), "virial": (9,)}
        if atomic:
            shapes |= {"atom_energy": (natoms, 1), "atom_virial": (natoms, 9)}
        results = {name: np.zeros((len(coords), *shape)) for name, shape in shapes.items()}
        for f, coord in enumerate(coords if natoms else ()):
            frame = self.engine.evaluate(
                coord, types[f if mixed_type else 0], None if cells is None else cells[f], atomic
            )
            self._check_range(frame["range"], frame["range_worst"])
            for name, values in results.items():
                values[f] = np.reshape(frame[name], values.shape[1:])
        return tuple(results.values())

    def _check_range(self, counts, worst):
        """Say so where table inputs, counts [tables, 4], were below (0) or beyond (3) a table."""
        outside = counts[:, 0] + counts[:, 3]
        if self.outside == "ignore" or not outside.any():
            return
        _, atom, distance = min(worst[outside > 0], key=lambda row: row[2])
        message = (
            f"{outside.sum()} pairs are outside the tables of {self.model_file}, one of them at atom {atom:.0f}, "
            f"{distance:.3f} Å apart: the model goes on as a straight line there"
        )
        if self.outside == "raise":
            raise ValueError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _open(path, runtime, threads, skin):
    if runtime == "onnxruntime":
        return _Onnxruntime(path, threads)
    if runtime == "native":
        return _Native(path, threads, skin)
    try:
        return _Native(path, threads, skin)
    except (ImportError, ModelError):  # not built, or not for libdpc: onnxruntime says what is wrong with the rest
        return _Onnxruntime(path, threads)


class _Native:
    runtime = "native"

    def __init__(self, path, threads, skin):
        from . import _core

        self.threads, self.skin = threads, skin
        self.model = _core.Model(path)
        self.type_map = self.model.type_map
        self.cutoff = self.model.cutoff
        self.create_workspace = _core.Workspace
        self.of_thread = threading.local()

    def evaluate(self, coord, types, cell, atomic):
        if not hasattr(self.of_thread, "workspace"):
            self.of_thread.workspace = self.create_workspace(self.model)
        options = {"threads": self.threads, "skin": self.skin, "atomic": atomic}
        return self.of_thread.workspace.compute(coord, types, cell, **options)


class _Onnxruntime:
    runtime = "onnxruntime"

    def __init__(self, path, threads):
        from . import ort

        self.ort = ort
        self.threads = threads
        self.session = ort.session(path, threads=threads)
        self.outputs = [output.name for output in self.session.get_outputs()]
        properties = self.session.get_modelmeta().custom_metadata_map
        try:
            self.type_map = tuple(json.loads(properties["compress_onnx.type_map"]))
            self.cutoff = float(properties["compress_onnx.cutoff"])
            self.pairs = properties["compress_onnx.interface"] == "pairs"
        except KeyError as error:
            raise ModelError(f"{path}: an ONNX model, but none of ours: metadata {error} is missing.") from None

    def evaluate(self, coord, types, cell, atomic):
        feed = {"coord": coord, "atype": types, "cell": np.zeros((3, 3)) if cell is None else cell}
        if self.pairs:
            from . import _core

            pairs = _core.Neighbours().build(coord, cell, self.cutoff, threads=self.threads).arrays()
            feed |= dict(zip(("pair_first", "pair_index", "pair_shift"), pairs))
        try:
            return dict(zip(self.outputs, self.session.run(self.outputs, feed)))
        except self.ort.ORT_ERRORS as error:
            raise ValueError(self.ort.reason(error)) from error


# ---- arguments ----------------------------------------------------------------------


def _numbers(values, name):
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers") from None


def _types(atom_types, mixed_type, ntypes):
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


def _coordinates(coords, natoms):
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


def _cells(cells, nframes):
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
