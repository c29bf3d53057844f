"""dynamics - how well a model conserves energy: molecular dynamics at constant energy, by velocity Verlet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .probe import Probe

TIMESTEP = 0.25  # fs
TEMPERATURE = 300.0  # K, to begin with
BOLTZMANN = 8.617333262e-5  # eV/K
ACCELERATION = 9.64853321e-3  # Å/fs² of a force of 1 eV/Å on 1 u
CALM, CALMING, LONGEST = 5.0, 300, 0.03  # eV/Å that forces should not exceed; steps to get there, and Å of a step
UNSEEN = (0, 2, 3)  # of counts of inputs: all but those in first sub-tables
BLOCKS = 10  # of a run, whose means the drift is fitted to
SHOWN = 400  # energies that are kept
# standard atomic weights in u; of radioactive elements the mass of one isotope
MASSES = """
H 1.008 He 4.0026 Li 6.94 Be 9.0122 B 10.81 C 12.011 N 14.007 O 15.999 F 18.998 Ne 20.180 Na 22.990 Mg 24.305 Al 26.982
Si 28.085 P 30.974 S 32.06 Cl 35.45 Ar 39.948 K 39.098 Ca 40.078 Sc 44.956 Ti 47.867 V 50.942 Cr 51.996 Mn 54.938
Fe 55.845 Co 58.933 Ni 58.693 Cu 63.546 Zn 65.38 Ga 69.723 Ge 72.630 As 74.922 Se 78.971 Br 79.904 Kr 83.798 Rb 85.468
Sr 87.62 Y 88.906 Zr 91.224 Nb 92.906 Mo 95.95 Tc 97 Ru 101.07 Rh 102.91 Pd 106.42 Ag 107.87 Cd 112.41 In 114.82
Sn 118.71 Sb 121.76 Te 127.60 I 126.90 Xe 131.29 Cs 132.91 Ba 137.33 La 138.91 Ce 140.12 Pr 140.91 Nd 144.24 Pm 145
Sm 150.36 Eu 151.96 Gd 157.25 Tb 158.93 Dy 162.50 Ho 164.93 Er 167.26 Tm 168.93 Yb 173.05 Lu 174.97 Hf 178.49 Ta 180.95
W 183.84 Re 186.21 Os 190.23 Ir 192.22 Pt 195.08 Au 196.97 Hg 200.59 Tl 204.38 Pb 207.2 Bi 208.98 Th 232.04 Pa 231.04
U 238.03
"""
UNKNOWN = 12.0  # u, of a type that is called otherwise

Evaluate = Callable[[Probe], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Drift:
    """What became of the total energy, in eV per atom."""

    atoms: int
    steps: int
    timestep: float  # fs
    drift: float  # per ns
    uncertainty: float  # of the drift: its standard error
    time: tuple[float, ...]  # fs, of some steps
    energy: tuple[float, ...]  # minus that of the start
    closer: int  # steps with atoms closer than in the training data

    @property
    def text(self) -> str:
        return f"{self.drift:.1e} ± {self.uncertainty:.1e}"

    @property
    def note(self) -> str:
        """What to know of it, if anything."""
        if not self.closer:
            return ""
        return f"; atoms come closer than in the training data in {self.closer} steps: give frames of a simulation"


def masses(types: Sequence[str]) -> np.ndarray:
    """In u, by chemical symbol."""
    words = iter(MASSES.split())
    known = {symbol: float(mass) for symbol, mass in zip(words, words, strict=True)}
    return np.array([known.get(name, UNKNOWN) for name in types])


def conserve(evaluate: Evaluate, frame: Probe, mass: np.ndarray, steps: int) -> Drift:
    """The drift in `steps` from `frame`, or from near it, where its forces are large; mass [n] in u."""
    mass = mass[:, None]
    frame, force = _calmed(evaluate, frame, mass)
    velocity = np.random.default_rng(0).normal(size=force.shape)
    velocity *= np.sqrt(BOLTZMANN * TEMPERATURE * ACCELERATION / mass)
    velocity -= (mass * velocity).sum(axis=0) / mass.sum()
    energies, closer = np.zeros(steps + 1), 0
    for step in range(steps + 1):
        if step:
            velocity = velocity + ACCELERATION * TIMESTEP / 2 * force / mass
            frame = replace(frame, coord=frame.coord + TIMESTEP * velocity)
        result = evaluate(frame)
        force = result["force"]
        closer += bool(np.any(result.get("range", np.zeros((0, 4)))[:, list(UNSEEN)]))
        if step:
            velocity = velocity + ACCELERATION * TIMESTEP / 2 * force / mass
        energies[step] = np.asarray(result["energy"]).item() + (mass * velocity**2).sum() / (2 * ACCELERATION)
    time, energy = TIMESTEP * np.arange(steps + 1), (energies - energies[0]) / len(mass)
    shown = np.unique(np.linspace(0, steps, SHOWN).astype(int))
    curve = tuple(time[shown].tolist()), tuple(energy[shown].tolist())
    return Drift(len(mass), steps, TIMESTEP, *_slope(time, energy), *curve, closer)


def _calmed(evaluate: Evaluate, frame: Probe, mass: np.ndarray) -> tuple[Probe, np.ndarray]:
    """Downhill, with velocities that are lost where they go uphill, until forces are as in a simulation; these."""
    velocity = np.zeros_like(frame.coord)
    for _ in range(CALMING):
        force = evaluate(frame)["force"]
        if np.abs(force).max() <= CALM:
            break
        velocity = np.where(velocity * force > 0, velocity, 0) + ACCELERATION * TIMESTEP * force / mass
        frame = replace(frame, coord=frame.coord + np.clip(TIMESTEP * velocity, -LONGEST, LONGEST))
    return frame, force


def _slope(time: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """Of a line through the means of blocks, per ns where time is in fs, and its standard error."""
    x, y = (np.array([part.mean() for part in np.array_split(array, BLOCKS)]) for array in (time, energy))
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    error = np.sqrt(((y - slope * x) ** 2).sum() / (BLOCKS - 2) / (x @ x))
    return float(1e6 * slope), float(1e6 * error)
