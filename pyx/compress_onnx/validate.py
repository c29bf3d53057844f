"""validate - a compressed file against the model it was made from: energies, forces and virials of both.

Where a model gives something else than energies, errors count relative to its largest value of one atom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from . import bound, dynamics, fold
from .bodies.ensemble import EACH
from .bound import Bound
from .dynamics import Drift
from .engine import open_engine
from .fold import TermFold
from .model import Model, ModelError
from .openmm import Force
from .probe import Probe, force_error, force_scale, probes
from .system import PARAMETERS, Frames, numbered_sets
from .tabulate import Table, is_tabulated, make, model_grids, model_nets

FORCE_TOLERANCE = {"float64": 1e-8, "float32": 5e-4, "mixed": 5e-4}  # eV/Å
FULL_SEEDS = range(5)
SYSTEM_FRAMES = 20
STEP = 1e-3  # Å, of the finite differences
STRIDES = (5.0, 0.0025)  # of an original that has tables: extrapolation and strides of the nets that it has beside them
SELF_TEST_ATOMS = 8
DIFFERENCES = 12  # components of forces that are checked so
UNDIFFERENTIATED = frozenset({"dos", "property"})  # kinds of models without forces


@dataclass(frozen=True)
class Validation:
    """Differences between original and compressed: energies and virials in eV per atom, forces in eV/Å.

    Of a model of another kind: its sums, their negative derivatives and virials, relative to the largest atom's value.
    """

    frames: int
    atoms: int
    energy_max: float
    energy_rms: float
    force_max: float
    force_rms: float
    virial_max: float
    virial_rms: float
    error: float  # the largest of the three, relative to a hundredth of the forces where these are above 100 eV/Å
    tolerance: float  # of error
    gradient: float | None = None  # of the energy against force, relative to the largest force; None: not looked at
    gradient_tolerance: float = 1e-6
    nve: Drift | None = None  # of dynamics at constant energy; None: not looked at

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance and (self.gradient or 0) <= self.gradient_tolerance

    def to_json(self) -> dict:
        """Plain data."""
        return asdict(self) | {"ok": self.ok}


class Bodies:
    """A graph in float64, run by onnxruntime without our kernels."""

    def __init__(self, proto):
        from . import ort

        self._session = ort.session(proto.SerializeToString(), library=False)
        self._names = [output.name for output in self._session.get_outputs()]

    def evaluate(self, frame: Probe) -> dict[str, np.ndarray]:
        """The graph's outputs."""
        return dict(zip(self._names, self._session.run(self._names, frame.inputs), strict=True))


class Original(Bodies):
    """The uncompressed model."""

    def __init__(self, model: Model):
        from . import graph

        model = model.in_float64()
        if is_tabulated(model):
            grids = model_grids(model, model.min_distance or 1.0, *STRIDES)
            tables = list(map(make, model_nets(model), grids))
            super().__init__(graph.compressed(model, tables, precision="float64"))
        else:
            super().__init__(graph.uncompressed(model))


class Compressed:
    """A compressed file, run by whatever runs it best here; of an ensemble, the model of that number."""

    def __init__(self, path: str | Path, model: int = 0):
        from .onnxfile import read_metadata

        facts = read_metadata(path)
        self._model = model if "models" in facts else None
        self._engine = Force(path) if facts["interface"] == "openmm" else open_engine(path)

    def evaluate(self, frame: Probe) -> dict[str, np.ndarray]:
        """The file's outputs."""
        cell = frame.cell if frame.cell.any() else None
        given = frame.coord, frame.atype, cell, frame.fparam, frame.aparam
        result = self._engine.evaluate(*given, atomic=False, spin=frame.spin)
        own = {} if self._model is None else {name: result[each][self._model] for each, name in EACH.items()}
        return result | own


