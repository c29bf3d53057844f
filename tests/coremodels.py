"""coremodels - random models of every kind in the form that libdpc loads."""

from functools import cache

import numpy as np
import randommodels
from compress_onnx import _core, digest, graph
from compress_onnx.ensemble import join
from compress_onnx.model import Model, ThreeBody
from compress_onnx.tabulate import Grid, make

PRECISIONS = ("float64", "float32", "mixed")
FINE = Grid("fine", -2.0, 0.005, 1200, 0.0125, 1200)  # 1e-12 from the nets; nothing is outside
COARSE = Grid("coarse", -2.0, 0.0625, 96, 0.125, 120)  # for float32, whose rounding finer steps would blow up
SHORT = Grid("short", 0.2, 0.25, 4, 0.2, 3)  # many inputs are below, in either part, on either side of nodes, beyond
# the same for products of two directions
ANGLES = {FINE: Grid("fine", -18.0, 0.005, 4800, 0.0125, 1200), COARSE: Grid("coarse", -18.0, 0.0625, 384, 0.125, 120)}
VARIANTS = {
    "plain": {},
    "by type": {"total": 0},
    "one side": {"one_side": True},
    "isotropic": {"mean": 0.0, "activation": "silu"},
    "excluded": {"exclude": ((0, 1), (1, 1))},
    "three types": {"sel": (20, 0, 30), "idt": True, "activation": "gelu"},
    "too many, total first": {"sel": (3, 5), "exclude": ((0, 1),)},
    "too many, by type": {"sel": (3, 4), "total": 0, "activation": "softplus"},
    "too many, some ignored": {"sel": (4, 4), "ignored": ((0, 1),), "activation": "silut"},
    "radial": {"kind": "se_e2_r", "exclude": ((0, 1),), "one_side": True},
    "strip": {"kind": "se_atten", "types": 3, "mixed": True, "exclude": ((0, 2),)},
    "strip, gated": {"kind": "se_atten_v2", "types": 3, "exclude": ((0, 2),), "fitting": "property"},
    "strip, surrogate": {"kind": "se_atten_tf", "unfitted": (1,)},
    "strip, by type": {"kind": "se_a_tebd_v2", "types": 3, "fparam": 2, "aparam": 1},
    "too many, shared": {"kind": "se_atten_v2", "sel": (7,), "ignored": ((0, 0),)},
    "three bodies": {"kind": "se_e3", "sel": (12, 0, 16), "exclude": ((0, 2),)},
    "three bodies, strip": {"kind": "se_e3_tebd", "fitting": "dos"},
    "three bodies, gated": {"kind": "se_e3_tebd_smooth", "types": 3, "exclude": ((0, 1),)},
    "too many, three bodies": {"kind": "se_e3", "sel": (3, 2)},
    "hybrid": {"kind": "se_e2_a+se_e2_r+se_atten_v2+se_e3_tebd_smooth", "mixed": True, "fparam": 1, "aparam": 2},
    "dipole": {"fitting": "dipole"},
    "dipole, hybrid": {"kind": "se_e2_a+se_atten_v2", "fitting": "dipole", "unfitted": (0,)},
    "polar": {"fitting": "polar", "mixed": True},
    "polar, matrix": {"kind": "se_atten_v2+se_a_tebd_v2", "fitting": "polar_full", "aparam": 1},
    "intensive": {"kind": "se_e2_r", "fitting": "property_intensive"},
    "linear": {},
}
LINEAR = ({"kind": "se_e2_a"}, {"kind": "se_e3_tebd_smooth+se_e2_r", "mixed": True}, {"kind": "se_atten_v2"})


@cache
def variant(name: str) -> Model:
    if name == "linear":
        return randommodels.linear(
            *(randommodels.random_model(seed=k, fparam=2, **one) for k, one in enumerate(LINEAR))
        )
    if name == "ensemble":
        return join([randommodels.random_model(seed=k) for k in (0, 1, 3)])
    model = randommodels.random_model(seed=1, **VARIANTS[name])
    if name == "isotropic":
        for descriptor in model.descriptors:  # only then does the energy not change when all is turned
            descriptor.std[:] = descriptor.std[:, [0, 1, 1, 1]]
    return model


def fine(precision: str) -> Grid:
    """The grid that comes closest to the nets."""
    return FINE if precision == "float64" else COARSE


@cache
def onnx_bytes(name: str = "plain", precision: str = "float64", grid: Grid | None = None) -> bytes:
    """The file of a variant."""
    return file_of(variant(name), precision, grid)


def file_of(model: Model, precision: str = "float64", grid: Grid | None = None, interface: str = "cell") -> bytes:
    """The compressed file of a model, all tables on one grid."""
    grid = grid or fine(precision)
    tables = [
        make(net, ANGLES.get(grid, grid) if isinstance(descriptor, ThreeBody) else grid)
        for descriptor in model.descriptors
        for net in descriptor.nets
    ]
    return digest.serialise(graph.compressed(model, tables, precision=precision, interface=interface))


@cache
def loaded(name: str = "plain", precision: str = "float64", grid: Grid | None = None) -> _core.Model:
    return _core.Model(onnx_bytes(name, precision, grid))


def parameters(name: str, atoms: int) -> dict[str, np.ndarray]:
    """fparam and aparam for so many atoms, where the variant takes them."""
    model, rng = loaded(name), np.random.default_rng(11)
    frame, atomic = rng.normal(size=model.fparams), rng.normal(size=(atoms, model.aparams))
    return ({"fparam": frame} if model.fparams else {}) | ({"aparam": atomic} if model.aparams else {})


def compute(coord, atype, cell=None, *, name="plain", precision="float64", grid=None, **how) -> dict:
    """dpc_model_compute of a variant, in a workspace of its own."""
    model = loaded(name, precision, grid)
    return _core.Workspace(model).compute(coord, atype, cell, atomic=True, **parameters(name, len(coord)) | how)
