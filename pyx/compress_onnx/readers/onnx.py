"""onnx - an uncompressed model that compress-onnx wrote, as a Model again; docs/format.md names its tensors."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper

from ..model import ACTIVATIONS, EnergyFitting, Model, ModelError, Net, SeA, Switch
from . import parts

_PREFIX = "compress_onnx."
_FORMAT = "1"


def read_onnx(path: str, data: bytes) -> Model:
    try:
        proto = onnx.load_from_string(data)
    except DecodeError:
        raise ModelError("is no model, or a truncated .onnx: give a .pb, .pth, .dp or .yaml file") from None
    facts = {prop.key.removeprefix(_PREFIX): prop.value for prop in proto.metadata_props}
    _refuse_foreign(facts)
    try:
        external_data_helper.load_external_data_for_model(proto, os.path.dirname(os.path.abspath(path)))
    except (OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"its external data cannot be read ({error}): keep both files together") from None
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    origin = json.loads(facts.get("source") or "{}")
    distance = facts.get("min_distance")
    return Model(
        type_map=tuple(json.loads(facts["type_map"])),
        descriptor=_se_a(tensors, facts["precision"]),
        fitting=EnergyFitting(
            nets=_nets(tensors, "fit"),
            bias=parts.array(tensors["energy_bias"], "energy_bias"),
            precision=parts.precision(facts["precision"], "fitting net"),
        ),
        source=parts.source(path, data, "onnx", str(origin.get("version", ""))),
        min_distance=float(distance) if distance else None,
    )


def _refuse_foreign(facts: dict[str, str]) -> None:
    if "format" not in facts:
        raise ModelError("is an .onnx that compress-onnx did not write: give the trained model itself")
    if facts["format"] != _FORMAT:
        raise ModelError(f"has file format {facts['format']}, not {_FORMAT}: use the compress-onnx that wrote it")
    if facts.get("kind") != "uncompressed":
        raise ModelError("is compressed already: give the trained model that it was made from")
    for part, kind in (("descriptor", "se_e2_a"), ("fitting", "ener")):
        if facts.get(part) != kind:
            raise parts.unsupported(f"{part} {facts.get(part)}")


def _se_a(tensors: dict[str, np.ndarray], precision: str) -> SeA:
    pad_net, net = tensors["pad_net"], tensors["net"]
    known = np.maximum(net, pad_net)
    return SeA(
        switch=Switch(*parts.array(tensors["switch"], "switch", (4,)).tolist()),
        sel=tuple(tensors["sel"].tolist()),
        total_first=bool(tensors["total_first"].item()),
        count=float(tensors["count"].item()),
        mean=parts.array(tensors["env_mean"], "env_mean"),
        std=parts.array(tensors["env_std"], "env_std"),
        nets=_nets(tensors, "embed"),
        net=net,
        pad_net=pad_net,
        axis=int(tensors["axis"].item()),
        precision=parts.precision(precision, "descriptor"),
        # One net for a neighbour type, whatever the centre; an excluded pair may have none.
        type_one_side=all(len(set(column[column >= 0])) <= 1 for column in known.T),
        exclude_types=tuple((int(i), int(j)) for i, j in np.argwhere(net < 0)),
    )


def _nets(tensors: dict[str, np.ndarray], kind: str) -> tuple[Net, ...]:
    activations, residuals = tensors[f"{kind}_activation"], tensors[f"{kind}_residual"]
    nets = []
    for number, codes in enumerate(zip(activations, residuals, strict=True)):
        layers = []
        for depth, (code, residual) in enumerate(zip(*codes, strict=True)):
            name = f"{kind}.{number}.{depth}"
            values = [tensors.get(f"{name}.{part}") for part in ("weight", "bias", "idt")]
            layers.append(parts.layer(*values, ACTIVATIONS[code], int(residual), name))
        nets.append(Net(tuple(layers)))
    return tuple(nets)
