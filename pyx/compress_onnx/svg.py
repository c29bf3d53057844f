"""svg - small charts as text: axes, lines, points, bars and shades, coloured by the classes of the page they stand in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

import numpy as np

WIDTH, NARROW, HEIGHT = 460, 350, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 42
TICKS = 5
STEPS = (1, 2, 5, 10)  # of ticks, times a power of ten


@dataclass(frozen=True)
class Axis:
    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, label: str, *arrays: np.ndarray, log: bool = False, decades: float = 12) -> Axis:
        """One that shows all finite numbers; a logarithmic one positive ones, of the largest so many decades."""
        numbers = np.concatenate([np.ravel(array) for array in arrays])
        numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
        if not len(numbers):
            return cls(label, *((0.1, 1) if log else (0, 1)), log)
        low, high = float(numbers.min()), float(numbers.max())
        if log:
            low = max(low, high * 10**-decades)
            return cls(label, 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) + 1e-9), log)
        spare = 0.04 * (high - low) or 0.5
        return cls(label, low - spare, high + spare)

    def place(self, values: np.ndarray | float) -> np.ndarray:
        """Where values are between low, 0, and high, 1; those beyond at the ends."""
        values = np.asarray(values, float)
        if self.log:
            values = np.log(np.maximum(values, 1e-300) / self.low) / math.log(self.high / self.low)
        else:
            values = (values - self.low) / (self.high - self.low)
        return np.clip(values, 0, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and how they are written."""
        if self.log:
            low, high = (round(math.log10(end)) for end in (self.low, self.high))
            step = -(-(high - low) // TICKS) or 1
            return [(10.0**power, f"1e{power}") for power in range(low, high + 1, step)]
        size = 10 ** math.floor(math.log10((self.high - self.low) / TICKS))
        step = next(size * one for one in STEPS if (self.high - self.low) / (size * one) <= TICKS)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(k * step, f"{k * step:.6g}") for k in range(first, last + 1)]


@dataclass
class Chart:
    """Marks in the order they are added; `title` is what a screen reader says."""

    title: str
    x: Axis
    y: Axis
    width: int = WIDTH
    parts: list[str] = field(default_factory=list)

    def line(self, x: np.ndarray, y: np.ndarray, kind: str) -> None:
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(*self._at(x, y), strict=True))
        self.parts.append(f'<polyline class="{kind}" points="{points}"/>')

    def points(self, x: np.ndarray, y: np.ndarray, kind: str) -> None:
        path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(*self._at(x, y), strict=True))
        self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def level(self, y: float, kind: str) -> None:
        """A line across."""
        self.line(np.array([self.x.low, self.x.high]), np.array([y, y]), kind)

    def bars(self, edges: np.ndarray, heights: np.ndarray, kind: str) -> None:
        left, top = self._at(edges[:-1], heights)
        right, _ = self._at(edges[1:], heights)
        floor = HEIGHT - BOTTOM
        for a, b, y, height in zip(left, right, top, heights, strict=True):
            if height > 0:
                box = f'x="{a + 0.5:.1f}" y="{y:.1f}" width="{max(b - a - 1, 0.5):.1f}" height="{floor - y:.1f}"'
                self.parts.append(f'<rect class="{kind}" {box}><title>{height:g}</title></rect>')

    def shade(self, low: float, high: float, kind: str, name: str = "") -> None:
        """All between two positions of x."""
        (a, b), _ = self._at(np.array([low, high]), np.array([self.y.low] * 2))
        self.parts.append(f'<rect class="{kind}" x="{a:.1f}" y="{TOP}" width="{b - a:.1f}" height="{self._tall}"/>')
        if name and b - a > 7 * len(name):
            self.parts.append(f'<text class="note" x="{(a + b) / 2:.1f}" y="{TOP + 14}">{escape(name)}</text>')

    def text(self) -> str:
        """The element."""
        view = f'viewBox="0 0 {self.width} {HEIGHT}" role="img" aria-label="{escape(self.title)}"'
        return f"<svg {view}>{''.join(self._axes())}{''.join(self.parts)}</svg>"

    @property
    def _tall(self) -> int:
        return HEIGHT - TOP - BOTTOM

    def _at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        across = LEFT + (self.width - LEFT - RIGHT) * self.x.place(x)
        return across, HEIGHT - BOTTOM - self._tall * self.y.place(y)

    def _axes(self) -> list[str]:
        floor, end = HEIGHT - BOTTOM, self.width - RIGHT
        parts = []
        for value, name in self.y.ticks():
            _, (y,) = self._at(np.zeros(1), np.array([value]))
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{end}"/>')
            parts.append(f'<text class="tick end" x="{LEFT - 7}" y="{y + 4:.1f}">{name}</text>')
        for value, name in self.x.ticks():
            (x,), _ = self._at(np.array([value]), np.zeros(1))
            parts.append(f'<path class="axis" d="M{x:.1f} {floor}v4"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{floor + 17}">{name}</text>')
        middle = TOP + self._tall / 2
        return [
            *parts,
            f'<path class="axis" d="M{LEFT} {floor}H{end}"/>',
            f'<text class="label" x="{(LEFT + end) / 2}" y="{HEIGHT - 6}">{escape(self.x.label)}</text>',
            f'<text class="label" transform="translate(12 {middle}) rotate(-90)">{escape(self.y.label)}</text>',
        ]
