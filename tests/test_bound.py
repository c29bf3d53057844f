"""Certified bounds: never below the error of any point, close to it for smooth nets, for every activation."""

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS, models
from compress_onnx import bound, readers
from compress_onnx.bound import certify
from compress_onnx.model import ACTIVATIONS
from compress_onnx.nets import KINKED, derivatives
from compress_onnx.tabulate import SAMPLES, Grid, Table, divide, hermite, make, model_grids, model_nets, refine
from test_nets import make_net

GRID = Grid("filter_0_net_0", -1.0, 0.25, 36, 1.25, 10)
INSIDE = np.concatenate([np.linspace(0, 1, 41), SAMPLES])
CLOSE = 2.0  # bound over error, where neither rounding decides nor wide intervals in which the net changes much
FILES = [case.file for case in models()]


def dense_errors(net, table: Table, dtype=np.float64):
    """Largest errors [value, derivative][part] of the table as stored in dtype, at many points of each interval."""
    x = (table.positions()[:-1, None] + table.steps()[:, None] * INSIDE).ravel()
    nodes = table.nodes.astype(dtype).astype(np.float64)
    row, u = np.divmod(np.arange(len(x)), len(INSIDE))
    found = hermite(INSIDE[u], table.steps()[row], nodes[row], nodes[row + 1])
    first = table.rows0 * len(INSIDE)
    errors = [np.abs(a - b).max(axis=1) for a, b in zip(found, derivatives(net, x)[:2], strict=True)]
    return [(error[:first].max(), error[first:].max()) for error in errors]


def limits(found):
    return np.array([found.value, found.derivative])


@pytest.mark.parametrize("rows", [(36, 10), (200, 100), (2000, 1000)], ids=str)
@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - KINKED))
def test_bounds_hold_for_every_activation(activation, rows):
    for seed, idt in ((0, False), (1, True)):
        net = make_net(activation, (4, 8, 16), seed=seed, idt=idt)
        table = make(net, divide(GRID, *rows))
        assert (limits(certify(net, table)) >= dense_errors(net, table)).all()


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "sigmoid", "silu"])
def test_bounds_are_close(activation):
    net = make_net(activation, (4, 8, 16), seed=3)
    table = make(net, divide(GRID, 150, 60))
    found = limits(certify(net, table)) / dense_errors(net, table)
    print(f"{activation}: bound over error {found.min():.2f} to {found.max():.2f}")
    assert found.max() <= CLOSE


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_bounds_hold_for_trained_models(file):
    model = readers.read(file)
    grids = model_grids(model, model.min_distance or 0.7, 5.0, 0.01)
    for net, grid in zip(model_nets(model), grids, strict=True):
        table, _ = refine(net, grid, (1e-8, 1e-8))
        found = certify(net, table)
        assert (limits(found) >= dense_errors(net, table)).all()


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_bounds_of_float32_tables_hold_the_cast(precision):
    net = make_net("tanh", (4, 8, 16))
    table = make(net, divide(GRID, 400, 100))
    found = certify(net, table, precision)
    assert (limits(found) >= dense_errors(net, table, np.float32)).all()
    assert found.value[0] > 1e3 * certify(net, table).value[0]


@pytest.mark.parametrize("activation", sorted(KINKED))
def test_nets_with_kinks_have_no_bound(activation):
    net = make_net(activation)
    assert certify(net, make(net, GRID)) is None


@pytest.mark.parametrize("part", ["value", "slope"])
def test_constants_of_interpolation(part):
    """|error| is at most the integral of Peano's kernel times the sixth derivative; its largest are the constants."""
    t, step = (np.arange(2000) + 0.5) / 2000, 1 / 2000
    rest = np.stack([(1 - t) ** 5 / 120, (1 - t) ** 4 / 24, (1 - t) ** 3 / 6])[None]  # (1 - t)_+^5 / 5! at the right
    left = np.zeros_like(rest)
    largest = 0.0
    for u in np.linspace(0, 1, 501):
        value, slope = (table[0] for table in hermite(np.array([u]), np.ones(1), left, rest))
        ahead = np.clip(u - t, 0, None)
        kernel = ahead**5 / 120 - value if part == "value" else ahead**4 / 24 - slope
        largest = max(largest, np.abs(kernel).sum() * step)
    assert largest == pytest.approx({"value": bound.VALUE, "slope": bound.SLOPE}[part], rel=1e-4)


def test_weights_of_nodal_values():
    u = np.linspace(0, 1, 10_001)
    unit = np.eye(3)[None].repeat(len(u), axis=0)
    zero = np.zeros_like(unit)
    left, right = hermite(u, np.ones_like(u), unit, zero), hermite(u, np.ones_like(u), zero, unit)
    for given, parts in zip((bound.VALUE_WEIGHTS, bound.SLOPE_WEIGHTS), zip(left, right, strict=True), strict=True):
        sums = np.abs(parts[0]) + np.abs(parts[1])
        assert (sums.max(axis=0) <= np.array(given) * (1 + 1e-12)).all()
        assert (sums.max(axis=0) >= 0.9 * np.array(given)).all()


def test_force_estimate_is_the_sum_of_all_sensitivities():
    """A response that is linear in the nodal numbers changes at most by the sum of their moduli."""
    net = make_net("tanh", (2, 4))
    table = make(net, divide(GRID, 4, 3))
    limits = bound.Bound((1e-6, 3e-6), (2e-5, 1e-5))
    weights = np.random.default_rng(5).normal(size=(6, *table.nodes.shape))
    exact = np.zeros(table.nodes.shape)
    exact[:5, 0], exact[5:, 0], exact[:5, 1], exact[5:, 1] = 1e-6, 3e-6, 2e-5, 1e-5
    expected = (np.abs(weights) * exact).sum(axis=(1, 2, 3)).max()
    found = bound.force_estimate([table], [limits], lambda tables: [np.einsum("knpm,npm->k", weights, tables[0].nodes)])
    assert 0.5 * expected < found < 2 * expected


def test_report_and_inspect_tell_the_bounds(tmp_path, capsys):
    from compress_onnx.cli import main

    report = co.compress(MODELS / "water.pth", tmp_path / "water.onnx", check="full")
    for table in report.tables:
        for part in ("value", "derivative"):
            assert (np.array(table["bound"][part]) >= np.array(table["error"][part])).all()
    assert report.ok and report.force_error < report.force_bound < 1e-5
    assert main(["inspect", str(tmp_path / "water.onnx")]) == 0
    shown = capsys.readouterr().out
    assert "at most" in shown and "{:.1e} {:.1e}".format(*report.tables[0]["bound"]["value"]) in shown
