"""judgement - how far tables may err at inputs that were not looked at: by their certified bounds, or by dense samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bound import Bound, certify
from .model import Net, TabulatedNet
from .tabulate import SAMPLES, SampledError, Table, sampled_error

CLOSE = 2.0  # times the largest error seen: what a bound may be to be the one that counts
DENSE = np.concatenate([np.arange(1, 8) / 8, SAMPLES])  # of an interval, where it is not
LEAST = 1e-3  # of the largest error of any table: smaller ones do not matter to forces


@dataclass(frozen=True)
class Judgement:
    """What is known of a table's errors; [first, second] sub-table."""

    seen: SampledError  # at three points of each interval
    bound: Bound | None
    by: tuple[str, str]  # "bound" or "sample": what `largest` is
    largest: SampledError


def judge(net: Net | TabulatedNet, table: Table, precision: str) -> Judgement:
    """Of each sub-table the bound where it is at most CLOSE times what is seen, else the error at many points."""
    seen, bound = sampled_error(net, table), certify(net, table, precision)
    close = [bound is not None and _is_close(bound, seen, part) for part in (0, 1)]
    found = [bound if part_is_close else None for part_is_close in close]
    if not all(close):
        dense = sampled_error(net, table, DENSE)
        found = [part or dense for part in found]
    first, second = found
    largest = SampledError((first.value[0], second.value[1]), (first.derivative[0], second.derivative[1]))
    by = tuple("bound" if part_is_close else "sample" for part_is_close in close)
    return Judgement(seen, bound, by, largest)


def _is_close(bound: Bound, seen: SampledError, part: int) -> bool:
    return bound.value[part] <= CLOSE * seen.value[part] and bound.derivative[part] <= CLOSE * seen.derivative[part]


def force_estimates(judgements: Sequence[Judgement], errors: tuple[float, float]) -> tuple[float, float]:
    """Measured errors of forces, without and with contacts, if tables erred by their largest instead of as seen."""
    excess = [max(_excess(judgements, part, "value"), _excess(judgements, part, "derivative")) for part in (0, 1)]
    return errors[0] * excess[0], errors[1] * max(excess)


def _excess(judgements: Sequence[Judgement], part: int, of: str) -> float:
    """The largest error over that seen, of any table where this matters."""
    seen = np.array([getattr(each.seen, of)[part] for each in judgements])
    largest = np.array([getattr(each.largest, of)[part] for each in judgements])
    return float((largest / np.maximum(seen, LEAST * seen.max()).clip(1e-300)).max(initial=1.0))


def basis(judgements: Sequence[Judgement]) -> str:
    """What the estimates rest on, in words."""
    counts = Counter(by for each in judgements for by in each.by)
    if not counts["sample"]:
        return "certified bounds"
    if not counts["bound"]:
        return "dense samples"
    return f"certified bounds of {counts['bound']} sub-tables, dense samples of {counts['sample']}"
