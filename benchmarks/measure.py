"""measure - figures of several rounds, and their medians; one round measures everything once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import numpy as np


class Rounds:
    """Figures by key, as many as rounds."""

    def __init__(self):
        self._figures: dict[Hashable, list[float]] = defaultdict(list)

    def add(self, key: Hashable, figure: float) -> None:
        self._figures[key].append(figure)

    def median(self, key: Hashable) -> float:
        return float(np.median(self._figures[key]))

    def product(self, one: Hashable, other: Hashable) -> float:
        """Median of the rounds' products."""
        return float(np.median(np.multiply(self._figures[one], self._figures[other])))

    def ratio(self, above: Hashable, below: Hashable) -> float:
        """Median of the rounds' ratios: what slows a whole round down does not change it."""
        return float(np.median(np.divide(self._figures[above], self._figures[below])))
