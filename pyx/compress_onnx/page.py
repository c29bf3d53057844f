"""page - the evidence for a compressed file as one HTML page that needs nothing else: no scripts, no network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from .describe import describe_fold
from .dynamics import Drift
from .evidence import Evidence, TableCurves
from .svg import NARROW, WIDTH, Axis, Chart

MOST_TABLES = 12  # drawn; the rest is in the table of numbers
MOST_POINTS = 3000  # of a scatter
BINS = 60
EVERY = 14  # points of a curve between two dots of the net
UNITS = {"ener": "eV/Å"}
MINUS = "\u2212"  # where no line breaks, unlike behind a hyphen


def write(evidence: Evidence, path: str | Path) -> None:
    """The page of `evidence` as the file `path`."""
    Path(path).write_text(render(evidence), encoding="utf-8")


def render(evidence: Evidence) -> str:
    """The page as text."""
    found = evidence.validation
    verdict = ("good", "within the tolerance") if found.ok else ("bad", "beyond the tolerance")
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    title = escape(evidence.name)
    shown = sorted(evidence.tables, key=lambda curves: -curves.slope_error.max())[:MOST_TABLES]
    lead = (
        f"Compressed minus original on {found.frames} frames, {found.atoms} atoms: the largest error is "
        f"{found.error:.1e}, where {found.tolerance:g} {_unit(evidence)} are allowed."
    )
    body = [
        f'<header><h1>{title}</h1><p class="verdict {verdict[0]}">{verdict[1]}</p></header>',
        f'<p class="lead">{lead}</p>',
        _tiles(evidence),
        *_section("Forces", _forces(evidence), _FORCES.format(unit=_unit(evidence))),
        *(_section("Dynamics", [_dynamics(found.nve)], _DYNAMICS) if found.nve else ()),
        *(_section("Tables", map(_table, shown), _TABLES + _omitted(evidence, shown)) if shown else ()),
        *(_section("Time", [_stages(evidence.stages)], _TIME) if evidence.stages else ()),
        *(_section("Numbers", [_numbers(evidence.tables)], "") if evidence.tables else ()),
        *_section("The model", [_facts(evidence)], ""),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    dark = '<meta name="color-scheme" content="light dark">'
    content = "\n".join(body)
    return f'<!doctype html>\n<html lang="en"><head>{head}{dark}<style>{style}</style></head>\n<body><main>{content}</main></body></html>\n'


_FORCES = (
    "Every component of the forces of both models, in {unit}. Left one against the other; right the size of their "
    "difference, with the tolerance as a dashed line."
)
_TABLES = (
    "Each embedding net beside the table that replaces it. Left, the error, largest of all channels; dashed are the "
    "certified bounds of the first sub-table, and shaded are distances so small that the second one serves. Right, the "
    "table's inputs in the frames compared on; beyond both sub-tables the model goes on as a straight line."
)
_DYNAMICS = (
    "Total energy in molecular dynamics with the compressed model, by velocity Verlet: it should go up and down, and "
    "neither rise nor fall."
)
_TIME = "Of one evaluation of the first frame by one thread."


def _section(title: str, cards: Iterable[str], text: str) -> list[str]:
    lead = f"<p>{text}</p>" if text else ""
    return [f'<section><h2>{title}</h2>{lead}<div class="cards">', *cards, "</div></section>"]


def _card(title: str, *parts: str, legend: Iterable[tuple[str, str]] = (), wide: bool = False) -> str:
    marks = "".join(f'<span class="key {kind}"></span>{escape(name)}' for kind, name in legend)
    legend = f'<p class="legend">{marks}</p>' if marks else ""
    return f'<figure class="card{" wide" if wide else ""}"><figcaption>{title}</figcaption>{legend}{"".join(parts)}</figure>'


def _unit(evidence: Evidence) -> str:
    return UNITS.get(evidence.kind, "of an atom's largest value")


def _omitted(evidence: Evidence, shown: list[TableCurves]) -> str:
    rest = len(evidence.tables) - len(shown)
    return f" The {len(shown)} with the largest errors are drawn, {rest} are not." if rest else ""


def _tiles(evidence: Evidence) -> str:
    found = evidence.validation
    accuracy = json.loads(evidence.properties.get("accuracy", "null")) or {}
    tiles = [
        ("Force", f"{found.force_max:.1e}", f"largest, {_unit(evidence)}; rms {found.force_rms:.1e}"),
        ("Energy", f"{found.energy_max:.1e}", f"largest, eV per atom; rms {found.energy_rms:.1e}"),
        ("Virial", f"{found.virial_max:.1e}", f"largest, eV per atom; rms {found.virial_rms:.1e}"),
    ]
    if found.gradient is not None:
        tiles.append(("Gradient", f"{found.gradient:.1e}", "force against differences of the energy, relative"))
    if accuracy:
        added = accuracy.get("force_estimate", accuracy["force_error"])
        by = f", by {accuracy['by']}" if "by" in accuracy else ""
        tiles.append(("Tables add", f"{added:.1e}", f"of {accuracy['tolerance']:g} allowed{by}"))
    if accuracy.get("force_bound"):
        tiles.append(("At most", f"{accuracy['force_bound']:.1e}", "if all tables erred by their bounds"))
    if found.nve:
        spread = f"± {found.nve.uncertainty:.1e} eV per atom and ns of the total energy{found.nve.note}"
        tiles.append(("Drift", f"{found.nve.drift:.1e}", spread))
    tiles.append(("File", f"{evidence.bytes / 1e6:.1f} MB", evidence.properties["precision"]))
    return (
        '<div class="tiles">'
        + "".join(
            f"<div><span>{name}</span><strong>{value.replace('-', MINUS)}</strong><small>{escape(note).replace('-', MINUS)}</small></div>"
            for name, value, note in tiles
        )
        + "</div>"
    )


# ---- charts -------------------------------------------------------------------------


def _forces(evidence: Evidence) -> list[str]:
    original, compressed = evidence.original, evidence.compressed
    if len(original) > MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(original), MOST_POINTS, replace=False)
        original, compressed = original[chosen], compressed[chosen]
    unit = _unit(evidence)
    parity = Chart("forces of both models", Axis.over(f"original, {unit}", original), Axis.over("compressed", original))
    ends = np.array([parity.x.low, parity.x.high])
    parity.line(ends, ends, "rule")
    parity.points(original, compressed, "dots one")
    error, size = np.abs(compressed - original), np.abs(original)
    real = (error > 0) & (size > 0)
    limit = np.array([evidence.validation.tolerance])
    errors = Chart(
        "difference of the forces against their size",
        Axis.over(f"size of the force, {unit}", size, log=True, decades=6),
        Axis.over("difference", error, limit, log=True),
    )
    errors.level(limit[0], "limit warn")
    errors.points(size[real], error[real], "dots one")
    return [_card("Compressed against original", parity.text()), _card("Their difference", errors.text())]


def _dynamics(nve: Drift) -> str:
    time, energy = np.array(nve.time), 1e6 * np.array(nve.energy)
    chart = Chart(
        "total energy", Axis.over("time, fs", time), Axis.over("total energy per atom, µeV", energy), 2 * WIDTH
    )
    chart.line(time, energy, "line one thin")
    return _card(f"{nve.steps} steps of {nve.timestep:g} fs, {nve.atoms} atoms", chart.text(), wide=True)


def _table(curves: TableCurves) -> str:
    title = escape(curves.facts["name"]) + (f" <small>{escape(curves.pair)}</small>" if curves.pair else "")
    drawn = [_errors(curves), _channels(curves), *([_inputs(curves)] if len(curves.inputs) else [])]
    return _card(title, '<div class="triple">', *drawn, "</div>", wide=True)


def _panel(chart: Chart, legend: Iterable[tuple[str, str]]) -> str:
    marks = "".join(f'<span class="key {kind}"></span>{escape(name)}' for kind, name in legend)
    return f'<div><p class="legend">{marks}</p>{chart.text()}</div>'


def _errors(curves: TableCurves) -> str:
    bound = curves.facts.get("bound")
    limits = [(bound["value"][0], "one"), (bound["derivative"][0], "two")] if bound else []
    heights = np.array([limit for limit, _ in limits])
    y = Axis.over("error", curves.error, curves.slope_error, heights, log=True, decades=9)
    chart = Chart("errors of the table", Axis.over(curves.label, curves.at), y, NARROW)
    if curves.border > curves.at[0]:
        chart.shade(curves.at[0], curves.border, "second")
    for limit, kind in limits:
        chart.level(limit, f"limit {kind}")
    chart.line(curves.at, curves.error, "line one")
    chart.line(curves.at, curves.slope_error, "line two")
    return _panel(chart, [("one", "value"), ("two", "derivative")])


def _channels(curves: TableCurves) -> str:
    chart = Chart(
        "the table and the net", Axis.over(curves.label, curves.at), Axis.over("channels", curves.exact), NARROW
    )
    for channel in curves.tabulated.T:
        chart.line(curves.at, channel, "line one thin")
    for channel in curves.exact.T:
        chart.points(curves.at[::EVERY], channel[::EVERY], "dots three")
    return _panel(chart, [("one", "table"), ("three", "net, some channels")])


def _inputs(curves: TableCurves) -> str:
    facts, inputs = curves.facts, curves.inputs
    low, high = curves.span
    counts, edges = np.histogram(np.clip(inputs, low, high), bins=BINS, range=(low, high))
    y = Axis("inputs", 0.5, 10.0 ** np.ceil(np.log10(max(counts.max(), 2) * 1.5)), log=True)
    chart = Chart("inputs of the table", Axis.over("input of the table", np.array([low, high])), y, NARROW)
    chart.shade(facts["lower"], facts["upper"], "first", "first sub-table")
    chart.shade(facts["upper"], min(facts["max"], chart.x.high), "second", "second")
    if facts["max"] < high:
        chart.shade(facts["max"], high, "outside", "outside")
    chart.bars(edges, counts, "bar one")
    return _panel(chart, [("one", f"{len(inputs)} inputs")])


def _stages(stages: dict[str, float]) -> str:
    largest = max(stages.values())
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{time:.2f}</td>"
        f'<td class="share"><div style="width:{100 * time / largest:.1f}%"></div></td></tr>'
        for name, time in stages.items()
    )
    return _card(f"{sum(stages.values()):.1f} µs per atom", f'<table class="stages">{rows}</table>', wide=True)


# ---- numbers ------------------------------------------------------------------------


def _numbers(tables: list[TableCurves]) -> str:
    head = (
        "table",
        "lower",
        "upper",
        "max",
        "steps",
        "rows",
        "error of value",
        "at most",
        "of slope",
        "at most",
        "rests on",
        "inputs",
    )
    rows = []
    for curves in tables:
        facts, bound = curves.facts, curves.facts.get("bound") or {}
        cells = [facts["name"], *(f"{facts[name]:.6g}" for name in ("lower", "upper", "max"))]
        cells += [f"{facts['step0']:.4g}, {facts['step1']:.4g}", "{}, {}".format(*facts["rows"])]
        for part in ("value", "derivative"):
            cells += [_pair(facts["error"][part]), _pair(bound[part]) if bound else "not known"]
        rows.append([*cells, ", ".join(facts.get("by", ())), str(len(curves.inputs))])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{name}</th>" for name in head)
    note = "Pairs of numbers are of the first and of the second sub-table."
    return _card(note, f'<div class="scroll"><table><tr>{heads}</tr>{body}</table></div>', wide=True)


def _pair(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.1e}" for number in numbers)


def _facts(evidence: Evidence) -> str:
    properties = evidence.properties
    source = json.loads(properties["source"])
    shown = {
        "made from": f"{source['format']} {source['version']}",
        "its SHA-256": source["sha256"],
        "types": ", ".join(json.loads(properties["type_map"])),
        "descriptor": properties["descriptor"],
        "fitting": properties["fitting"],
        "precision": properties["precision"],
        "cutoff": f"{float(properties['cutoff']):g} Å",
        "smallest distance": f"{float(properties.get('min_distance') or 'nan'):.4g} Å",
        "fold": describe_fold(json.loads(properties.get("fold", "null"))) or "none",
        "written by": f"compress-onnx {properties['version']}",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in shown.items())
    return _card("As the file says", f'<div class="scroll"><table class="facts">{rows}</table></div>', wide=True)
