"""describe - models, compressed files and validations as lines of text for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .model import Descriptor, Fitting, Model, Net, TabulatedNet, TwoBody
from .tabulate import taken_over
from .validate import Validation

ONNX_START = b"\x08"
TABLE_HEADS = "table, lower, upper, max, steps, rows, error of value, of slope, at most, of slope, rests on"


def describe_file(path: str, head: str | None = None) -> list[str]:
    """What a model file holds: an original of any format, or an .onnx of ours by its metadata."""
    if Path(path).is_file():
        with open(path, "rb") as file:
            if file.read(1) == ONNX_START:
                from .onnxfile import read_metadata

                return describe_metadata(path, read_metadata(path))
    from .readers import read

    return describe_model(read(path, head))


def describe_model(model: Model) -> list[str]:
    """An original, part by part."""
    facts = [
        ("file", model.source.path),
        ("format", " ".join(filter(None, (model.source.format, model.source.version)))),
        ("sha256", model.source.sha256),
        *([("head", model.source.head)] if model.source.head else []),
        ("types", " ".join(model.type_map)),
    ]
    for term in model.terms:
        for descriptor in term.descriptors:
            facts += _descriptor_facts(descriptor, model.all_types)
        if term.repformer is not None:
            layers = len(term.repformer.layers)
            facts.append(("repformer", f"{layers} layers of messages between neighbours; kept as nets"))
        facts += _fitting_facts(term.fitting, model.type_map)
        if term.pair is not None:
            facts.append(
                ("pair table", f"below {term.pair.outer:g} Å, alone below {term.pair.inner:g} Å; kept as it is")
            )
    if model.spin is not None:
        scales = " ".join(f"{name} {scale:g}" for name, scale in zip(model.type_map, model.spin, strict=True) if scale)
        facts.append(("spin", f"virtual atoms, Å per unit of spin: {scales}"))
    if model.masked:
        facts.append(("mask", "aparam says which atoms are there"))
    facts += [("note", note) for note in taken_over(model)]
    distance = "unknown" if model.min_distance is None else f"{model.min_distance:.6g} Å"
    return list(columns([*facts, ("smallest distance", distance)]))


def _descriptor_facts(descriptor: Descriptor, type_map: tuple[str, ...]) -> list[tuple[str, str]]:
    switch = descriptor.switch
    form = "of three bodies"
    if isinstance(descriptor, TwoBody):
        form = f"axis {descriptor.axis}" if descriptor.axis else "radial"
    sel = " ".join(map(str, descriptor.sel)) + (" of all types" if descriptor.shared and len(type_map) > 1 else "")
    facts = [
        ("descriptor", f"{descriptor.kind}, {descriptor.precision}, {form}"),
        ("cutoff", f"{switch.cutoff:g} Å, smooth from {switch.smooth:g} Å"),
        ("sel", sel),
        ("embedding", f"{_nets(descriptor.nets)}; {_tabulated(descriptor)}"),
        ("compresses", "yes"),
    ]
    if descriptor.exclude_types:
        pairs = " ".join(f"{type_map[a]}-{type_map[b]}" for a, b in descriptor.exclude_types)
        facts.insert(3, ("excluded", pairs))
    if descriptor.scale is not None:
        gate = "" if descriptor.gate == "none" else f", gated by the {descriptor.gate}"
        facts.insert(-1, ("type embedding", f"{len(descriptor.scale)} factors of the tables{gate}"))
    attention = getattr(descriptor, "attention", None)
    if attention is not None:
        layers = len(attention.layers)
        facts.insert(-1, ("attention", f"{layers} layers, which see all neighbours at once; kept as nets"))
    return facts


def _tabulated(descriptor: Descriptor) -> str:
    if isinstance(descriptor.nets[0], TabulatedNet):
        return "tabulated by dp compress"
    return "tabulated, as functions of one number"


def _fitting_facts(fitting: Fitting, type_map: tuple[str, ...]) -> list[tuple[str, str]]:
    inputs = fitting.nets[0].layers[0].weight.shape[0]
    shapes = f"{_nets(fitting.nets)}; of {inputs} numbers, kept as nets"
    facts = [("fitting", f"{fitting.kind}, {fitting.precision}: {shapes}")]
    widths = {
        "constants of a type": fitting.constant.shape[1],
        "fparam": fitting.fparam.shape[1],
        "aparam": fitting.aparam.shape[1],
    }
    inputs = ", ".join(f"{width} {name}" for name, width in widths.items() if width)
    if inputs:
        facts.append(("further inputs", inputs))
    silent = " ".join(name for name, net in zip(type_map, fitting.net, strict=False) if net < 0)
    if silent:
        facts.append(("types without a net", silent))
    return facts


def _nets(nets: Iterable[Net | TabulatedNet]) -> str:
    """Layer widths, and how many nets have them."""
    return ", ".join(f"{count} x {shape}" for shape, count in Counter(map(_shape, nets)).items())


def _shape(net: Net | TabulatedNet) -> str:
    if isinstance(net, TabulatedNet):
        return f"{net.width} channels"
    return "-".join(str(layer.weight.shape[1]) for layer in net.layers) + f" {net.layers[0].activation}"


def describe_metadata(path: str, facts: dict[str, str]) -> list[str]:
    """An .onnx of ours: what it was made from, and its tables."""
    sources, accuracy = json.loads(facts["source"]), json.loads(facts.get("accuracy", "null"))
    sources = sources if isinstance(sources, list) else [sources]
    distance = facts.get("min_distance")
    shown = {
        "file": path,
        "kind": f"{facts['kind']}, written by compress-onnx {facts['version']}",
        **({"models": f"{facts['models']}, an ensemble: results are means"} if "models" in facts else {}),
        "made from": "; ".join(dict.fromkeys(" ".join(filter(None, (s["format"], s["version"]))) for s in sources)),
        "its sha256": " ".join(source["sha256"] for source in sources),
        "types": " ".join(json.loads(facts["type_map"])),
        "descriptor": facts["descriptor"],
        "fitting": facts["fitting"],
        "precision": facts["precision"],
        "interface": facts["interface"],
        "cutoff": f"{float(facts['cutoff']):g} Å",
        "smallest distance": f"{float(distance):.6g} Å" if distance else "unknown",
    }
    if accuracy:
        shown["accuracy"] = f"{accuracy['tolerance']:g} eV/Å, measured {accuracy['force_error']:.1e}, {accuracy['how']}"
        if "by" in accuracy:
            shown["accuracy"] += f"; {accuracy['force_estimate']:.1e} by {accuracy['by']}"
        if accuracy.get("force_bound"):
            shown["accuracy"] += f"; {accuracy['force_bound']:.1e} if all tables erred by their bounds"
    fold = describe_fold(json.loads(facts.get("fold", "null")))
    if fold:
        shown["fold"] = fold
    tables = json.loads(facts.get("tables", "[]"))
    return [*columns(shown.items()), *([""] if tables else []), *columns(_table_rows(tables))]


def describe_fold(fold: dict | None) -> str:
    """A fold by its metadata; nothing where there is none."""
    if not fold:
        return ""
    ranks = (
        f"rank {' '.join(map(str, some))} of {channels} channels"
        for some, channels in zip(fold["ranks"], fold["channels"], strict=True)
    )
    return f"{'; '.join(ranks)}; adds {fold['force_error']:.1e}"


def _table_rows(tables: list[dict]) -> Iterable[tuple[str, ...]]:
    if tables:
        yield tuple(TABLE_HEADS.split(", "))
    for table in tables:
        errors = (
            "{:.1e} {:.1e}".format(*found[part]) if found else "unknown"
            for found in (table["error"], table.get("bound"))
            for part in ("value", "derivative")
        )
        bounds = (f"{table[name]:.6g}" for name in ("lower", "upper", "max"))
        steps = f"{table['step0']:.4g} {table['step1']:.4g}"
        yield table["name"], *bounds, steps, "{} {}".format(*table["rows"]), *errors, " ".join(table.get("by", ()))


def describe_validation(found: Validation) -> list[str]:
    """A validation as a table and a verdict."""
    rows = [("", "largest", "rms", "")]
    units = {"energy": "eV/atom", "force": "eV/Å", "virial": "eV/atom"}
    for name, unit in units.items():
        rows.append((name, *(f"{getattr(found, f'{name}_{kind}'):.1e}" for kind in ("max", "rms")), unit))
    if found.gradient is not None:
        rows.append(("force against differences of the energy", f"{found.gradient:.1e}", "", "relative"))
    if found.nve is not None:
        length = f"in {found.nve.steps} steps of {found.nve.timestep:g} fs, {found.nve.atoms} atoms"
        rows.append((f"drift of the total energy {length}", found.nve.text, "", f"eV per atom and ns{found.nve.note}"))
    verdict = "within" if found.ok else "BEYOND"
    lines = [f"{found.frames} frames, {found.atoms} atoms; compressed minus original:", *columns(rows)]
    return [*lines, f"{verdict} the tolerance: {found.error:.1e} of {found.tolerance:g} eV/Å"]


def columns(rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """Rows of text with their columns aligned; rows whose last cells are empty end earlier."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
