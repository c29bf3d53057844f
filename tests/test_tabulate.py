"""Tables: the seed's coefficients, interpolation, continuity, tangents, ranges and automatic strides."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from compress_onnx import tabulate
from compress_onnx.model import Switch, ThreeBody, TwoBody
from compress_onnx.nets import derivatives
from compress_onnx.tabulate import Grid, divide, fixed_grid, input_range, make, model_grids, refine, sampled_error
from test_nets import make_net

NET = make_net("tanh", widths=(4, 8, 16))
GRID = Grid("filter_0_net_0", -1.0, 0.25, 36, 1.25, 10)


def seed_coefficients(left, right, h):
    """One interval's coefficients by the formulae that DeePMD-kit uses."""
    (f0, d0, c0), (f1, d1, c1) = left, right
    return [
        f0,
        d0,
        0.5 * c0,
        (20 * (f1 - f0) - (8 * d1 + 12 * d0) * h - (3 * c0 - c1) * h**2) / (2 * h**3),
        (-30 * (f1 - f0) + (14 * d1 + 16 * d0) * h + (3 * c0 - 2 * c1) * h**2) / (2 * h**4),
        (12 * (f1 - f0) - 6 * (d1 + d0) * h + (c1 - c0) * h**2) / (2 * h**5),
    ]


def test_bounds_follow_from_the_counts():
    assert (GRID.upper, GRID.maximum) == (8.0, 20.5)
    x = GRID.positions()
    assert len(x) == 47 and x[0] == -1 and x[36] == 8 and x[-1] == 20.5
    np.testing.assert_allclose(np.diff(x), GRID.steps())


def test_nodes_hold_the_net():
    table = make(NET, GRID)
    for part, exact in enumerate(derivatives(NET, GRID.positions())):
        assert (table.nodes[:, part] == exact).all()


def test_coefficients_are_the_seeds():
    table = make(NET, GRID)
    coefficients = table.coefficients()
    assert coefficients.shape == (46, 16, 6)
    for row, h in ((0, 0.25), (35, 0.25), (36, 1.25), (45, 1.25)):
        for channel in (0, 7, 15):
            left, right = table.nodes[row, :, channel], table.nodes[row + 1, :, channel]
            np.testing.assert_allclose(coefficients[row, channel], seed_coefficients(left, right, h), rtol=1e-14)


def test_evaluate_is_the_polynomial_of_the_coefficients():
    table = make(NET, GRID)
    x = np.random.default_rng(0).uniform(GRID.lower, GRID.maximum, 500)
    row = np.searchsorted(GRID.positions(), x, side="right") - 1
    t = x - GRID.positions()[row]
    coefficients = table.coefficients()[row]
    value, slope = table.evaluate(x)
    np.testing.assert_allclose(value, np.einsum("nmp,pn->nm", coefficients, [t**p for p in range(6)]), atol=1e-13)
    powers = [p * t ** max(p - 1, 0) for p in range(6)]
    np.testing.assert_allclose(slope, np.einsum("nmp,pn->nm", coefficients, powers), atol=1e-13)


