"""plot - the evidence for a compressed file as one picture, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .evidence import Evidence, TableCurves

MOST_TABLES = 6
COLUMNS = 3
BINS = 60
LEGEND = 300  # times: room for it above the curves
VALUE, SLOPE = "tab:blue", "tab:orange"


def draw(evidence: Evidence, path: str | Path) -> None:
    """Forces, times and the tables with the largest errors, as a picture of the format that the suffix names."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "compress-onnx[plot]"') from None

    tables = sorted(evidence.tables, key=lambda curves: -curves.slope_error.max())[:MOST_TABLES]
    figure = Figure(figsize=(5 * COLUMNS, 4 * (1 + len(tables))), layout="constrained")
    axes = figure.subplots(1 + len(tables), COLUMNS, squeeze=False)
    found = evidence.validation
    verdict = "within" if found.ok else "BEYOND"
    drift = f"\ndrift {found.nve.text} eV per atom and ns{found.nve.note}" if found.nve else ""
    figure.suptitle(f"{evidence.name}: error {found.error:.1e}, {verdict} the tolerance of {found.tolerance:g}{drift}")
    _parity(axes[0, 0], evidence)
    _differences(axes[0, 1], evidence)
    _stages(axes[0, 2], evidence.stages)
    for row, curves in zip(axes[1:], tables, strict=True):
        _errors(row[0], curves)
        _channels(row[1], curves)
        _inputs(row[2], curves)
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:  # a suffix of no format
        raise ValueError(f"{path}: {error}") from error


def _parity(axes, evidence: Evidence) -> None:
    axes.plot(evidence.original, evidence.compressed, ".", ms=3)
    axes.axline((0, 0), slope=1, color="gray", lw=0.8)
    axes.set(title="forces", xlabel="original", ylabel="compressed")


def _differences(axes, evidence: Evidence) -> None:
    axes.loglog(np.abs(evidence.original), np.abs(evidence.compressed - evidence.original), ".", ms=3)
    axes.axhline(evidence.validation.tolerance, color="tab:red", ls="--", label="tolerance")
    axes.set(title="their difference", xlabel="size of the force", ylabel="difference")
    axes.legend()


def _stages(axes, stages: dict[str, float]) -> None:
    axes.barh(list(stages), list(stages.values()))
    axes.invert_yaxis()
    axes.set(title="time of an evaluation", xlabel="µs per atom")


def _errors(axes, curves: TableCurves) -> None:
    axes.semilogy(curves.at, curves.error, color=VALUE, label="value")
    axes.semilogy(curves.at, curves.slope_error, color=SLOPE, label="derivative")
    bound = curves.facts.get("bound")
    if bound:
        axes.axhline(bound["value"][0], color=VALUE, ls="--", label="at most, first sub-table")
        axes.axhline(bound["derivative"][0], color=SLOPE, ls="--")
    axes.set(title=f"error of {curves.facts['name']}", xlabel=curves.label)
    axes.set_ylim(top=axes.get_ylim()[1] * LEGEND)
    axes.legend(loc="upper right")


def _channels(axes, curves: TableCurves) -> None:
    axes.plot(curves.at, curves.tabulated, color=VALUE, lw=1)
    axes.plot(curves.at[::14], curves.exact[::14], ".", color="black", ms=3)
    axes.set(title="table (lines) and net (dots)", xlabel=curves.label)


def _inputs(axes, curves: TableCurves) -> None:
    low, high = curves.span
    lower, upper, end = (curves.facts[name] for name in ("lower", "upper", "max"))
    axes.hist(np.minimum(curves.inputs, high), bins=BINS, range=(low, high), log=True)
    axes.axvspan(lower, upper, alpha=0.1, label="first sub-table")
    axes.axvspan(upper, max(min(end, high), upper), alpha=0.1, color=SLOPE, label="second")
    axes.set(title=f"{len(curves.inputs)} inputs", xlabel="input of the table")
    axes.legend()
