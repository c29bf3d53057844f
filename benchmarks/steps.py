"""steps - steps of a simulation with our files, natively and by onnxruntime, and the peer's, round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from compress_onnx import _core, ort
from compress_onnx.bench import gemm, timed
from measure import Rounds
from peer import Peer
from systems import System

PRECISIONS = ("float64", "float32", "mixed")
THREADS = (1, 2)
RESULTS = ["energy", "force", "virial"]


def native(file: Path, system: System, threads: int = 1, counted: bool = True) -> Callable[[], object]:
    """A function that evaluates a system, and looks at its range if `counted`; its list is built now, with a skin."""
    model = _core.Model(file)
    workspace, pairs = _core.Workspace(model), system.pairs(model.cutoff)
    how = {"pairs": pairs, "threads": threads, "counted": counted}
    return lambda: workspace.compute(system.coord, system.atype, system.cell, **how)


def by_onnxruntime(file: Path, system: System, threads: int = 1) -> Callable[[], object]:
    """The same through onnxruntime, of a file that takes pairs."""
    session = ort.session(file, threads=threads)
    first, index, shift = system.pairs(_core.Model(file).cutoff).arrays()
    feed = {"coord": system.coord, "atype": system.atype, "cell": system.cell}
    feed |= {"pair_first": first, "pair_index": index, "pair_shift": shift}
    return lambda: session.run(RESULTS, feed)


def whole(file: Path, system: System) -> Callable[[], object]:
    """Through onnxruntime, of a file that takes the cell and searches for neighbours each time."""
    session = ort.session(file)
    feed = {"coord": system.coord, "atype": system.atype, "cell": system.cell}
    return lambda: session.run(RESULTS, feed)


class Steps:
    """µs per atom and step, by (who, precision, atoms, threads, clock); the clock is `processor` or `wall`."""

    def __init__(self, files: dict[str, Path], systems: Sequence[System]):
        self.rounds = Rounds()
        self.systems = systems
        self._evaluations = {}
        for system in systems:
            for threads in THREADS:
                for precision, file in files.items():
                    self._evaluations["native", precision, len(system), threads] = native(file, system, threads)
                runtime = by_onnxruntime(files["float64"], system, threads)
                self._evaluations["onnxruntime", "float64", len(system), threads] = runtime
        for evaluate in self._evaluations.values():
            evaluate()  # the first also allocates

    def round(self, seconds: float, peer: Peer | None) -> None:
        """Measure everything once more, each of ours for `seconds`."""
        for key, evaluate in self._evaluations.items():
            processor, wall = (1e6 / key[2] * time for time in timed(evaluate, seconds))
            self.rounds.add((*key, "processor"), processor)
            self.rounds.add((*key, "wall"), wall)
        for precision in PRECISIONS[:2]:
            self.rounds.add(("gemm", precision), gemm(precision))
        if peer:
            self._peer_round(peer)

    def _peer_round(self, peer: Peer) -> None:
        for threads in THREADS:
            figures = peer.step(self.systems, threads)
            clock = "processor" if threads == 1 else "wall"
            for (backend, precision, atoms), figure in figures.items():
                self.rounds.add((backend, precision, atoms, threads, clock), figure)
            for atoms in map(len, self.systems):
                of_size = {key: figure for key, figure in figures.items() if key[2] == atoms}
                double = min(figure for key, figure in of_size.items() if key[1] == "float64")
                self.rounds.add(("best", "float64", atoms, threads, clock), double)
                self.rounds.add(("best", "any", atoms, threads, clock), min(of_size.values()))
