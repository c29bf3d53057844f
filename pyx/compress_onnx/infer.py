"""infer - energies and other properties from a model file, called like deepmd.infer."""

import itertools
import os
import threading
import warnings

import numpy as np

from . import arguments
from .engine import RUNTIMES, open_engine
from .model import ModelError

OUTSIDE = ("warn", "raise", "collect", "ignore")
SIDES = {0: "below", 3: "beyond"}  # columns of the counts that are outside a table


class DeepEval:
    """What the classes of this module share.

    runtime: "native" is libdpc, for compressed models; "onnxruntime" runs any of our files, with libdpc's kernels;
    "auto" is native where it can be. threads: how many evaluate; results do not depend on it. device: "cpu", or "cuda:N",
    a GPU (docs/cuda.md).
    outside: what to do when atoms come closer than the model's tables reach (there the model goes on as a straight
    line): "warn", "raise", "collect" in range_counts, or "ignore". Every so many evaluations as the file says
    (`--frequency` of the compression), every one if it says never; by default as the file says, with a warning.
    range_counts [tables, 4]: inputs below each table, in its first sub-table, in the second and beyond it, of all
    evaluations that were looked at; tables as `inspect` lists them. skin: how far beyond the cutoff neighbour lists reach, so that with "native" one
    serves until an atom has moved by half of it; for dynamics. verify: refuse a file that is damaged, by
    its digest. Lengths are in Å, energies in eV.

    In every `eval`, coords: [nframes, natoms * 3], [nframes, natoms, 3] or, for one frame, [natoms, 3], in Å.
    cells: [nframes, 9] or [nframes, 3, 3], rows are lattice vectors; None or all zeros: no periodicity.
    atom_types: [natoms] numbers of types, -1 for an atom that is not there; [nframes, natoms] with mixed_type.
    fparam: [nframes, number] or [number]; aparam: [nframes, natoms, number], [natoms, number] or [number]; where the
    model has such parameters. spin: like coords, in the unit of the training data, where the model has spins. Raises ValueError where an argument cannot be evaluated.
    """

    kind = ""  # of the models it evaluates

    def __init__(self, model_file, *, runtime="auto", threads=1, outside=None, skin=0.0, verify=True, device="cpu"):
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
        if outside not in (None, *OUTSIDE):
            raise ValueError(f"outside must be one of {', '.join(OUTSIDE)}, not {outside!r}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if not 0 <= skin < float("inf"):
            raise ValueError(f"skin must not be negative, got {skin}")
        self.model_file = os.fspath(model_file)
        self.outside = outside
        self.engine = open_engine(self.model_file, runtime, threads, skin, verify, device)
        self.range_counts = None  # nothing looked at so far
        self._every = _interval(outside, self.engine.frequency)
        self._evaluations, self._counting = itertools.count(), threading.Lock()
        if self.engine.kind != self.kind:
            right = CLASSES[self.engine.kind].__name__
            raise ModelError(f"{self.model_file}: is a model of kind {self.engine.kind}, use {right} for it.")

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
        return self.engine.fparams

    def get_dim_aparam(self) -> int:
        return self.engine.aparams

    @property
    def has_spin(self) -> bool:
        """Whether `eval` needs spins."""
        return self.engine.spin is not None

    @property
    def use_spin(self) -> list[bool]:
        """Of each type, whether it has a spin; empty: none has."""
        return [] if self.engine.spin is None else [bool(scale) for scale in self.engine.spin]

    def get_ntypes_spin(self) -> int:
        """Types of virtual atoms among those of `atom_types`: none, here they are inside."""
        return 0

    def _evaluate(self, shapes, coords, cells, atom_types, fparam, aparam, mixed_type, spin=None):
        """Arrays [nframes, *shape] of the file's outputs that `shapes` names; a shape may say "natoms"."""
        types = arguments.types(atom_types, mixed_type, self.get_ntypes())
        coords = arguments.coordinates(coords, types.shape[-1])
        frames, natoms = len(coords), types.shape[1]
        cells = arguments.cells(cells, frames)
        if mixed_type and len(types) != frames:
            raise ValueError(f"atom_types has {len(types)} frames, coords has {frames}")
        fparam = arguments.parameters(fparam, "fparam", (frames, self.engine.fparams))
        aparam = arguments.parameters(aparam, "aparam", (frames, natoms, self.engine.aparams))
        spin = arguments.spins(spin, coords, self.has_spin)
        sizes = {name: [natoms if n == "natoms" else n for n in shape] for name, shape in shapes.items()}
        results = {name: np.zeros((frames, *size)) for name, size in sizes.items()}
        for f, coord in enumerate(coords if natoms else ()):
            cell = None if cells is None else cells[f]
            frame = self.engine.evaluate(
                coord,
                types[f if mixed_type else 0],
                cell,
                fparam[f],
                aparam[f],
                "atom_virial" in shapes,
                None if spin is None else spin[f],
            )
            self._check_range(frame["range"], frame["range_worst"])
            for name, values in results.items():
                values[f] = np.reshape(frame[name], values.shape[1:])
        return results

    def _check_range(self, counts, worst):
        """Count, if it is time, and say so where inputs, counts [tables, 4], were below (0) or beyond (3) a table."""
        if not self._every or next(self._evaluations) % self._every:
            return
        with self._counting:
            self.range_counts = counts + (0 if self.range_counts is None else self.range_counts)
        outside = counts[:, list(SIDES)]
        if self.outside == "collect" or not outside.any():
            return
        _, atom, distance = min(worst[outside.any(axis=1)], key=lambda row: row[2])
        places = [f"{counts[t, side]} {SIDES[side]} table {t}" for t, side in np.argwhere(counts) if side in SIDES]
        message = (
            f"{outside.sum()} pairs are outside the tables of {self.model_file}, one of them at atom {atom:.0f}, "
            f"{distance:.3f} Å apart: the model goes on as a straight line there "
            f"({', '.join(places)})"
        )
        if self.outside == "raise":
            raise ValueError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _interval(outside, frequency):
    """Evaluations between looks at the range; 0: never."""
    if outside == "ignore":
        return 0
    if frequency > 0:
        return frequency
    return 0 if outside is None else 1


class DeepPot(DeepEval):
    """A potential: `DeepPot("model.onnx").eval(coords, cells, atom_types)`; options as in DeepEval."""

    kind = "ener"

    def get_sel_type(self) -> list[int]:
        """The types that have an energy; empty: all."""
        return []

    @property
    def models(self) -> int:
        """How many the file holds: more than one where it is an ensemble."""
        return self.engine.models

    def eval(self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, spin=None):
        """Energy [nframes, 1] eV, force [nframes, natoms, 3] eV/Å and virial [nframes, 9] eV of each frame.

        atomic: return atom_energy [nframes, natoms, 1] and atom_virial [nframes, natoms, 9] too. Models with spin: and
        force_mag [nframes, natoms, 3] eV per unit of spin, and whether an atom has one, mask_mag [nframes, natoms, 1].
        No atoms have no energy. Of an ensemble these are means over its models.
        """
        given = coords, cells, atom_types, fparam, aparam, mixed_type, spin
        return tuple(self._with_mask(self._evaluate(self._shapes(atomic), *given), atom_types).values())

    def eval_models(
        self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False, spin=None
    ):
        """What `eval` gives, by name, and what each model of an ensemble does.

        energies [nframes, models, 1], forces [nframes, models, natoms, 3], virials [nframes, models, 9] and force_devi
        [nframes, natoms]: the standard deviation over the models of each atom's force, zero of a single model.
        """
        each = {"energies": (1,), "forces": ("natoms", 3), "virials": (9,)}
        shapes = {name: (self.models, *shape) for name, shape in each.items()} | {"force_devi": ("natoms",)}
        shapes = self._shapes(atomic) | (shapes if self.models > 1 else {})
        given = coords, cells, atom_types, fparam, aparam, mixed_type, spin
        found = self._with_mask(self._evaluate(shapes, *given), atom_types)
        if self.models == 1:
            found |= {"energies": found["energy"][:, None], "forces": found["force"][:, None]}
            found |= {"virials": found["virial"][:, None], "force_devi": np.zeros(found["force"].shape[:2])}
        return found

    def _shapes(self, atomic):
        """The outputs that `eval` gives; with spin one more follows."""
        shapes = {"energy": (1,), "force": ("natoms", 3), "virial": (9,)}
        if atomic:
            shapes |= {"atom_energy": ("natoms", 1), "atom_virial": ("natoms", 9)}
        return shapes | ({"force_mag": ("natoms", 3)} if self.has_spin else {})

    def _with_mask(self, found, atom_types):
        """With spin: and mask_mag, whether atoms have one, bool [nframes, natoms, 1]."""
        if self.has_spin:
            types = np.broadcast_to(np.asarray(atom_types, dtype=int), found["force_mag"].shape[:2])
            found["mask_mag"] = ((types >= 0) & np.array(self.use_spin)[types])[:, :, None]
        return found


class _DeepTensor(DeepEval):
    @property
    def output_dim(self) -> int:
        return self.engine.outputs

    def eval(self, coords, cells, atom_types, atomic=True, fparam=None, aparam=None, mixed_type=False):
        """The tensor of each atom, [nframes, natoms, output_dim], or with atomic=False their sum [nframes, output_dim]."""
        name, shape = ("atom_tensor", ("natoms", self.output_dim)) if atomic else ("tensor", (self.output_dim,))
        return self._evaluate({name: shape}, coords, cells, atom_types, fparam, aparam, mixed_type)[name]

    def eval_full(self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False):
        """The sum [nframes, output_dim] and of each component force [nframes, output_dim, natoms, 3], virial [.., 9].

        Forces are negative derivatives by positions. atomic: return atom_tensor [nframes, natoms, output_dim] and
        atom_virial [nframes, output_dim, natoms, 9] too.
        """
        k = self.output_dim
        shapes = {"tensor": (k,), "force": (k, "natoms", 3), "virial": (k, 9)}
        if atomic:
            shapes |= {"atom_tensor": ("natoms", k), "atom_virial": (k, "natoms", 9)}
        return tuple(self._evaluate(shapes, coords, cells, atom_types, fparam, aparam, mixed_type).values())


class DeepDipole(_DeepTensor):
    """Dipoles, in the units of the training data; options as in DeepEval."""

    kind = "dipole"


class DeepPolar(_DeepTensor):
    """Polarizabilities, row-major, in the units of the training data; options as in DeepEval."""

    kind = "polar"


class _DeepValues(DeepEval):
    def eval(self, coords, cells, atom_types, atomic=False, fparam=None, aparam=None, mixed_type=False):
        """The values of each frame, (values [nframes, number],); atomic: and those of atoms [nframes, natoms, number]."""
        shapes = {"tensor": (self.engine.outputs,)}
        if atomic:
            shapes["atom_tensor"] = ("natoms", self.engine.outputs)
        return tuple(self._evaluate(shapes, coords, cells, atom_types, fparam, aparam, mixed_type).values())


class DeepDOS(_DeepValues):
    """Densities of states; options as in DeepEval."""

    kind = "dos"

    def get_numb_dos(self) -> int:
        """How many energies there are."""
        return self.engine.outputs


class DeepProperty(_DeepValues):
    """Properties of frames; options as in DeepEval."""

    kind = "property"

    def get_task_dim(self) -> int:
        """How many properties there are."""
        return self.engine.outputs


CLASSES = {each.kind: each for each in (DeepPot, DeepDipole, DeepPolar, DeepDOS, DeepProperty)}


def open_model(model_file, **options):
    """The DeepPot, DeepDipole, ... of a file, by its kind; options as in DeepEval."""
    return CLASSES[open_engine(os.fspath(model_file)).kind](model_file, **options)
