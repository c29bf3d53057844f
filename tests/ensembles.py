"""ensembles - several models of one architecture as files, for tests: one and what training from other seeds may give."""

from dataclasses import replace
from pathlib import Path

import compress_onnx as co
import numpy as np
from cases import MODELS
from compress_onnx import graph, onnxfile, readers
from compress_onnx.model import Model, Net

NAMES = ("first", "second", "third")


def write_originals(folder: Path, model: str = "water.pth") -> list[Path]:
    """A model of `models/` and two like it, in two formats."""
    paths = [MODELS / model]
    for seed, name in enumerate(NAMES[1:], 1):
        paths.append(folder / f"{name}.original.onnx")
        onnxfile.write(graph.uncompressed(_varied(readers.read(MODELS / model), seed)), paths[-1])
    return paths


def compress_all(folder: Path, model: str = "water.pth", **options) -> None:
    """NAME.onnx of each of NAMES, and ensemble.onnx of all."""
    originals = write_originals(folder, model)
    for name, original in zip(NAMES, originals, strict=True):
        co.compress(original, folder / f"{name}.onnx", check="none", **options)
    co.compress(originals, folder / "ensemble.onnx", check="none", **options)


def _varied(model: Model, seed: int) -> Model:
    """With other weights, by some per cent."""
    rng = np.random.default_rng(seed)

    def varied(net: Net) -> Net:
        weights = (layer.weight * (1 + 0.02 * rng.normal(size=layer.weight.shape)) for layer in net.layers)
        return Net(tuple(replace(layer, weight=weight) for layer, weight in zip(net.layers, weights, strict=True)))

    (term,) = model.terms
    descriptors = tuple(replace(d, nets=tuple(map(varied, d.nets))) for d in term.descriptors)
    fitting = replace(term.fitting, nets=tuple(map(varied, term.fitting.nets)))
    return replace(model, terms=(replace(term, descriptors=descriptors, fitting=fitting),))