@dataclass(frozen=True)
class Scale:
    """What errors of a kind of model are measured in."""

    kind: str  # of the model
    unit: float = 1.0  # eV/Å, or the largest value of one atom

    @classmethod
    def of(cls, kind: str, results: list[dict]) -> Scale:
        """From what the original gives."""
        if kind == "ener":
            return cls(kind)
        return cls(kind, max(_largest(result["atom_tensor"]) for result in results) or 1.0)

    def total(self, result: dict) -> np.ndarray:
        """Of a frame, [outputs]."""
        return np.reshape(result["energy" if self.kind == "ener" else "tensor"], -1) / self.unit

    def force(self, result: dict) -> np.ndarray:
        """Its negative derivatives, [outputs, n, 3]; none of densities of states and properties."""
        if self.kind in UNDIFFERENTIATED:
            return np.zeros((0, len(result["atom_tensor"]), 3))
        force = np.asarray(result["force"]) / self.unit
        return force[None] if self.kind == "ener" else force

    def virial(self, result: dict) -> np.ndarray:
        """[outputs * 9]; likewise, and none of files that give none."""
        return np.ravel(result.get("virial", ())) / self.unit

    def response(self, result: dict) -> np.ndarray:
        """All that is measured of each atom, [n, numbers]."""
        force = self.force(result)
        columns = force.transpose(1, 0, 2).reshape(force.shape[1], -1)
        return columns if self.kind == "ener" else np.hstack([result["atom_tensor"] / self.unit, columns])


class Reference:
    """Frames and what the original says about them."""

    def __init__(self, model: Model, frames: list[Probe], progress: Callable[[str], None] = lambda message: None):
        self.model, self.frames, self.results = model, frames, []
        self._original = Original(model)
        for k, frame in enumerate(frames):
            progress(f"original on frame {k + 1} of {len(frames)}")
            self.results.append(self._original.evaluate(frame))
        self.scale = Scale.of(model.kind, self.results)

    @classmethod
    def generated(cls, model: Model, distance: float) -> Reference:
        """On the probe geometries."""
        return cls(model, probes(model, distance))

    @property
    def atoms(self) -> int:
        return sum(len(frame.coord) for frame in self.frames)

    def force_errors(self, tables: list[Table]) -> tuple[float, float]:
        """What these tables add to the forces, in float64, without and with contacts: probe.force_error."""
        worst = [0.0, 0.0]
        for frame, result, found in zip(self.frames, self.results, self.tabulated(tables), strict=True):
            error = self._error(frame, result, found)
            worst[frame.contacts] = max(worst[frame.contacts], error)
        return worst[0], worst[1]

    def force_bound(self, tables: list[Table], bounds: list[Bound]) -> float:
        """What tables that err by all of `bounds` could add to the forces, measured as in force_errors."""
        expected = [self.scale.response(result) for result in self.results]
        scales = [force_scale(frame, forces) for frame, forces in zip(self.frames, expected, strict=True)]

        def responses(changed: list[Table]) -> list[np.ndarray]:
            found = map(self.scale.response, self.tabulated(changed))
            return [forces / scale for forces, scale in zip(found, scales, strict=True)]

        return bound.force_estimate(tables, bounds, responses)

    def _error(self, frame: Probe, expected: dict, found: dict) -> float:
        return force_error(frame, self.scale.response(expected), self.scale.response(found))

    def tabulated(self, tables: list[Table], folds: Sequence[TermFold | None] = ()) -> list[dict]:
        """Results in float64 with these tables, for each frame; of libdpc, or of onnxruntime where that has no kernel."""
        from . import _core, graph

        proto = graph.compressed(self.model, tables, precision="float64", folds=folds)
        if self.model.attentive:
            bodies = Bodies(proto)
            return [bodies.evaluate(frame) for frame in self.frames]
        workspace = _core.Workspace(_core.Model(proto.SerializeToString()))
        return [workspace.compute(frame.coord, frame.atype, frame.cell, **frame.parameters) for frame in self.frames]

    def fold(self, tables: list[Table], tolerance: float) -> tuple[list[TermFold | None], dict]:
        """The folds that add at most `tolerance` to the forces, in eV/Å, and what they do add."""
        plain = self.tabulated(tables)

        def measure(folds: list[TermFold | None]) -> dict[str, float]:
            found, total = self.tabulated(tables, folds), self.scale.total
            pairs = list(zip(self.frames, plain, found, strict=True))
            return {
                "force_error": max(self._error(*pair) for pair in pairs),
                "energy_error": max(_largest(total(a) - total(b)) / len(f.coord) for f, a, b in pairs),
            }

        return fold.choose(self.model, tables, tolerance, measure)

    def compared(
        self, path: str | Path, tolerance: float, *, gradient: bool = False, nve: int = 0, model: int = 0
    ) -> Comparison:
        """With the compressed file `path`; `gradient`: and with differences of its energy; `nve`: steps of dynamics.

        model: which of an ensemble.
        """
        candidate = Compressed(path, model)
        results = [candidate.evaluate(frame) for frame in self.frames]
        validation = compare(self.frames, self.results, results, tolerance, self.scale)
        if gradient:
            # neighbours that find no place change with the positions, and the energy jumps then
            smooth = min(range(len(results)), key=lambda k: results[k].get("dropped", 0))
            validation = replace(validation, gradient=gradient_error(candidate, self.frames[smooth], self.scale))
        if nve:
            validation = replace(validation, nve=self._conserve(candidate, nve))
        return Comparison(path, self, results, validation)

    def _conserve(self, candidate: Compressed, steps: int) -> Drift:
        """Of dynamics of the compressed file from the frame with the smallest forces."""
        if self.model.kind != "ener" or self.model.spin is not None or self.model.masked:
            raise ValueError("only models whose energy is one of positions alone have dynamics at constant energy")
        calmest = min(range(len(self.frames)), key=lambda k: _largest(self.results[k]["force"]))
        frame = self.frames[calmest]
        return dynamics.conserve(candidate.evaluate, frame, dynamics.masses(self.model.type_map)[frame.atype], steps)

    def self_test(self, *others: Reference) -> dict:
        """A few atoms and their energy, or other sum, for loaders; with those of other models, the mean energy."""
        frame = self.frames[0]
        few = replace(
            frame,
            **{name: getattr(frame, name)[:SELF_TEST_ATOMS] for name in ("coord", "atype", "group")},
            cell=np.zeros((3, 3)),
            aparam=None if frame.aparam is None else frame.aparam[:SELF_TEST_ATOMS],
            spin=None if frame.spin is None else frame.spin[:SELF_TEST_ATOMS],
        )
        results = [reference._original.evaluate(few) for reference in (self, *others)]
        given = {name: np.asarray(array).tolist() for name, array in few.inputs.items()}
        if self.model.kind == "ener":
            return given | {"energy": float(np.mean([result["energy"][0] for result in results]))}
        return given | {"tensor": np.asarray(results[0]["tensor"]).tolist()}


