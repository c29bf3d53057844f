"""test_anywhere - every model of models/ without our library: both forms of its file, in onnxruntime and in onnx.reference."""

from functools import cache
from pathlib import Path

import onnx
import onnxruntime
import pytest
from cases import Case, models
from forms import FORMS, check_elsewhere, write_forms
from onnx.reference import ReferenceEvaluator

FEW = 32  # atoms that onnx.reference is given, which is slow


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """written(file): the path of each form of a compressed file, made once."""
    folder = tmp_path_factory.mktemp("anywhere")
    return cache(lambda file: write_forms(file, folder))


def in_onnxruntime(path: Path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run


def in_onnx_reference(path: Path):
    return ReferenceEvaluator(str(path)).run


@pytest.mark.parametrize("runtime", [in_onnxruntime, in_onnx_reference], ids=lambda runtime: runtime.__name__[3:])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", models(), ids=lambda case: case.name)
def test_without_our_library(case: Case, form, runtime, written):
    paths = written(case.file)
    run, names = runtime(paths[form]), [output.name for output in onnx.load(paths[form]).graph.output]
    most = FEW if runtime is in_onnx_reference else 1000
    frames = [frame for frame in case.frames() if len(frame.atype) <= most]
    assert len(frames) >= 3
    for frame in frames:
        found = dict(zip(names, run(names, frame.inputs), strict=True))
        check_elsewhere(found, frame, case, paths["functions"])
