"""forms - both forms of a compressed file that run without our library, and the comparison of results with libdpc's."""

from pathlib import Path

import compress_onnx as co
import numpy as np
import onnx
from bounds import check, force_bound
from cases import Case, Frame
from compress_onnx import onnxfile
from compress_onnx.engine import open_engine

FORMS = ("functions", "portable")
SAME = {False: 5e-11, True: 1e-4}  # of results to those of libdpc, relative to the largest; by Case.float32


def write_forms(file: Path, folder: Path) -> dict[str, Path]:
    """The path of each form; without a fold, which is for libdpc alone and would be all that they differ by."""
    paths = {form: folder / f"{file.name}.{form}.onnx" for form in FORMS}
    co.compress(file, paths["functions"], fold=False, check="none")
    onnxfile.write(onnxfile.inline(onnx.load(paths["functions"])), paths["portable"])
    return paths


def check_elsewhere(found: dict[str, np.ndarray], frame: Frame, case: Case, path: Path) -> None:
    """Results of another runtime against those of the original and against libdpc's of the file `path`."""
    check(
        {name: np.reshape(found[name], np.shape(frame.expected[name])) for name in frame.expected},
        frame,
        force_bound(case),
    )
    ours = libdpc(path, frame)
    for name in {"energy", "tensor", "force"} & set(ours):
        off = np.abs(np.ravel(found[name]) - np.ravel(ours[name])).max(initial=0)
        assert off <= SAME[case.float32] * max(1, np.abs(ours[name]).max(initial=0)), (frame.group, name, off)


def libdpc(path: Path, frame: Frame) -> dict[str, np.ndarray]:
    """What libdpc gives, or onnxruntime with our library where attention layers are."""
    parameters = {"fparam": None, "aparam": None} | frame.parameters
    cell = frame.cell if frame.cell.any() else None
    return open_engine(path).evaluate(frame.coord, frame.atype, cell, **parameters, atomic=False)
