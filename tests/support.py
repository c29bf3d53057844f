"""support - writes docs/support.md: which models are read, from which formats, and which files of the tests prove it.

python tests/support.py
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cases
from compress_onnx.model import Model, TabulatedNet, TwoBody
from compress_onnx.readers import read
from compress_onnx.readers.refusals import REFUSED
from conftest import ROOT, SHARED

DOCUMENT = ROOT / "docs/support.md"
DATA = ROOT / "tests/data"
COLUMNS = (".pb, .pbtxt", ".pth", ".pt", ".dp, .yaml", "made by dp compress")
SUFFIXES = {".pb": COLUMNS[0], ".pth": COLUMNS[1], ".pt": COLUMNS[2], ".dp": COLUMNS[3], ".yaml": COLUMNS[3]}
HEADS = {"checkpoints/heads.pt": "ice"}  # of files of several models, the one that is shown
SHOWN = 2  # names in a cell
BEGINNING = """# What is read

Made by `python tests/support.py` from the files that the tests compare with the results of DeePMD-kit itself: `NAME`
is a case of the shared reference models, a path one of this repository. `.pt` are training checkpoints; names there are
of the frozen models with the same arrays. A `.yaml` file equals the `.dp` file of the same model, an `.onnx` of
`compress-onnx convert` the file that it was made from. What `dp compress` has made, `.pb`, `.pth` or `.dp`, keeps its
tables. All fitting nets take `fparam` and `aparam`.

What has attention layers or layers of messages (DPA-2) is evaluated by onnxruntime alone, everything else by `libdpc`
(native, LAMMPS, ASE) and by onnxruntime.

"""
REFUSALS = """
## What is not

One sentence says so, with the file's name before it:

"""


class Proof(NamedTuple):
    """A file, and the place in the table that it stands for."""

    row: tuple[str, str, str, str]  # descriptor, what is fitted, precision, what evaluates it
    column: str
    name: str
    shared: bool  # not of this repository


def proofs() -> Iterator[Proof]:
    """Of all files there are."""
    found = [case.file for case in cases.models() + cases.oracle(SHARED / "oracle")]
    found += sorted(SHARED.glob("oracle/*/model-compressed.*"))
    for folder in ("kinds", "graphs", "checkpoints", "compressed"):
        found += sorted(file for file in (DATA / folder).iterdir() if file.suffix in SUFFIXES)
    for file in found:
        shared = SHARED in file.parents
        model = read(file, HEADS.get(file.relative_to(DATA).as_posix()) if DATA in file.parents else None)
        name = file.parent.name if shared else file.relative_to(ROOT).as_posix()
        tables = any(isinstance(net, TabulatedNet) for part in model.descriptors for net in part.nets)
        yield Proof(row(model), COLUMNS[4] if tables else SUFFIXES[file.suffix], name, shared)
        if shared and file.name == "model.pth":
            yield Proof(row(model), SUFFIXES[".pt"], name, shared)


def row(model: Model) -> tuple[str, str, str, str]:
    terms = [
        " + ".join(map(kind, term.descriptors)) + " + messages" * (term.repformer is not None) for term in model.terms
    ]
    descriptor = terms[0] if len(terms) == 1 else f"linear: {', '.join(sorted(set(terms)))}"
    fitted = model.kind
    fitted += ", pair table" * any(term.pair is not None for term in model.terms) + ", spin" * (model.spin is not None)
    runtime = "onnxruntime" if any(term.attentive for term in model.terms) else "both"
    return descriptor, fitted, model.precision, runtime


def kind(descriptor) -> str:
    if descriptor.kind != "se_atten":
        return descriptor.kind
    form = "strip" if descriptor.scale is not None else "concat"
    attention = ", attention" if isinstance(descriptor, TwoBody) and descriptor.attention else ""
    return f"DPA-1 ({form}{attention})"


def document(found: list[Proof]) -> str:
    rows = defaultdict(lambda: defaultdict(list))
    for proof in found:
        rows[proof.row][proof.column].append(proof.name)
    lines = ["| descriptor | fitted | precision | evaluated by | " + " | ".join(COLUMNS) + " |", "|---" * 9 + "|"]
    for place in sorted(rows):
        cells = (cell(rows[place][column]) for column in COLUMNS)
        lines.append(f"| {' | '.join((*place, *cells))} |")
    refused = (f"- {refusal.what[0].upper()}{refusal.what[1:]}: {refusal.remedy}." for refusal in REFUSED.values())
    return BEGINNING + "\n".join(lines) + "\n" + REFUSALS + "\n".join(refused) + "\n"


def cell(names: list[str]) -> str:
    names = sorted(set(names))
    more = f", {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + more


def write(path: Path = DOCUMENT) -> None:
    path.write_text(document(list(proofs())))


if __name__ == "__main__":
    write()
