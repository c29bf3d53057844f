"""An embedding net's value and derivatives: against complex steps, differences and a layer written out by hand."""

import numpy as np
import pytest
from compress_onnx.model import ACTIVATIONS, Layer, Net
from compress_onnx.nets import activate, derivatives, is_kinked, values

SMOOTH = [name for name in ACTIVATIONS if name not in ("relu", "relu6", "silut")]


def make_net(activation, widths=(2, 4, 4), seed=0, idt=False):
    """A random net of one input with every kind of residual: doubled, doubled, equal."""
    rng, layers, wide = np.random.default_rng(seed), [], 1
    for out in widths:
        scale = rng.normal(0.1, 0.01, out) if idt else None
        weight, bias = rng.normal(0, 1 / np.sqrt(wide), (wide, out)), rng.normal(0, 0.5, out)
        layers.append(Layer(weight, bias, scale, activation, {wide: 1, 2 * wide: 2}.get(out, 0)))
        wide = out
    return Net(tuple(layers))


def central(function, x, h=1e-3):
    """A sixth-order central difference."""
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    return sum(w * (function(x + k * h) - function(x - k * h)) for k, w in weights.items()) / h


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives_are_those_of_the_value(name):
    u = np.linspace(-7.93, 7.95, 199)  # no kink of relu or relu6 within a difference's reach
    _, first, second = activate(name, u)
    np.testing.assert_allclose(first, central(lambda v: activate(name, v)[0], u), atol=5e-12)
    np.testing.assert_allclose(second, central(lambda v: activate(name, v)[1], u), atol=5e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", -0.7),
        ("tanh", np.tanh(-0.7)),
        ("gelu", -0.35 * (1 + np.tanh(np.sqrt(2 / np.pi) * (-0.7 + 0.044715 * -(0.7**3))))),
        ("relu", 0.0),
        ("relu6", 0.0),
        ("softplus", np.log(1 + np.exp(-0.7))),
        ("sigmoid", 1 / (1 + np.exp(0.7))),
        ("silu", -0.7 / (1 + np.exp(0.7))),
        ("silut", -0.7 / (1 + np.exp(0.7))),
    ],
)
def test_activation_value(name, expected):
    assert activate(name, np.array([-0.7]))[0][0] == pytest.approx(expected, rel=1e-15, abs=1e-16)


def test_silut_goes_on_as_a_hyperbolic_tangent():
    """Value and slope are those of silu where it begins, the curvature is zero there."""
    below, above = (activate("silut", np.array([3 + h])) for h in (-1e-9, 1e-9))
    for part in (0, 1):
        assert above[part][0] == pytest.approx(below[part][0], abs=3e-9)
    s = 1 / (1 + np.exp(-3.0))
    assert activate("silut", np.array([5.0]))[0][0] == pytest.approx(
        3 * s + np.tanh(2 * s * (1 + 3 * (1 - s))), rel=1e-15
    )


def test_values_of_a_net_of_several_inputs():
    net = make_net("tanh", idt=True)
    x = np.random.default_rng(1).normal(size=(5, 1))
    np.testing.assert_array_equal(values(net, x), derivatives(net, x[:, 0])[0])
    rows = np.random.default_rng(2).normal(size=(5, 2))
    inner = Net(net.layers[1:])
    np.testing.assert_allclose(values(net, x), values(inner, values(Net(net.layers[:1]), x)), rtol=1e-15)
    assert values(inner, rows).shape == (5, 4)


@pytest.mark.parametrize("name", SMOOTH)
def test_activations_stay_finite_far_out(name):
    assert all(np.isfinite(part).all() for part in activate(name, np.array([-800.0, 800.0])))


@pytest.mark.parametrize("idt", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_net_derivatives_are_those_of_the_value(name, idt):
    net, x = make_net(name, idt=idt), np.linspace(-1, 8, 61)
    _, first, second = derivatives(net, x)
    np.testing.assert_allclose(first, central(lambda v: derivatives(net, v)[0], x), atol=1e-11)
    np.testing.assert_allclose(second, central(lambda v: derivatives(net, v)[1], x), atol=1e-11)


def test_first_derivative_by_complex_step():
    net, x, h = make_net("tanh"), np.linspace(-1, 8, 61), 1e-30
    y = (x + 1j * h)[:, None]
    for layer in net.layers:
        y = np.tanh(y @ layer.weight + layer.bias) + np.tile(y, layer.residual)
    value, first, _ = derivatives(net, x)
    np.testing.assert_allclose(value, y.real, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(first, y.imag / h, rtol=1e-13, atol=1e-15)


def test_residual_rules_and_missing_bias():
    weight = np.array([[1.0, 2.0]])
    for residual, expected in ((0, [3, 6]), (2, [6, 9])):
        value, first, second = derivatives(Net((Layer(weight, None, None, "linear", residual),)), [3.0])
        assert value.tolist() == [expected]
        assert first.tolist() == [[1 + residual // 2, 2 + residual // 2]]
        assert not second.any()


def test_kinked_nets_are_known():
    assert is_kinked(make_net("relu6")) and not is_kinked(make_net("softplus"))
