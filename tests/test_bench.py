"""Measuring: the command `bench`, and the benchmark against other ways to evaluate, both on a small model."""

import json
import re
import subprocess
import sys

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS
from compress_onnx import _core, bench
from compress_onnx.cli import main
from conftest import ROOT

WATER = MODELS / "water.pth"


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """A compressed model."""
    path = tmp_path_factory.mktemp("bench") / "water.onnx"
    co.compress(WATER, path, check="none")
    return path


def test_command(water, capsys):
    assert main(["bench", "-m", str(water), "--atoms", "100", "--seconds", "0.05", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert 100 <= cost["atoms"] <= 200 and cost["evaluations"] >= 3
    assert list(cost["stages"]) == [*_core.STAGES, "rest"]
    assert sum(cost["stages"].values()) == pytest.approx(cost["time"])
    assert all(cost["stages"][stage] > 0 for stage in _core.STAGES)
    assert cost["dropped"] == 0 and cost["close"] == 0
    assert 0 < cost["share"] < 1
    assert cost["atoms_per_second"] == pytest.approx(1e6 / cost["wall"])
    assert cost["bytes"] is None or 100 < cost["bytes"] < 500

    assert main(["bench", "-m", str(water), "--atoms", "100", "--seconds", "0.05", "--isa", "base"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith(f"{water}: float64, {cost['atoms']} atoms, 1 threads, base")
    assert len(lines) == len(cost["stages"]) + (4 if cost["bytes"] is None else 5)


def test_geometry(water):
    coord, atype, cell = bench.geometry(water, 300)
    first, index, shift = _core.Neighbours().build(coord, cell, 4.5).arrays()
    vectors = coord[index] + shift @ cell - coord[np.repeat(np.arange(len(coord)), np.diff(first))]
    assert 300 <= len(coord) == len(atype) < 400 and set(atype) == {0, 1}
    assert np.linalg.norm(vectors, axis=1).min() > 0.8


@pytest.mark.parametrize("least", [1, 2, 7, 13, 39, 1042, 5000])
def test_copies_are_hardly_more_than_asked_for(least):
    counts = bench.tile_counts(least)
    assert least <= np.prod(counts) <= max(least + 1, 1.25 * least)
    assert max(counts) <= 3 * min(counts)


def test_operations_are_those_of_the_fitting_nets(water):
    layers = [(32 * 4, 32), (32, 32), (32, 32), (32, 1)]  # forward and backward, a multiplication and an addition each
    assert bench.operations(water, np.array([0, 1, 1])) == 4 * sum(a * b for a, b in layers)


def test_refuses(water, capsys):
    assert main(["bench", "-m", str(WATER)]) == 2
    assert main(["bench", "-m", str(water), "--atoms", "0"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no ONNX model" in first and second.endswith("atoms must be positive, not 0")


def test_benchmark():
    """Every section has a row with figures; nothing is said of how fast."""
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert {len(row) for row in rows} == {5}
    sections = (
        "error of forces",
        "fused operator",
        "share of the roofline",
        "2 threads",
        "through onnxruntime",
        "float64",
    )
    for section in sections:
        assert any(row[0].startswith(section) and re.match(r"\d", row[1]) for row in rows), section
    assert "no --peer given" in next(row[2] for row in rows if row[0] == "step against the peer")
