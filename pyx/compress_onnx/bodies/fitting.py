"""fitting - from features to an atom's numbers: FittingNet, and what dipoles and polarisabilities make of it."""

from __future__ import annotations

import numpy as np

from ..model import Net
from .builder import Body
from .layers import forward, parameters

FITTING_DOC = """A fitting net: x [n, in], then weight, bias and idt of each layer -> value [n, outputs]."""

DIPOLE_DOC = """output [n, M], rotation [n, 3, M] -> tensor [n, 3], the sum over m of output_m rotation_m."""

POLAR_DOC = """output [n, M] or [n, M M] (symmetric), rotation [n, 3, M] -> tensor [n, 9]: rotation times the (diagonal)
matrix `output` times rotation transposed, row by row."""


def fitting_net(name: str, net: Net, real: np.dtype) -> Body:
    """The function for every net of this one's architecture; the parameters are its inputs after `x`."""
    b = Body(name, FITTING_DOC, {"x": (real, "n in")} | parameters("", net, real), ["x"])
    b.op("Identity", forward(b, "", net, b["x"])).named("value")
    return b.returns("value")


def dipole(name: str, real: np.dtype) -> Body:
    b = Body(name, DIPOLE_DOC, {"output": (real, "n width"), "rotation": (real, "n 3 width")}, ["output", "rotation"])
    (b["rotation"] * b["output"].unsqueeze(1)).sum(2).named("tensor")
    return b.returns("tensor")


def polar(name: str, real: np.dtype, *, diagonal: bool) -> Body:
    b = Body(name, POLAR_DOC, {"output": (real, "n width"), "rotation": (real, "n 3 width")}, ["output", "rotation"])
    output, rotation = b["output"], b["rotation"]
    width = rotation.size(2)
    left = rotation * output.unsqueeze(1) if diagonal else rotation @ output.reshape(output.size(0), width, width)
    (left @ rotation.transposed()).reshape(-1, 9).named("tensor")
    return b.returns("tensor")
