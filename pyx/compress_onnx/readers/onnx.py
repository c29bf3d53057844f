"""onnx - an uncompressed model that compress-onnx wrote, as a Model again; docs/format.md names its tensors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper

from .. import digest
from ..flat import restored
from ..model import (
    ACTIVATIONS,
    Attention,
    Descriptor,
    Fitting,
    Model,
    ModelError,
    Net,
    PairTable,
    Repformer,
    Switch,
    Term,
    ThreeBody,
    TwoBody,
)
from . import parts

_PREFIX = "compress_onnx."
_FORMAT = "1"
_NODES = ("EnergyForceNet", "AtomicTensorNet")
_GATES = ("none", "switch", "surrogate")
_DESCRIPTORS = ("se_e2_a", "se_e2_r", "se_e3", "se_e3_tebd", "se_atten", "se_atten_v2", "se_a_tebd_v2", "se_a_ebd_v2")
_DESCRIPTORS += ("se_a_mask",)

Tensors = dict[str, np.ndarray]


def read_onnx(path: str, data: bytes) -> Model:
    try:
        proto = onnx.load_from_string(data)
    except DecodeError:
        raise ModelError("is no model, or a truncated .onnx: give a .pb, .pth, .dp or .yaml file") from None
    facts = {prop.key.removeprefix(_PREFIX): prop.value for prop in proto.metadata_props}
    _refuse_foreign(facts)
    if damage := digest.fault(path):
        raise ModelError(damage)
    _load_external(proto.graph.initializer, os.path.dirname(os.path.abspath(path)))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    layouts = [json.loads(a.s) for node in proto.graph.node if node.op_type in _NODES for a in node.attribute]
    if not layouts:
        raise ModelError("has no EnergyForceNet: the file is damaged, or its functions are inlined")
    origin = json.loads(facts.get("source") or "{}")
    distance = facts.get("min_distance")
    return Model(
        type_map=tuple(json.loads(facts["type_map"])),
        terms=tuple(_term(_below(tensors, f"{k}/" if k else ""), layout) for k, layout in enumerate(layouts)),
        source=parts.source(path, data, "onnx", str(origin.get("version", ""))),
        min_distance=float(distance) if distance else None,
        spin=parts.array(tensors["spin_scale"], "spin_scale") if "spin_scale" in tensors else None,
        masked="aparam_mask" in tensors,
    )


def _load_external(tensors: Iterable[onnx.TensorProto], folder: str) -> None:
    """Read what lies in files beside the model, which together are no longer than these files."""
    outside = [tensor for tensor in tensors if external_data_helper.uses_external_data(tensor)]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
    try:
        room = sum(os.path.getsize(os.path.join(folder, name)) for name in {place["location"] for place in places})
        if sum(int(place["length"]) for place in places) > room:
            raise ModelError("its external data are too short: copy both files again")
        for tensor in outside:
            external_data_helper.load_external_data_for_tensor(tensor, folder)
    except (OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"its external data cannot be read ({error}): keep both files together") from None


def _refuse_foreign(facts: dict[str, str]) -> None:
    if "format" not in facts:
        raise ModelError("is an .onnx that compress-onnx did not write: give the trained model itself")
    if facts["format"] != _FORMAT:
        raise ModelError(f"has file format {facts['format']}, not {_FORMAT}: use the compress-onnx that wrote it")
    if facts.get("kind") != "uncompressed":
        raise ModelError("is compressed already: give the trained model that it was made from")
    if "models" in facts:
        raise ModelError("is an ensemble: give the trained models that it was made from")
    for kind in re.split(", | \\+ ", facts.get("descriptor", "")):
        if kind not in _DESCRIPTORS:
            raise parts.unsupported(f"descriptor {kind}")


def _below(tensors: Tensors, prefix: str) -> Tensors:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _term(tensors: Tensors, layout: dict) -> Term:
    kinds, precision = layout["descriptor"], parts.precision(layout["precision"], "model")
    prefixes = [""] if len(kinds) == 1 else [f"d{number}." for number in range(len(kinds))]
    members = [_descriptor(_below(tensors, p), kind, precision) for p, kind in zip(prefixes, kinds, strict=True)]
    return Term(
        descriptors=tuple(members),
        fitting=_fitting(tensors, layout["fitting"], precision),
        repformer=_flat(Repformer, "rounds.", tensors),
        pair=_pair(tensors) if "pair_table" in tensors else None,
    )


def _flat(kind: type, prefix: str, tensors: Tensors) -> Attention | Repformer | None:
    """Attention layers or a repformer, if there are such tensors."""
    return restored(kind, prefix, tensors) if any(name.startswith(prefix) for name in tensors) else None


def _descriptor(tensors: Tensors, kind: str, precision: str) -> Descriptor:
    net = tensors["net"]
    common = {
        "kind": kind,
        "switch": Switch(*parts.array(tensors["switch"], "switch", (4,)).tolist()),
        "sel": tuple(tensors["sel"].tolist()),
        "total": tensors["total"].item(),
        "mean": parts.array(tensors["env_mean"], "env_mean"),
        "std": parts.array(tensors["env_std"], "env_std"),
        "nets": _nets(tensors, "embed"),
        "net": net,
        "precision": precision,
        "scale": parts.array(tensors["scale"], "scale") if "scale" in tensors else None,
        "base": tensors.get("base"),
        "gate": _GATES[tensors["gate"].item()] if "gate" in tensors else "none",
        "gate_net": tensors.get("gate_net"),
        "gate_smooth": tensors["gate_smooth"].item() if "gate_smooth" in tensors else 0.0,
        "ignored": tensors["ignored"].astype(bool) if "ignored" in tensors else None,
    }
    if "weight" in tensors:
        masked = tensors["masked"].astype(bool)
        weight = parts.array(tensors["weight"], "weight")
        return ThreeBody(weight=weight, masked=masked, exclude_types=_pairs(masked), **common)
    pad_net = tensors["pad_net"]
    known = [np.concatenate([net, pad_net]) if pad_net.shape == net.shape else net]
    known += [tensors["gate_net"]] if "gate_net" in tensors else []
    return TwoBody(
        count=float(tensors["count"].item()),
        axis=int(tensors["axis"].item()),
        pad_net=pad_net,
        pad_env=parts.array(tensors["pad_env"], "pad_env"),
        mask_net=tensors.get("mask_net"),
        # One net for a neighbour type, whatever the centre; an excluded pair may have none.
        type_one_side=all(len(set(column[column >= 0])) <= 1 for table in known for column in table.T),
        exclude_types=_pairs(net < 0),
        attention=_flat(Attention, "attention.", tensors),
        **common,
    )


def _pairs(excluded: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple((int(i), int(j)) for i, j in np.argwhere(excluded))


def _fitting(tensors: Tensors, kind: str, precision: str) -> Fitting:
    def optional(name: str, shape: tuple[int, int]) -> np.ndarray:
        return parts.array(tensors.get(name, np.zeros(shape)), name)

    bias = parts.array(tensors["bias"], "bias")
    return Fitting(
        kind=kind,
        nets=_nets(tensors, "fit"),
        net=tensors["fit_net"],
        bias=bias,
        precision=precision,
        constant=optional("fit_constant", (len(bias), 0)),
        fparam=optional("fparam_norm", (2, 0)),
        aparam=optional("aparam_norm", (2, 0)),
        intensive=bool(tensors["intensive"].item()) if "intensive" in tensors else False,
    )


def _pair(tensors: Tensors) -> PairTable:
    start, cutoff, step = parts.array(tensors["pair_range"], "pair_range", (3,)).tolist()
    alpha, inner, outer = parts.array(tensors["pair_mix"], "pair_mix", (3,)).tolist()
    return PairTable(
        cutoff=cutoff,
        sel=tuple(tensors["pair_sel"].tolist()),
        total=tensors["pair_total"].item(),
        ignored=tensors["pair_ignored"].astype(bool) if "pair_ignored" in tensors else None,
        alpha=alpha,
        inner=inner,
        outer=outer,
        start=start,
        step=step,
        table=parts.array(tensors["pair_table"], "pair_table"),
        bias=parts.array(tensors["pair_bias"], "pair_bias"),
    )


def _nets(tensors: Tensors, kind: str) -> tuple[Net, ...]:
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
