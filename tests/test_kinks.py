"""test_kinks - tables of relu and relu6 nets, which are exact."""

from dataclasses import replace

import numpy as np
import pytest
from compress_onnx.kinks import linear_table
from compress_onnx.nets import LEVELS, derivatives, is_piecewise_linear
from compress_onnx.tabulate import Grid
from test_nets import make_net

GRID = Grid("filter_0_net_0", -1.0, 0.1, 60, 1.0, 20)


@pytest.mark.parametrize("activation", LEVELS)
@pytest.mark.parametrize("idt", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_net(activation, idt, seed):
    net = make_net(activation, idt=idt, widths=(8, 16, 32), seed=seed)
    table = linear_table(net, GRID)
    assert is_piecewise_linear(net)
    assert (table.lower, table.upper, table.maximum) == (GRID.lower, GRID.upper, GRID.maximum)
    x = np.linspace(GRID.lower, GRID.maximum, 20001)
    (exact, slope, _), (value, found) = derivatives(net, x), table.evaluate(x)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(value, exact, rtol=0, atol=1e-13 * scale)
    away = np.abs(x[:, None] - table.breaks).min(axis=1) > 1e-9  # a kink has two slopes
    np.testing.assert_allclose(found[away], slope[away], rtol=0, atol=1e-9 * scale)


def test_goes_on_straight_outside():
    table = linear_table(make_net("relu", widths=(8, 16)), GRID)
    x = np.array([GRID.lower - 2, GRID.lower, GRID.maximum, GRID.maximum + 3])
    value, slope = table.evaluate(x)
    np.testing.assert_allclose(value[0], value[1] - 2 * slope[0], rtol=1e-13)
    np.testing.assert_allclose(value[3], value[2] + 3 * slope[3], rtol=1e-13)


def test_kinks_of_several_neurons_in_one_place_are_one():
    net = make_net("relu", widths=(4,))
    layer = replace(net.layers[0], weight=np.ones((1, 4)), bias=np.full(4, -0.3))
    table = linear_table(replace(net, layers=(layer,)), GRID)
    np.testing.assert_allclose(table.breaks, [GRID.lower, 0.3, GRID.upper, GRID.maximum])


def test_smooth_and_straight_nets_are_not_piecewise_linear():
    assert not is_piecewise_linear(make_net("tanh")) and not is_piecewise_linear(make_net("linear"))
