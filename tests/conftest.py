"""conftest - where the tests find the repository and the shared reference models; the instruction sets."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["lammps_runs"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("COMPRESS_ONNX_SHARED") or ROOT.parent / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared reference models; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is missing: set COMPRESS_ONNX_SHARED to the folder of reference models")
    return SHARED


@pytest.fixture(params=["base", "avx2", "avx512"])
def isa(request) -> str:
    """Each instruction set; those that this build or machine lacks are skipped."""
    from compress_onnx import _core

    if request.param not in _core.isas():
        pytest.skip(f"{request.param} cannot run here: {', '.join(_core.isas())} can")
    return request.param
