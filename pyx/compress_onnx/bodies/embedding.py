"""embedding - bodies of EmbeddingNet and NetContractionGrad: the nets themselves where a compressed model has tables."""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto

from ..model import Net
from .builder import I64, Body
from .contraction import env_grad
from .layers import Forward, parameter_names

EMBEDDING_DOC = """Every slot's embedding net at env[0], with its derivative.
env [n, slots, 4], net [n, slots] (-1: zeros) -> value, slope [n, slots, M]."""

GRAD_DOC = """Backward of X = sum over slots of env times net value: grad [n, 4, M] -> env_grad [n, slots, 4]."""


def embedding_parameters(nets: tuple[Net, ...]) -> list[str]:
    return [name for number, net in enumerate(nets) for name in parameter_names(f"embed.{number}.", net.layers)]


def embedding_net(nets: tuple[Net, ...], real: np.dtype) -> FunctionProto:
    inputs = {"env": real, "net": I64} | dict.fromkeys(embedding_parameters(nets), real)
    b = Body("EmbeddingNet", EMBEDDING_DOC, inputs)
    x = b["env"].take(np.array(0), axis=2).reshape(-1)
    net_of_slot = b["net"].reshape(-1)
    places, results = [], []
    for number, net in enumerate(nets):
        place = b.op("NonZero", net_of_slot.equals(number)).squeeze(0)
        value = x.take(place).unsqueeze(1)
        slope = b.full(1, real, place.size(), 1)
        for depth, layer in enumerate(net.layers):
            step = Forward(b, f"embed.{number}.{depth}.", layer, value)
            value, slope = step.output, step.tangent(slope)
        places.append(place.unsqueeze(1))
        results.append(b.concat(value.unsqueeze(1), slope.unsqueeze(1), axis=1))
    blank = b.full(0, real, x.size(), 2, nets[0].width)
    both = b.op("ScatterND", blank, b.concat(*places), b.concat(*results), dtype=real)
    shape = (b["net"].size(0), b["net"].size(1), nets[0].width)
    both.take(np.array(0), axis=1).reshape(*shape).named("value")
    both.take(np.array(1), axis=1).reshape(*shape).named("slope")
    return b.function("value", "slope")


def net_contraction_grad(real: np.dtype) -> FunctionProto:
    b = Body("NetContractionGrad", GRAD_DOC, {"env": real, "net": I64, "value": real, "slope": real, "grad": real})
    grad = b["grad"].turned(1)
    env_grad(b, b["value"] @ grad, b["slope"] @ grad)
    return b.function("env_grad")
