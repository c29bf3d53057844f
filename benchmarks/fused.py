"""fused - the fused operator alone, forward and backward: ours in node space, and a plain loop of the peer's shape."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from compress_onnx import _core
from compress_onnx.model import Descriptor, Model
from compress_onnx.tabulate import count_rows, make, model_grids
from onnx import numpy_helper
from systems import System

PEER_STEP = 0.01
FLAGS = ("-O2", "-march=x86-64")  # SSE2, as the peer's wheels
SHARED = ("-shared", "-fPIC")


@dataclass(frozen=True)
class Block:
    """Pairs of centre atoms of one type with neighbours of one type, nearest first."""

    centre: int
    neighbour: int
    first: np.ndarray  # int64 [atoms + 1]
    s: np.ndarray  # [pairs] normalised first entry of the environment
    env: np.ndarray  # [pairs, 4]


def environment(descriptor: Descriptor, system: System) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pair, by centre and nearest first: centre atom, neighbour's type, normalised environment [pairs, 4].

    By the descriptor's formula (docs/format.md, `switch`).
    """
    switch = descriptor.switch
    first, index, shift = system.pairs(switch.cutoff, skin=0).arrays()
    centre = np.repeat(np.arange(len(system)), np.diff(first))
    d = system.coord[index] + shift @ system.cell - system.coord[centre]
    r = np.linalg.norm(d, axis=1)
    u = np.maximum((r - switch.smooth) / switch.width, 0)
    weight = (u**3 * (u * (15 - 6 * u) - 10) + 1) / (r + switch.protection)
    env = np.column_stack([weight, d * (weight / (r + switch.protection))[:, None]])
    kind = system.atype[centre]
    env = (env - descriptor.mean[kind]) / descriptor.std[kind]
    order = np.lexsort((r, centre))
    return centre[order], system.atype[index[order]], env[order]


