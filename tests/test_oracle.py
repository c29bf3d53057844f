"""test_oracle - trained models, compressed and evaluated by every route, against their uncompressed originals.

Every run takes a sample and models/; `pytest -m oracle` takes all that ../shared/oracle holds.
"""

from functools import cache

import compress_onnx as co
import numpy as np
import pytest
from bounds import check, force_bound
from cases import Case, models, oracle
from compress_onnx import _core, ort
from compress_onnx.engine import open_engine
from compress_onnx.model import ModelError
from conftest import SHARED

ROUTES = [(runtime, interface) for runtime in ("native", "onnxruntime", "functions") for interface in ("cell", "pairs")]

# what fixed strides come to where that is more than 1e-9 eV/Å: those of three bodies are ten times as wide
FIXED = {
    "models/angles.pth": 1e-8,
    "models/angles_typed.dp": 5e-9,
    "models/spin.pth": 3e-9,
    "models/typed.dp": 1e-8,
    "models/typed.pth": 1e-8,
    "cho3_se_t_tf/model.pb": 5e-9,
    "hybrid_a_t_tf/model.pb": 3e-9,
    "se_t_tf/model.pb": 3e-9,
    "fparam_aparam_tf/model.pb": 2e-9,
    "se_a_silut_tf/model.pb": 1e-8,  # not smooth at its threshold
}

# groups with a pair below the minimum distance: in the second, ten times coarser sub-table
CLOSE = {"short", "contact"}


def parameters(wanted=lambda case: True):
    given = oracle(SHARED / "oracle")
    parameters = []
    for case in filter(wanted, models() + given):
        marks = [pytest.mark.oracle, pytest.mark.sample] if case.sample else [pytest.mark.oracle]
        parameters.append(pytest.param(case, id=case.name, marks=marks))
    if not given:
        skip = pytest.mark.skip(reason=f"{SHARED / 'oracle'} is missing: set COMPRESS_ONNX_SHARED to its folder")
        parameters.append(pytest.param(None, id="oracle", marks=skip))
    return parameters


@pytest.fixture(scope="session")
def compressed(tmp_path_factory):
    """compressed(file, interface, **options): path and report, made once for the whole run."""
    folder = tmp_path_factory.mktemp("compressed")

    @cache
    def make(file, interface, **options):
        path = folder / f"{make.cache_info().misses}.onnx"
        return path, co.compress(file, path, interface=interface, **options)

    return make


@pytest.mark.parametrize("case", parameters())
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_equals_the_original(case: Case, route, compressed):
    runtime, interface = route
    if case.messages and interface == "pairs":
        pytest.skip("messages between atoms need all of them: test_attention.py sees that it is refused")
    path, _ = compressed(case.file, interface)
    if case.attentive and runtime == "native":
        with pytest.raises(ModelError, match="attention layers, which onnxruntime runs"):
            open_engine(path, "native")
        return
    evaluate = evaluator(path, runtime, interface)
    for frame in case.frames():
        check(evaluate(frame), frame, force_bound(case))


@pytest.mark.parametrize("case", parameters(lambda case: not case.float32))
def test_fixed_stride(case: Case, compressed):
    path, _ = compressed(case.file, "cell", step=0.01, fold=False)
    evaluate = evaluator(path, "onnxruntime" if case.attentive else "native", "cell")
    usual = FIXED.get(case.name, 2e-9 if case.messages else 1e-9)  # eV/Å: every atom's error reaches its neighbours
    for frame in case.frames():
        check(evaluate(frame), frame, force=max(5e-9, usual) if frame.group in CLOSE else usual)


def evaluator(path, runtime, interface):
    """A function from Frame to the dictionary of results."""
    if runtime == "native":
        engine = open_engine(path, "native")
        return lambda frame: native(engine, frame)
    session = ort.session(path, library=runtime == "onnxruntime")
    return lambda frame: onnxruntime(session, frame, interface)


def native(engine, frame):
    given = {"fparam": np.zeros(0), "aparam": np.zeros((len(frame.atype), 0))} | frame.parameters
    cell = frame.cell if frame.cell.any() else None
    return engine.evaluate(frame.coord, frame.atype, cell, atomic=engine.model.differentiable, **given)


def onnxruntime(session, frame, interface):
    feed = frame.inputs
    if interface == "pairs":
        cutoff = float(session.get_modelmeta().custom_metadata_map["compress_onnx.cutoff"])
        # longer than the cutoff, as an engine's list is
        reach = cutoff + (0.3 if frame.spin is None else 0.9)
        first, index, shift = _core.Neighbours().build(frame.coord, frame.cell, reach).arrays()
        feed |= {"pair_first": first, "pair_index": index, "pair_shift": shift}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))