def test_a_quintic_is_reproduced():
    """Whatever the strides, an interpolant of degree 5 is exact for polynomials up to that degree."""
    polynomial = np.polynomial.Polynomial([0.3, -1, 0.5, 0.2, -0.05, 0.004])
    x = GRID.positions()
    nodes = np.stack([polynomial.deriv(k)(x) if k else polynomial(x) for k in range(3)], axis=1)[:, :, None]
    table = tabulate.Table(**vars(GRID), nodes=nodes)
    x = np.linspace(-1, 20.5, 777)
    value, slope = table.evaluate(x)
    np.testing.assert_allclose(value[:, 0], polynomial(x), rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(slope[:, 0], polynomial.deriv()(x), rtol=1e-12, atol=1e-11)


def test_value_slope_and_curvature_are_continuous_at_nodes():
    table, h = make(NET, GRID), 1e-7
    x = GRID.positions()[1:-1]
    (left, left_slope), (right, right_slope) = table.evaluate(x - h), table.evaluate(x + h)
    np.testing.assert_allclose(right, left, atol=1e-6)
    np.testing.assert_allclose(right - left, 2 * h * (left_slope + right_slope) / 2, atol=1e-14)
    np.testing.assert_allclose((right_slope - left_slope) / (2 * h), table.nodes[1:-1, 2], atol=1e-5)


@pytest.mark.parametrize(("x", "end"), [(-3.7, 0), (25.0, -1)])
def test_outside_it_is_the_tangent(x, end):
    table = make(NET, GRID)
    value, slope = table.evaluate([x])
    at, rise = table.nodes[end, 0], table.nodes[end, 1]
    np.testing.assert_allclose(slope[0], rise, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(value[0], at + rise * (x - GRID.positions()[end]), rtol=1e-13)


def test_sampled_error_is_the_largest():
    table = make(NET, GRID)
    error = sampled_error(NET, table)
    for part, (low, high) in enumerate([(GRID.lower, GRID.upper), (GRID.upper, GRID.maximum)]):
        x = np.linspace(low, high, 20_001)
        value, slope = (abs(a - b).max() for a, b in zip(table.evaluate(x), derivatives(NET, x)[:2], strict=True))
        assert 0.9 * value <= error.value[part] <= value * 1.000_001
        assert 0.9 * slope <= error.derivative[part] <= slope * 1.000_001


def test_the_seeds_two_steps():
    grid = fixed_grid("filter_0_net_1", -1.0, 10.0, 5.0, 0.01, 0.1)
    assert (grid.rows0, grid.rows1) == (1100, 400)
    assert (grid.upper, grid.maximum) == (10.0, 50.0)
    assert max(sampled_error(NET, make(NET, grid)).value) < 1e-13


@pytest.mark.parametrize("step", [0.03, 0.007, 0.011, 0.3, 40.0])
def test_a_step_that_does_not_divide_enlarges_the_range(step):
    grid = fixed_grid("filter_0_net_1", -1.0, 10.0, 5.0, step, 10 * step)
    assert (grid.step0, grid.step1) == (step, 10 * step)
    assert 10 <= grid.upper < 10 + step and 50 <= grid.maximum < 50 + 20 * step
    x = np.linspace(grid.lower, grid.maximum, 3001)
    if step <= 0.011:
        assert abs(make(NET, grid).evaluate(x)[0] - derivatives(NET, x)[0]).max() < 1e-9


def make_descriptor(one_side=True, mean=(0.1, 0.05), std=(0.1, 0.08), net=None, pad_net=None, **options):
    columns = np.zeros((2, 4))
    columns[:, 0] = mean
    spread = np.full((2, 4), 0.01)  # the angular spread must not enter the range
    spread[:, 0] = std
    net = np.array([[0, 1], [0, 1]] if one_side else [[0, 1], [2, 3]]) if net is None else np.array(net)
    return TwoBody(
        kind="se_e2_a",
        switch=Switch(0.5, 4.0, 3.5),
        sel=(4, 8),
        total=12,
        count=12.0,
        mean=columns,
        std=spread,
        nets=tuple(make_net("tanh", seed=index) for index in range(net.max() + 1)),
        net=net,
        pad_net=net if pad_net is None else np.array(pad_net),
        pad_env=np.repeat(-columns / spread, 2, axis=0).reshape(2, 2, 4),
        axis=2,
        precision="float64",
        type_one_side=one_side,
        **options,
    )


def grids_of(*descriptors):
    """model_grids needs nothing else of a model."""
    return model_grids(SimpleNamespace(descriptors=descriptors), 0.9, 5.0, 0.1)


def test_range_of_a_one_side_net_spans_its_centres():
    descriptor = make_descriptor()
    nearest = tabulate.switch_value(descriptor.switch, 0.9) / 0.9
    lower, upper = input_range(descriptor, 0, 0.9)
    assert lower == -1.0
    assert upper == np.ceil(max((nearest - 0.1) / 0.1, (nearest - 0.05) / 0.08))


def test_range_of_a_two_side_net_is_its_centres():
    descriptor = make_descriptor(one_side=False)
    nearest = tabulate.switch_value(descriptor.switch, 0.9) / 0.9
    assert input_range(descriptor, 0, 0.9)[1] == np.ceil((nearest - 0.1) / 0.1)
    assert input_range(descriptor, 3, 0.9)[1] == np.ceil((nearest - 0.05) / 0.08)


def test_range_covers_padded_slots():
    descriptor = make_descriptor(one_side=False, mean=(0.43, 0.05))
    for index in range(4):
        lower, _ = input_range(descriptor, index, 0.9)
        centre = index // 2
        assert lower <= -descriptor.mean[centre, 0] / descriptor.std[centre, 0]


def test_range_of_a_net_that_only_padding_uses():
    descriptor = make_descriptor(one_side=False, net=[[-1, 1], [2, 3]], pad_net=[[0, 1], [2, 3]])
    assert input_range(descriptor, 0, 0.9)[1] > 0


def test_range_without_mean_has_no_negative_zero():
    lower, _ = input_range(make_descriptor(mean=(0.0, 0.0)), 0, 0.9)
    assert str(lower) == "0.0"


def test_names_are_the_seeds():
    assert [grid.name for grid in grids_of(make_descriptor())] == ["filter_-1_net_0", "filter_-1_net_1"]
    assert grids_of(make_descriptor(one_side=False))[2].name == "filter_1_net_0"
    assert grids_of(make_descriptor(net=[[0, 0], [0, 0]]))[0].name == "filter_net"
    assert [grid.name for grid in grids_of(make_descriptor(), make_descriptor())][2] == "descriptor_1_filter_-1_net_0"


def test_range_of_a_net_whose_excluded_neighbours_count_with_input_zero():
    mask = np.array([[-1, -1], [0, 1]])
    descriptor = make_descriptor(mean=(-0.1, -0.2), net=[[0, 1], [-1, -1]], mask_net=mask)
    assert input_range(descriptor, 0, 0.9)[0] <= 0.0


def test_range_of_gated_variants_is_that_of_their_net():
    gated = {
        "gate": "switch",
        "gate_net": np.array([[1, 2], [1, 2]]),
        "base": np.zeros(3, int),
        "scale": np.ones((3, 8)),
    }
    nothing = np.full((2, 2), -1)
    descriptor = make_descriptor(net=[[0, 0], [0, 0]], pad_net=nothing, **gated)
    assert input_range(descriptor, 0, 0.9) == input_range(make_descriptor(net=[[0, 0], [0, 0]]), 0, 0.9)


def test_products_of_three_bodies_range_over_all_angles():
    nearest = tabulate.switch_value(Switch(0.5, 4.0, 3.5), 0.9) / 0.9
    descriptor = ThreeBody(
        kind="se_e3",
        switch=Switch(0.5, 4.0, 3.5),
        sel=(4, 8),
        total=12,
        mean=np.zeros((2, 4)),
        std=np.array([[9, 0.3, 0.3, 0.3], [9, 0.2, 0.2, 0.2]]),
        nets=(NET,),
        net=np.zeros((2, 2), int),
        precision="float64",
        weight=np.ones((2, 2)),
        masked=np.zeros((2, 2), bool),
    )
    upper = np.ceil((nearest / 0.2) ** 2)
    assert input_range(descriptor, 0, 0.9) == (-upper, upper)
    (grid,) = grids_of(descriptor)
    assert (grid.lower, grid.step0, grid.step1) == (-2.5 * upper, 1.0, 10.0) and grid.maximum >= 25 * upper


def test_switch_value():
    switch = Switch(0.5, 4.0, 3.5)
    assert tabulate.switch_value(switch, 0.3) == 1.0
    assert tabulate.switch_value(switch, 4.0) == 0.0
    assert tabulate.switch_value(switch, 2.25) == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "sigmoid", "silu"])
