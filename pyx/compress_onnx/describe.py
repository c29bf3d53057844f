"""describe - models, compressed files and validations as lines of text for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .model import Model, Net
from .nets import is_kinked
from .validate import Validation

ONNX_START = b"\x08"


def describe_file(path: str) -> list[str]:
    """What a model file holds: an original of any format, or an .onnx of ours by its metadata."""
    if Path(path).is_file():
        with open(path, "rb") as file:
            if file.read(1) == ONNX_START:
                from .onnxfile import read_metadata

                return describe_metadata(path, read_metadata(path))
    from .readers import read

    return describe_model(read(path))


def describe_model(model: Model) -> list[str]:
    """An original, part by part."""
    descriptor, fitting, switch = model.descriptor, model.fitting, model.descriptor.switch
    sides = "one net for each neighbour type" if descriptor.type_one_side else "one net for each pair of types"
    excluded = [f"{model.type_map[a]}-{model.type_map[b]}" for a, b in descriptor.exclude_types]
    facts = {
        "file": model.source.path,
        "format": " ".join(filter(None, (model.source.format, model.source.version))),
        "sha256": model.source.sha256,
        "types": " ".join(model.type_map),
        "descriptor": f"{descriptor.kind}, {descriptor.precision}, {sides}",
        "cutoff": f"{switch.cutoff:g} Å, smooth from {switch.smooth:g} Å",
        "sel": " ".join(map(str, descriptor.sel)),
        "excluded": " ".join(excluded),
        "embedding": _nets(descriptor.nets),
        "axis": str(descriptor.axis),
        "fitting": f"{fitting.kind}, {fitting.precision}: {_nets(fitting.nets)}",
        "smallest distance": "unknown" if model.min_distance is None else f"{model.min_distance:.6g} Å",
        "compresses": _compresses(descriptor.nets),
    }
    return list(columns(facts.items()))


def _compresses(nets: Iterable[Net]) -> str:
    if any(is_kinked(net) for net in nets):
        return "with errors beyond the accuracy: its tables are smooth, relu and relu6 have kinks"
    return "yes"


def _nets(nets: Iterable[Net]) -> str:
    """Layer widths, and how many nets have them."""
    shapes = Counter(
        "-".join(str(layer.weight.shape[1]) for layer in net.layers) + f" {net.layers[0].activation}" for net in nets
    )
    return ", ".join(f"{count} x {shape}" for shape, count in shapes.items())


def describe_metadata(path: str, facts: dict[str, str]) -> list[str]:
    """An .onnx of ours: what it was made from, and its tables."""
    source, accuracy = json.loads(facts["source"]), json.loads(facts.get("accuracy", "null"))
    distance = facts.get("min_distance")
    shown = {
        "file": path,
        "kind": f"{facts['kind']}, written by compress-onnx {facts['version']}",
        "made from": " ".join(filter(None, (source["format"], source["version"]))),
        "its sha256": source["sha256"],
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
    fold = json.loads(facts.get("fold", "null"))
    if fold:
        ranks = " ".join(map(str, fold["ranks"]))
        shown["fold"] = f"rank {ranks} of {fold['channels']} channels, adds {fold['force_error']:.1e} eV/Å"
    tables = json.loads(facts.get("tables", "[]"))
    return [*columns(shown.items()), *([""] if tables else []), *columns(_table_rows(tables))]


def _table_rows(tables: list[dict]) -> Iterable[tuple[str, ...]]:
    if tables:
        yield "table", "lower", "upper", "max", "steps", "rows", "error of value", "of slope"
    for table in tables:
        errors = ("{:.1e} {:.1e}".format(*table["error"][part]) for part in ("value", "derivative"))
        bounds = (f"{table[name]:.6g}" for name in ("lower", "upper", "max"))
        steps = f"{table['step0']:.4g} {table['step1']:.4g}"
        yield table["name"], *bounds, steps, "{} {}".format(*table["rows"]), *errors


def describe_validation(found: Validation) -> list[str]:
    """A validation as a table and a verdict."""
    rows = [("", "largest", "rms", "")]
    units = {"energy": "eV/atom", "force": "eV/Å", "virial": "eV/atom"}
    for name, unit in units.items():
        rows.append((name, *(f"{getattr(found, f'{name}_{kind}'):.1e}" for kind in ("max", "rms")), unit))
    if found.gradient is not None:
        rows.append(("force against differences of the energy", f"{found.gradient:.1e}", "", "relative"))
    verdict = "within" if found.ok else "BEYOND"
    lines = [f"{found.frames} frames, {found.atoms} atoms; compressed minus original:", *columns(rows)]
    return [*lines, f"{verdict} the tolerance: {found.error:.1e} of {found.tolerance:g} eV/Å"]


def columns(rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """Rows of text with their columns aligned; rows whose last cells are empty end earlier."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