def precision_of(precision: str, interface: str) -> str:
    """Of a file's results: what OnnxForce takes is float32, whatever is inside."""
    return "float32" if interface == "openmm" else precision


@dataclass(frozen=True)
class Comparison:
    """A compressed file and its original on the same frames."""

    path: str | Path  # of the compressed file
    reference: Reference
    results: list[dict]  # of the compressed file, for each frame of the reference
    validation: Validation


def allowed_error(precision: str, accuracy: float) -> float:
    """What a file may err by in eV/Å on any geometry, if its tables add `accuracy` on the probe geometries."""
    return max(FORCE_TOLERANCE[precision], 10 * accuracy)


def compare(
    frames: list[Probe],
    original: list[dict],
    compressed: list[dict],
    tolerance: float,
    scale: Scale,
) -> Validation:
    """What two lists of results differ by, in what the compressed model gives."""
    parts: dict[str, list[np.ndarray]] = {"energy": [], "force": [], "virial": []}
    worst = 0.0
    for frame, expected, found in zip(frames, original, compressed, strict=True):
        atoms, expected = len(frame.coord), {name: value for name, value in expected.items() if name in found}
        parts["energy"].append((scale.total(found) - scale.total(expected)) / atoms)
        parts["force"].append((scale.force(found) - scale.force(expected)).ravel())
        parts["virial"].append((scale.virial(found) - scale.virial(expected)) / atoms)
        largest = max(1.0, _largest(scale.force(expected)) / 100)
        error = max(_largest(parts["energy"][-1]), _largest(parts["virial"][-1])) / largest
        worst = max(worst, error, force_error(frame, scale.response(expected), scale.response(found)))
    extremes = {}
    for name, arrays in parts.items():
        numbers = np.concatenate(arrays)
        rms = float(np.sqrt(np.mean(numbers**2))) if numbers.size else 0.0
        extremes |= {f"{name}_max": _largest(numbers), f"{name}_rms": rms}
    atoms = sum(len(frame.coord) for frame in frames)
    return Validation(len(frames), atoms, **extremes, error=worst, tolerance=tolerance)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


