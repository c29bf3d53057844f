"""What the estimate of the forces' error rests on: certified bounds where they are close, else dense samples."""

import compress_onnx as co
import numpy as np
import pytest
from cases import MODELS
from compress_onnx.cli import main
from compress_onnx.judgement import CLOSE, DENSE, Judgement, basis, force_estimates, judge
from compress_onnx.tabulate import Grid, SampledError, divide, make, sampled_error
from test_nets import make_net

GRID = Grid("filter_0_net_0", -1.0, 0.25, 36, 1.25, 10)


def judged(activation, rows, precision="float64"):
    net = make_net(activation, (4, 8, 16), seed=3)
    table = make(net, divide(GRID, *rows))
    return judge(net, table, precision), sampled_error(net, table, np.linspace(0, 1, 200))


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_a_close_bound_counts_and_holds_everywhere(activation):
    found, everywhere = judged(activation, (150, 60))
    assert found.by == ("bound", "bound")
    assert found.largest.value == found.bound.value and found.largest.derivative == found.bound.derivative
    for part in (0, 1):
        assert everywhere.value[part] <= found.largest.value[part] <= CLOSE * found.seen.value[part]
        assert everywhere.derivative[part] <= found.largest.derivative[part] <= CLOSE * found.seen.derivative[part]


@pytest.mark.parametrize(
    ("activation", "rows", "precision", "by"),
    [
        ("tanh", (8000, 60), "float64", ("sample", "bound")),  # the first sub-table errs by rounding alone
        ("tanh", (150, 60), "float32", ("sample", "sample")),
        ("relu", (150, 60), "float64", ("sample", "sample")),
    ],
)
def test_where_the_bound_is_not_close_a_dense_sample_counts(activation, rows, precision, by):
    found, everywhere = judged(activation, rows, precision)
    assert found.by == by
    for part in (part for part in (0, 1) if by[part] == "sample"):
        for errors, largest in (
            (everywhere.value, found.largest.value),
            (everywhere.derivative, found.largest.derivative),
        ):
            assert largest[part] <= errors[part] * 1.3 and errors[part] <= largest[part] * 3
    assert len(DENSE) >= 10


def judgement(seen, largest, by="bound"):
    return Judgement(SampledError(*[seen] * 2), None, (by, by), SampledError(*[largest] * 2))


def test_estimates_count_with_the_largest_excess_that_matters():
    one, other = judgement((1e-8, 1e-8), (1.2e-8, 1.5e-8)), judgement((1e-8, 2e-8), (1.3e-8, 2e-8), "sample")
    exact = judgement((1e-13, 0.0), (9e-13, 1e-13))  # of no matter beside the others
    assert force_estimates([one, other, exact], (1e-9, 2e-9)) == pytest.approx((1.3e-9, 3e-9))
    assert basis([one, exact]) == "certified bounds" and basis([other]) == "dense samples"
    assert basis([one, other]) == "certified bounds of 2 sub-tables, dense samples of 2"


def test_report_metadata_inspect_and_terminal_say_which(tmp_path, capsys):
    report = co.compress(MODELS / "water.pth", tmp_path / "water.onnx", check="none")
    assert report.by == "certified bounds" and report.force_error <= report.force_estimate <= report.accuracy
    assert all(table["by"] == ("bound", "bound") for table in report.tables)
    assert main(["inspect", str(tmp_path / "water.onnx")]) == 0
    assert f"{report.force_estimate:.1e} by certified bounds" in capsys.readouterr().out
    assert main(["-i", str(MODELS / "water_f32.pb"), "-o", str(tmp_path / "single.onnx"), "--check", "none"]) == 0
    assert "by dense samples (asked for: 1e-05)" in capsys.readouterr().out
