"""table_bounds - certified bounds of tables over what the tables err by at many points, of all models below a folder.

python benchmarks/table_bounds.py FOLDER
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from compress_onnx.bound import Bound, certify
from compress_onnx.model import Model, ModelError, Net, TabulatedNet, ThreeBody
from compress_onnx.readers import read
from compress_onnx.tabulate import SAMPLES, SampledError, model_grids, model_nets, refine, sampled_error

TARGET = 1e-9  # of the sampled error
POINTS = np.concatenate([np.linspace(0, 1, 41), SAMPLES])  # of each interval
GROUPS = {"tanh": "two bodies, tanh", "gelu": "gelu", "gelu_tf": "gelu", "linear": "linear"}
GROUPS |= dict.fromkeys(("softplus", "sigmoid", "silu"), "softplus, sigmoid, silu")
FORMATS = (".pb", ".pth", ".dp", ".yaml")


def main(folder: Path) -> None:
    ratios = defaultdict(list)
    files = below = 0
    for file in sorted(path for path in folder.rglob("*") if path.suffix in FORMATS):
        try:
            model = read(file)
        except ModelError:
            continue
        files += 1
        for group, bound, error in tables(model):
            below += any(bound.value[k] < error.value[k] or bound.derivative[k] < error.derivative[k] for k in (0, 1))
            ratios[group].append([worst(bound, k) / worst(error, k) for k in (0, 1)])
    print(f"{sum(map(len, ratios.values()))} tables of {files} files, {below} bounds below an error\n")
    print("| tables | | first sub-table: median, 90 %, largest | second: median, 90 % |\n|---|---|---|---|")
    for group, found in sorted(ratios.items(), key=lambda item: -len(item[1])):
        first, second = np.array(found).T
        numbers = [*np.quantile(first, [0.5, 0.9, 1]), *np.quantile(second, [0.5, 0.9])]
        print("| {} | {} | {:.3g}, {:.3g}, {:.3g} | {:.3g}, {:.3g} |".format(group, len(found), *numbers))


def tables(model: Model) -> Iterator[tuple[str, Bound, SampledError]]:
    """Group, bound and error of each table that has a bound."""
    bodies = [isinstance(descriptor, ThreeBody) for descriptor in model.descriptors for _ in descriptor.nets]
    grids = model_grids(model, model.min_distance or 0.7, 5.0, 0.01)
    for net, grid, three in zip(model_nets(model), grids, bodies, strict=True):
        if isinstance(net, TabulatedNet):
            continue
        table, _ = refine(net, grid, (TARGET, TARGET))
        bound = certify(net, table)
        if bound is not None:
            yield group_of(net, three), bound, sampled_error(net, table, POINTS)


def group_of(net: Net, three: bool) -> str:
    curved = (layer.activation for layer in net.layers if layer.activation != "linear")
    return "three bodies" if three else GROUPS[next(curved, "linear")]


def worst(error: Bound | SampledError, part: int) -> float:
    return max(error.value[part], error.derivative[part])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