def compared(
    original: str | Path,
    compressed: str | Path,
    system: str | Path | None = None,
    *,
    check: str = "quick",
    tolerance: float | None = None,
    head: str | None = None,
    nve: int = 0,
    model: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """A compressed file with its original, on generated geometries or on the frames of a system folder.

    check: "quick" or "full", which is more geometries and finite differences of the energy.
    tolerance: of forces in eV/Å; default what the file's precision and accuracy allow.
    head: which of the models of `original`; default the one that the compressed file was made from.
    nve: so many steps of dynamics at constant energy. model: which of an ensemble `original` is.
    """
    from . import readers
    from .onnxfile import read_metadata

    progress = progress or (lambda message: None)
    properties = read_metadata(compressed)
    sources = json.loads(properties["source"])
    source = sources[model] if isinstance(sources, list) else sources
    uncompressed = readers.read(original, head or source.get("head"))
    if list(uncompressed.type_map) != json.loads(properties["type_map"]):
        raise ModelError(f"{compressed}: its types are {properties['type_map']}, those of {original} are others.")
    if system is None:
        distance = float(properties.get("min_distance") or 1.0)
        seeds = FULL_SEEDS if check == "full" else FULL_SEEDS[:1]
        frames = [probe for seed in seeds for probe in probes(uncompressed, distance, seed)]
    else:
        frames = list(system_frames(Path(system), uncompressed))
    precision = precision_of(properties["precision"], properties["interface"])
    gradient = check == "full" and precision == "float64"  # the energies of float32 are too coarse to differentiate
    accuracy = json.loads(properties.get("accuracy", "{}")).get("tolerance", 0.0)
    reference = Reference(uncompressed, frames, progress)
    progress("compressed")
    tolerance = tolerance or allowed_error(precision, accuracy)
    return reference.compared(compressed, tolerance, gradient=gradient, nve=nve, model=model)


def compared_each(originals: Sequence[str | Path], compressed: str | Path, *system, **options) -> list[Comparison]:
    """`compared` with the original of each of an ensemble's models, in their order; else with the one that there is."""
    from .onnxfile import read_metadata

    models = int(read_metadata(compressed).get("models", 1))
    if len(originals) != models:
        raise ModelError(
            f"{compressed}: holds {models} models, and {len(originals)} originals are given; give each one's."
        )
    return [compared(path, compressed, *system, model=number, **options) for number, path in enumerate(originals)]


def gradient_error(candidate: Compressed, frame: Probe, scale: Scale) -> float | None:
    """Forces against fourth-order finite differences of the energy, relative to the largest force or 1 eV/Å."""
    force = scale.force(candidate.evaluate(frame))
    rng = np.random.default_rng(0)
    worst = 0.0
    for index in rng.choice(force.size, min(DIFFERENCES, force.size), replace=False):
        output, place = divmod(index, frame.coord.size)
        moved = np.zeros(frame.coord.size)
        energies = []
        for step in (-2, -1, 1, 2):
            moved[place] = step * STEP
            shifted = replace(frame, coord=frame.coord + moved.reshape(-1, 3))
            energies.append(scale.total(candidate.evaluate(shifted))[output])
        slope = np.dot([1, -8, 8, -1], energies) / (12 * STEP)
        worst = max(worst, abs(slope + force.flat[index]))
    return worst / max(1.0, _largest(force)) if force.size else None


def system_frames(folder: Path, model: Model) -> Iterator[Probe]:
    """At most SYSTEM_FRAMES frames of a system folder, evenly chosen, their types numbered as the model's."""
    sets = list(numbered_sets(folder, model.type_map))
    chosen = [(frames, k) for frames in sets for k in range(len(frames.positions))]
    for frames, k in chosen[:: -(-len(chosen) // SYSTEM_FRAMES) or 1]:
        cell = np.zeros((3, 3)) if frames.cells is None else frames.cells[k]
        parameters = _parameters(folder, model, frames, k)
        yield Probe(frames.positions[k], frames.types[k], cell, np.zeros(len(frames.types[k]), int), **parameters)


def _parameters(folder: Path, model: Model, frames: Frames, k: int) -> dict[str, np.ndarray]:
    """Parameters and spin of frame k, of those that the model takes."""
    fitting = model.terms[0].fitting
    taken = {
        "fparam": fitting.fparam.size,
        "aparam": fitting.aparam.size or model.masked,
        "spin": model.spin is not None,
    }
    wanted = [name for name in PARAMETERS if taken[name]]
    missing = [name for name in wanted if name not in frames.parameters]
    if missing:
        raise ModelError(f"{folder}: the model needs {' and '.join(missing)}, which this system lacks.")
    return {name: frames.parameters[name][k] for name in wanted}
