"""conftest - where the tests find the repository and the shared reference models; the instruction sets."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["lammps_runs"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("COMPRESS_ONNX_SHARED") or ROOT.parent / "shared")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """What make(folder) gives, in the folder `name` that all processes of a run share: of the first that asks for it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with open(folder / "made", "a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        if not (found := made.read()):
            made.write(found := str(make(folder)))
        return Path(found)


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