def starts(centre: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Where the pairs of each of `atoms` begin among those of `centre`, and where the last ends: int64 [atoms + 1]."""
    return np.append(0, np.cumsum(np.bincount(centre, minlength=atoms.max() + 1)[atoms]))


def blocks(model: Model, system: System) -> Iterator[Block]:
    """The environment of a system, block by block."""
    (descriptor,) = model.descriptors
    centre, neighbour, env = environment(descriptor, system)
    for a, b in np.argwhere(descriptor.net >= 0).tolist():
        chosen = (system.atype[centre] == a) & (neighbour == b)
        first = starts(centre[chosen], np.flatnonzero(system.atype == a))
        yield Block(a, b, first, env[chosen, 0].copy(), env[chosen])


class Operator:
    """Forward and backward of all blocks, each with its table: a _core.Table or a Loop."""

    def __init__(self, blocks: list[Block], tables: list[_core.Table | Loop]):
        rng = np.random.default_rng(0)
        grads = [rng.uniform(-1, 1, (len(b.first) - 1, 4, t.width)) for b, t in zip(blocks, tables, strict=True)]
        self._work = list(zip(blocks, tables, grads, strict=True))

    def __call__(self) -> list[np.ndarray]:
        """What forward and backward give, block after block."""
        results = []
        for block, table, grad in self._work:
            pairs = block.first, block.s, block.env
            results += [table.forward(*pairs), *table.backward(*pairs, grad)]
        return results


def ours(path: Path, blocks: list[Block]) -> dict[str, Operator]:
    """The operator with the tables of a float64 file: `plain`, and `folded` where the file has folds for all blocks."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(os.fspath(path)).graph.initializer}
    operators = {"plain": Operator(blocks, [_plain(tensors, block) for block in blocks])}
    if all(f"fold.{block.centre}.table" in tensors for block in blocks):
        operators["folded"] = Operator(blocks, [_folded(tensors, block) for block in blocks])
    return operators


def _plain(tensors: dict[str, np.ndarray], block: Block) -> _core.Table:
    index = tensors["net"][block.centre, block.neighbour]
    counts = tensors["rows"].sum(axis=1) + 1
    start, rows0 = counts[:index].sum(), int(tensors["rows"][index, 0])
    lower, step0, step1 = tensors["grid"][index].tolist()
    nodes = tensors["table"][start : start + counts[index]]
    return _core.Table(nodes, rows0=rows0, lower=lower, step0=step0, step1=step1)


def _folded(tensors: dict[str, np.ndarray], block: Block) -> _core.Table:
    rows = (*tensors["net"][block.centre], *tensors["pad_net"][block.centre])
    used = [index for index in dict.fromkeys(rows) if index >= 0]
    position = used.index(tensors["net"][block.centre, block.neighbour])
    counts = tensors["rows"][used, 0] + 1
    start, count = counts[:position].sum(), counts[position]
    lower, step0, step1 = tensors["grid"][used[position]].tolist()
    nodes = tensors[f"fold.{block.centre}.table"][start : start + count]
    return _core.Table(nodes, rows0=int(count) - 1, lower=lower, step0=step0, step1=step1)


class LoopTable(ctypes.Structure):
    """peer_loop.c's `struct table`."""

    _fields_ = [
        ("lower", ctypes.c_double),
        ("step", ctypes.c_double),
        ("width", ctypes.c_int64),
        ("coef", ctypes.c_void_p),
    ]


class Loop:
    """A table of the peer's form for the functions of peer_loop.c; those of two bodies are called as _core.Table's are."""

    def __init__(self, library: ctypes.CDLL, coefficients: np.ndarray, lower: float, step: float):
        """coefficients: of intervals of one step, in the order that the library was compiled for."""
        self._library = library
        self._coefficients = np.ascontiguousarray(coefficients)
        self.width = coefficients.size // (6 * len(coefficients))
        self._table = LoopTable(lower, step, self.width, self._coefficients.ctypes.data)

    def forward(self, first: np.ndarray, s: np.ndarray, env: np.ndarray) -> np.ndarray:
        out = np.empty((len(first) - 1, 4, self.width))
        self.call("peer_forward", first, s, env, out)
        return out

    def backward(self, first: np.ndarray, s: np.ndarray, env: np.ndarray, grad: np.ndarray) -> tuple[np.ndarray, ...]:
        grad_s, grad_env = np.empty_like(s), np.empty_like(env)
        self.call("peer_backward", first, s, env, grad, grad_s, grad_env)
        return grad_s, grad_env

    def call(self, function: str, first: np.ndarray, *arrays: np.ndarray) -> None:
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (first, *arrays)]
        self._library[function](ctypes.byref(self._table), ctypes.c_int64(len(first) - 1), *pointers)


def library(folder: Path, flags: Sequence[str] = FLAGS) -> ctypes.CDLL | None:
    """peer_loop.c, compiled; None where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    path, source = folder / f"peer_loop{abs(hash(tuple(flags)))}.so", Path(__file__).with_name("peer_loop.c")
    subprocess.run([compiler, *flags, *SHARED, str(source), "-o", str(path)], check=True)
    return ctypes.CDLL(os.fspath(path))


def loop(model: Model, blocks: list[Block], folder: Path) -> Operator | None:
    """The operator as a plain loop; None where there is no C compiler."""
    loaded = library(folder)
    if loaded is None:
        return None
    (descriptor,) = model.descriptors
    loops = {}
    for index, grid in enumerate(model_grids(model, model.min_distance or 0.5, 1, PEER_STEP)):
        inputs = [block.s for block in blocks if descriptor.net[block.centre, block.neighbour] == index]
        if inputs:
            rows = count_rows(max(grid.upper, 1e-6 + max(s.max() for s in inputs)) - grid.lower, PEER_STEP)
            table = make(descriptor.nets[index], replace(grid, rows0=rows))
            loops[index] = Loop(loaded, table.coefficients()[:rows], grid.lower, PEER_STEP)
    return Operator(blocks, [loops[descriptor.net[block.centre, block.neighbour]] for block in blocks])
