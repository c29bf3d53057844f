"""The models of tests/test_cuda.py on a GPU, and what only a GPU can tell; skipped where there is none."""

import os

import compress_onnx as co
import cuda_models
import numpy as np
import pytest
from cases import MODELS, frames_of_model
from compress_onnx import DeepPot, _core
from coremodels import loaded


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if "DPC_CUDA_LIBRARY" in os.environ:
        pytest.skip("DPC_CUDA_LIBRARY names a library, which may be the host's")
    if _core.devices() == 0:
        try:
            _core.Workspace(loaded(), "cuda:0")
        except co.ModelError as error:
            pytest.skip(str(error))


def test_models(capsys):
    differ = cuda_models.main([])
    assert differ == 0, capsys.readouterr().out


def test_many_atoms(tmp_path):
    """More than a chunk, and more blocks than a device has room for."""
    co.compress(MODELS / "water.pth", tmp_path / "water.onnx", check="none")
    frame = next(frame for frame in frames_of_model(MODELS / "water.pth") if frame.group == "periodic")
    shifts = np.indices((6, 6, 6)).reshape(3, -1).T @ frame.cell
    coord = (shifts[:, None] + frame.coord).reshape(1, -1, 3)
    given = coord, 6 * frame.cell[None], np.tile(frame.atype, len(shifts))
    ours, theirs = (DeepPot(tmp_path / "water.onnx", device=device).eval(*given) for device in ("cuda:0", "cpu"))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-10)