def test_refine_meets_its_targets_with_few_rows(activation):
    net, ranges = make_net(activation, widths=(4, 8, 16)), fixed_grid("n", -1.0, 10.0, 5.0, 0.01, 0.1)
    targets = 1e-8, 1e-6
    table, error = refine(net, ranges, targets)
    assert error == sampled_error(net, table)
    assert (table.lower, table.upper, table.maximum) == pytest.approx((-1, 10, 50), rel=1e-15)
    for part, rows in enumerate((table.rows0, table.rows1)):
        assert error.worst(part) <= targets[part]
        fewer = [table.rows0, table.rows1]
        fewer[part] = int(rows / 1.4)
        if rows > tabulate.FEWEST_ROWS:
            assert sampled_error(net, make(net, divide(table.grid, *fewer))).worst(part) > targets[part]


def test_refine_gives_up():
    table, _ = refine(NET, Grid("n", 0.0, 1.0, 1, 1.0, 1), [1e-30, 1e-30])
    assert (table.rows0, table.rows1) == (tabulate.MOST_ROWS, tabulate.MOST_ROWS)


def test_a_constant_net_needs_few_rows():
    net = make_net("linear", widths=(4,))
    layer = replace(net.layers[0], weight=np.zeros((1, 4)))
    table, _ = refine(replace(net, layers=(layer,)), Grid("n", 0.0, 1.0, 4, 2.0, 8), [1e-12, 1e-12])
    assert (table.rows0, table.rows1) == (tabulate.FEWEST_ROWS, tabulate.FEWEST_ROWS)
