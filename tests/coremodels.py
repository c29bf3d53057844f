"""coremodels - random models in the form that libdpc loads."""

from dataclasses import replace
from functools import cache

import randommodels
from compress_onnx import _core, graph
from compress_onnx.model import Model
from compress_onnx.tabulate import Grid, make

PRECISIONS = ("float64", "float32", "mixed")
FINE = Grid("fine", -2.0, 0.01, 600, 0.025, 600)  # 1e-11 from the nets; nothing is outside
COARSE = Grid("coarse", -2.0, 0.0625, 96, 0.125, 120)  # for float32, whose rounding finer steps would blow up
SHORT = Grid("short", 0.2, 0.25, 4, 0.2, 3)  # many inputs are below, in either part, on either side of nodes, beyond
VARIANTS = {
    "plain": {},
    "by type": {"total_first": False},
    "one side": {"one_side": True},
    "isotropic": {"mean": 0.0, "activation": "silu"},
    "excluded": {"exclude": ((0, 1), (1, 1))},
    "three types": {"sel": (20, 0, 30), "idt": True, "activation": "gelu"},
    "too many, total first": {"sel": (3, 5), "exclude": ((0, 1),)},
    "too many, by type": {"sel": (3, 4), "total_first": False, "activation": "softplus"},
}


@cache
def variant(name: str) -> Model:
    model = randommodels.model(1, **VARIANTS[name])
    if name != "isotropic":
        return model
    std = model.descriptor.std[:, [0, 1, 1, 1]]  # only then does the energy not change when all is turned
    return replace(model, descriptor=replace(model.descriptor, std=std))


def fine(precision: str) -> Grid:
    """The grid that comes closest to the nets."""
    return FINE if precision == "float64" else COARSE


@cache
def onnx_bytes(name: str = "plain", precision: str = "float64", grid: Grid | None = None) -> bytes:
    """The file of a variant."""
    model = variant(name)
    tables = [make(net, grid or fine(precision)) for net in model.descriptor.nets]
    return graph.compressed(model, tables, precision=precision).SerializeToString()


@cache
def loaded(name: str = "plain", precision: str = "float64", grid: Grid | None = None) -> _core.Model:
    return _core.Model(onnx_bytes(name, precision, grid))


def compute(coord, atype, cell=None, *, name="plain", precision="float64", grid=None, **how) -> dict:
    """dpc_model_compute of a variant, in a workspace of its own."""
    return _core.Workspace(loaded(name, precision, grid)).compute(coord, atype, cell, atomic=True, **how)
