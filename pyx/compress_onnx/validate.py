"""validate - a compressed file against the model it was made from: energies, forces and virials of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from . import fold
from .fold import Fold
from .model import Model, ModelError
from .probe import Probe, force_error, probes
from .system import numbered_sets
from .tabulate import Table

FORCE_TOLERANCE = {"float64": 1e-8, "float32": 5e-4, "mixed": 5e-4}  # eV/Å
FULL_SEEDS = range(5)
SYSTEM_FRAMES = 20
STEP = 1e-3  # Å, of the finite differences
SELF_TEST_ATOMS = 8
DIFFERENCES = 12  # components of forces that are checked so


@dataclass(frozen=True)
class Validation:
    """Differences between original and compressed: energies and virials in eV per atom, forces in eV/Å."""

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

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance and (self.gradient or 0) <= self.gradient_tolerance

    def to_json(self) -> dict:
        """Plain data."""
        return asdict(self) | {"ok": self.ok}


class Original:
    """The uncompressed model in float64, run by onnxruntime without our kernels."""

    def __init__(self, model: Model):
        from . import graph, ort

        parts = {name: replace(getattr(model, name), precision="float64") for name in ("descriptor", "fitting")}
        self._session = ort.session(graph.uncompressed(replace(model, **parts)).SerializeToString(), library=False)

    def evaluate(self, frame: Probe) -> dict[str, np.ndarray]:
        """energy [1], force [n, 3] and virial [3, 3]."""
        return _run(self._session, frame)


class Compressed:
    """A compressed file, run by whatever runs it best here."""

    def __init__(self, path: str | Path):
        from .infer import DeepPot

        self._potential = DeepPot(path, outside="ignore")

    def evaluate(self, frame: Probe) -> dict[str, np.ndarray]:
        """energy [1], force [n, 3] and virial [3, 3]."""
        cell = frame.cell[None] if frame.cell.any() else None
        energy, force, virial = self._potential.eval(frame.coord[None], cell, frame.atype)
        return {"energy": energy[0], "force": force[0], "virial": virial.reshape(3, 3)}


def _run(session, frame: Probe) -> dict[str, np.ndarray]:
    names = ["energy", "force", "virial"]
    return dict(zip(names, session.run(names, frame.inputs), strict=True))


class Reference:
    """Frames and what the original says about them."""

    def __init__(self, model: Model, frames: list[Probe], progress: Callable[[str], None] = lambda message: None):
        self.model, self.frames, self.results = model, frames, []
        self._original = Original(model)
        for k, frame in enumerate(frames):
            progress(f"original on frame {k + 1} of {len(frames)}")
            self.results.append(self._original.evaluate(frame))

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
            error = force_error(frame, result["force"], found["force"])
            worst[frame.contacts] = max(worst[frame.contacts], error)
        return worst[0], worst[1]

    def tabulated(self, tables: list[Table], folds: Sequence[Fold | None] = ()) -> list[dict]:
        """Results of libdpc in float64 with these tables, for each frame."""
        from . import _core, graph

        proto = graph.compressed(self.model, tables, precision="float64", folds=folds)
        workspace = _core.Workspace(_core.Model(proto.SerializeToString()))
        return [workspace.compute(frame.coord, frame.atype, frame.cell) for frame in self.frames]

    def fold(self, tables: list[Table], tolerance: float) -> tuple[list[Fold | None], dict]:
        """The folds that add at most `tolerance` to the forces, in eV/Å, and what they do add."""
        plain = self.tabulated(tables)

        def measure(folds: list[Fold | None]) -> dict[str, float]:
            found = self.tabulated(tables, folds)
            pairs = list(zip(self.frames, plain, found, strict=True))
            return {
                "force_error": max(force_error(f, a["force"], b["force"]) for f, a, b in pairs),
                "energy_error": max(abs(a["energy"] - b["energy"]) / len(f.coord) for f, a, b in pairs),
            }

        return fold.choose(self.model, tables, tolerance, measure)

    def validate(self, path: str | Path, tolerance: float, *, gradient: bool = False) -> Validation:
        """Compare the compressed file `path` on the same frames; `gradient`: and with differences of its energy."""
        candidate = Compressed(path)
        results = [candidate.evaluate(frame) for frame in self.frames]
        slope = gradient_error(candidate, self.frames[0]) if gradient else None
        return compare(self.frames, self.results, results, tolerance, slope)

    def self_test(self) -> dict:
        """A few atoms and their energy, for loaders."""
        frame = self.frames[0]
        few = Probe(*(part[:SELF_TEST_ATOMS] for part in (frame.coord, frame.atype, np.zeros((3, 3)), frame.group)))
        energy = float(self._original.evaluate(few)["energy"][0])
        return {"coord": few.coord.tolist(), "atype": few.atype.tolist(), "cell": few.cell.tolist(), "energy": energy}


def allowed_error(precision: str, accuracy: float) -> float:
    """What a file may err by in eV/Å on any geometry, if its tables add `accuracy` on the probe geometries."""
    return max(FORCE_TOLERANCE[precision], 10 * accuracy)


def compare(
    frames: list[Probe], original: list[dict], compressed: list[dict], tolerance: float, gradient: float | None = None
) -> Validation:
    """What two lists of results differ by."""
    parts: dict[str, list[np.ndarray]] = {"energy": [], "force": [], "virial": []}
    worst = 0.0
    for frame, expected, found in zip(frames, original, compressed, strict=True):
        atoms = len(frame.coord)
        parts["energy"].append((found["energy"] - expected["energy"]) / atoms)
        parts["force"].append((found["force"] - expected["force"]).ravel())
        parts["virial"].append((found["virial"] - expected["virial"]).ravel() / atoms)
        scale = max(1.0, _largest(expected["force"]) / 100)
        error = max(_largest(parts["energy"][-1]), _largest(parts["virial"][-1])) / scale
        worst = max(worst, error, force_error(frame, expected["force"], found["force"]))
    extremes = {}
    for name, arrays in parts.items():
        numbers = np.concatenate(arrays)
        extremes |= {f"{name}_max": _largest(numbers), f"{name}_rms": float(np.sqrt(np.mean(numbers**2)))}
    atoms = sum(len(frame.coord) for frame in frames)
    return Validation(len(frames), atoms, **extremes, error=worst, tolerance=tolerance, gradient=gradient)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max())


def validate(
    original: str | Path,
    compressed: str | Path,
    system: str | Path | None = None,
    *,
    check: str = "quick",
    tolerance: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Validation:
    """Compare a compressed file with its original, on generated geometries or on the frames of a system folder.

    check: "quick" or "full", which is more geometries and finite differences of the energy.
    tolerance: of forces in eV/Å; default what the file's precision and accuracy allow.
    """
    from . import readers
    from .onnxfile import read_metadata

    progress = progress or (lambda message: None)
    properties = read_metadata(compressed)
    model = readers.read(original)
    if list(model.type_map) != json.loads(properties["type_map"]):
        raise ModelError(f"{compressed}: its types are {properties['type_map']}, those of {original} are others.")
    precision = properties["precision"]
    if system is None:
        distance = float(properties.get("min_distance") or 1.0)
        seeds = FULL_SEEDS if check == "full" else FULL_SEEDS[:1]
        frames = [probe for seed in seeds for probe in probes(model, distance, seed)]
    else:
        frames = list(system_frames(Path(system), model))
    reference = Reference(model, frames, progress)
    progress("compressed")
    gradient = check == "full" and precision == "float64"  # the energies of float32 are too coarse to differentiate
    accuracy = json.loads(properties.get("accuracy", "{}")).get("tolerance", 0.0)
    return reference.validate(compressed, tolerance or allowed_error(precision, accuracy), gradient=gradient)


def gradient_error(candidate: Compressed, frame: Probe) -> float:
    """Forces against fourth-order finite differences of the energy, relative to the largest force or 1 eV/Å."""
    force = candidate.evaluate(frame)["force"]
    rng = np.random.default_rng(0)
    worst = 0.0
    for index in rng.choice(force.size, min(DIFFERENCES, force.size), replace=False):
        moved = np.zeros(force.size)
        energies = []
        for step in (-2, -1, 1, 2):
            moved[index] = step * STEP
            shifted = replace(frame, coord=frame.coord + moved.reshape(-1, 3))
            energies.append(float(candidate.evaluate(shifted)["energy"][0]))
        slope = np.dot([1, -8, 8, -1], energies) / (12 * STEP)
        worst = max(worst, abs(slope + force.flat[index]))
    return worst / max(1.0, _largest(force))


def system_frames(folder: Path, model: Model) -> Iterator[Probe]:
    """At most SYSTEM_FRAMES frames of a system folder, evenly chosen, their types numbered as the model's."""
    sets = list(numbered_sets(folder, model.type_map))
    chosen = [(frames, k) for frames in sets for k in range(len(frames.positions))]
    for frames, k in chosen[:: -(-len(chosen) // SYSTEM_FRAMES) or 1]:
        cell = np.zeros((3, 3)) if frames.cells is None else frames.cells[k]
        yield Probe(frames.positions[k], frames.types[k], cell, np.zeros(len(frames.types[k]), int))
