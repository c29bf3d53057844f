"""The ops of the C core, with each instruction set, element type and number of threads, against plain numpy."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import randommodels
import reference
from compress_onnx import _core
from compress_onnx.model import ACTIVATIONS, Layer, Net
from compress_onnx.tabulate import Grid, Table

WIDTHS = (1, 7, 8, 16, 17, 100)
LENGTHS = (0, 1, 16, 0, 33, 90)  # neighbours of each atom
TWO_PARTS = Grid("two", -0.5, 0.125, 12, 0.25, 8)  # [-0.5, 1) and [1, 3); steps are exact in float32
ONE_PART = Grid("one", 0.0, 0.5, 3, 1.0, 0)
TOLERANCE = {np.float64: 2e-14, np.float32: 1e-5}  # measured 6e-15 and 3e-6, relative to the largest


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


def table(grid, width, seed=0) -> Table:
    """A sum of sines for each channel, with its exact derivatives."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0.5, 2, (2, 1, width))
    x = grid.positions()[:, None] * frequency + phase
    nodes = np.stack([np.sin(x), frequency * np.cos(x), -(frequency**2) * np.sin(x)], axis=1)
    return Table(**vars(grid), nodes=nodes)


def packed(t: Table, dtype) -> _core.Table:
    return _core.Table(t.nodes.astype(dtype), rows0=t.rows0, lower=t.lower, step0=t.step0, step1=t.step1)


def rounded(t: Table, dtype) -> Table:
    """What remains of `t` in an array of dtype."""
    return replace(t, nodes=t.nodes.astype(dtype).astype(float))


def pairs(grid, dtype, seed=1):
    """first [atoms + 1], s [pairs] inside and outside of `grid` and on its nodes, env [pairs, 4]."""
    rng = np.random.default_rng(seed)
    first = np.concatenate([[0], np.cumsum(LENGTHS)])
    s = rng.uniform(grid.lower - 0.5, grid.maximum + 0.5, first[-1])
    on_nodes = rng.permutation(first[-1])[: len(grid.positions())]
    s[on_nodes] = grid.positions()
    return first, s.astype(dtype), rng.normal(size=(first[-1], 4)).astype(dtype)


def plain(t: Table, first, s, env) -> np.ndarray:
    """Contraction [atoms, 4, width] by its definition."""
    values, _ = t.evaluate(s)
    return np.stack([env[a:b].astype(float).T @ values[a:b] for a, b in pairwise(first)])


def plain_gradients(t: Table, first, s, env, grad):
    """Gradients of s [pairs] and env [pairs, 4] by their definition."""
    values, slopes = t.evaluate(s)
    each = np.repeat(grad.astype(float), np.diff(first), axis=0)  # [pairs, 4, width]
    return np.einsum("pcm,pc,pm->p", each, env, slopes), np.einsum("pcm,pm->pc", each, values)


def assert_close(got, expected, dtype):
    assert got.dtype == dtype and got.shape == expected.shape
    scale = np.abs(expected).max(initial=0)
    assert np.abs(got - expected).max(initial=0) <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("grid", [TWO_PARTS, ONE_PART], ids=lambda grid: grid.name)
@pytest.mark.parametrize("width", WIDTHS)
def test_contraction(width, grid, dtype, isa, threads):
    exact = table(grid, width)
    ours, exact = packed(exact, dtype), rounded(exact, dtype)
    first, s, env = pairs(grid, dtype)
    out = ours.forward(first, s, env, isa=isa, threads=threads)
    assert_close(out, plain(exact, first, s, env), dtype)
    grad = np.random.default_rng(2).normal(size=out.shape).astype(dtype)
    grad_s, grad_env = ours.backward(first, s, env, grad, isa=isa, threads=threads)
    expected_s, expected_env = plain_gradients(exact, first, s, env, grad)
    assert_close(grad_s, expected_s, dtype)
    assert_close(grad_env, expected_env, dtype)
    # the contraction is linear in env
    one, other = np.vdot(grad_env, env), np.vdot(grad, out)
    assert one == pytest.approx(other, rel=50 * TOLERANCE[dtype], abs=50 * TOLERANCE[dtype])


def test_contraction_gradient_by_differences(isa):
    ours = packed(table(TWO_PARTS, 17), np.float64)
    rng = np.random.default_rng(2)
    s = np.arange(-1, 3.5, 0.125) + 0.05  # both sub-tables and outside, never within a step of a node
    first, env, grad = [0, 9, 9, len(s)], rng.normal(size=(len(s), 4)), rng.normal(size=(3, 4, 17))
    grad_s, grad_env = ours.backward(first, s, env, grad, isa=isa)

    def slope(along_s, along_env, step=1e-3):
        """Of <grad, out>."""

        def at(h):
            return np.vdot(grad, ours.forward(first, s + h * along_s, env + h * along_env, isa=isa))

        return (at(-2 * step) - 8 * at(-step) + 8 * at(step) - at(2 * step)) / (12 * step)

    for p in range(len(s)):
        one = np.arange(len(s)) == p
        assert slope(one, 0) == pytest.approx(grad_s[p], abs=1e-9)
        assert slope(0, one[:, None] * [0, 0, 1, 0]) == pytest.approx(grad_env[p, 2], abs=1e-9)


def test_contraction_of_nothing(dtype, isa):
    ours = packed(table(TWO_PARTS, 8), dtype)
    nothing = np.zeros(0), np.zeros((0, 4))
    assert ours.forward([0], *nothing, isa=isa).shape == (0, 4, 8)
    assert not ours.forward([0, 0, 0], *nothing, isa=isa).any()
    assert ours.backward([0, 0], *nothing, np.ones((1, 4, 8)), isa=isa)[0].shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_contraction_of_what_is_no_number(bad, dtype, isa):
    """Neighbouring memory stays untouched, and other atoms' results what they are."""
    ours = packed(table(TWO_PARTS, 8), dtype)
    first, s, env = pairs(TWO_PARTS, dtype)
    clean = ours.forward(first, s, env, isa=isa)
    s[first[4]] = bad
    out = ours.forward(first, s, env, isa=isa)
    assert not np.isfinite(out[4]).any()
    np.testing.assert_array_equal(np.delete(out, 4, axis=0), np.delete(clean, 4, axis=0))


def test_quintic_is_the_nodal_table(dtype):
    """DeePMD-kit's form, which the contraction with one neighbour and env (1, 0, 0, 0) must give too."""
    for grid in (TWO_PARTS, ONE_PART):
        t = rounded(table(grid, 5), dtype)
        _, s, _ = pairs(grid, dtype)
        grid = {name: getattr(t, name) for name in ("rows0", "lower", "step0", "step1")}
        coefficients = t.coefficients().astype(dtype)
        value, slope = _core.quintic(coefficients, s, **grid)
        for got, expected in zip((value, slope), t.evaluate(s)):
            assert np.abs(got - expected).max() < {np.float64: 2e-14, np.float32: 2e-6}[dtype] * 10
        other = _core.quintic(coefficients, s, **grid, threads=3)
        assert [value.tobytes(), slope.tobytes()] == [part.tobytes() for part in other]
        env = np.tile([1.0, 0, 0, 0], (len(s), 1))
        out = packed(t, dtype).forward(np.arange(len(s) + 1), s, env)
        assert np.abs(out[:, 0] - value).max() < TOLERANCE[dtype] * 5 and not out[:, 1:].any()


# ---- nets ---------------------------------------------------------------------------------


def net(widths, activation="tanh", idt=False, residual=True) -> Net:
    made = randommodels.net(np.random.default_rng(3), widths, activation, idt, fitting=True)
    return made if residual else Net(tuple(replace(layer, residual=0) for layer in made.layers))


def in_type(net: Net, dtype) -> Net:
    """The net that remains of `net` in arrays of dtype, in float64."""

    def cast(array):
        return None if array is None else array.astype(dtype).astype(float)

    parts = ("weight", "bias", "idt")
    return Net(tuple(replace(layer, **{p: cast(getattr(layer, p)) for p in parts}) for layer in net.layers))


def forward_gradient(net: Net, x) -> tuple[float, np.ndarray]:
    """The one output at x [1, in], and its derivatives [in]."""
    out = reference.forward(net, reference.Dual(x, np.eye(x.shape[1])[None]))
    return out.value.item(), out.slope[0, 0]


def check_net(net: Net, n, dtype, **how):
    ours, exact = _core.Net(net.layers, dtype), in_type(net, dtype)
    x = np.random.default_rng(n).normal(size=(n, net.layers[0].weight.shape[0])).astype(dtype)
    value, grad = ours.eval(x, **how)
    expected = [forward_gradient(exact, row[None].astype(float)) for row in x]
    assert_close(value, np.array([v for v, _ in expected]), dtype)
    assert_close(grad, np.array([g for _, g in expected]).reshape(x.shape), dtype)


@pytest.mark.parametrize("idt", [False, True], ids=["plain", "idt"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_net_activations(activation, idt, dtype, isa):
    for residual in (True, False):  # 2, 1, 0, 2, 0; or none
        check_net(net([7, 14, 14, 6, 12, 5, 1], activation, idt, residual), 33, dtype, isa=isa)


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 65])
def test_net_block_sizes(n, dtype, isa):
    for threads in (1, 3):
        check_net(net([13, 13, 7, 1]), n, dtype, isa=isa, threads=threads)


@pytest.mark.parametrize("width", [1, 5, 6, 7, 11, 12, 13, 30])
def test_net_widths(width, dtype, isa):
    check_net(net([width, width, 2 * width, 1]), 5, dtype, isa=isa)
    check_net(net([width, 1]), 5, dtype, isa=isa)  # no hidden layer
    check_net(net([width, 3, width, 1]), 5, dtype, isa=isa)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_everywhere(activation, dtype, isa):
    """One unit, so that value and gradient are the function and its slope."""
    one = np.ones((1, 1))
    layers = (Layer(one, None, None, activation, 0), Layer(one, None, None, "linear", 0))
    size = np.array([0, 1e-30, 1e-8, 1e-3, 0.1, 0.5, 1, 2.5, 6, 7, 9.9, 10.1, 19.9, 20.1, 60, 88, 90, 700, 720, 1e4])
    x = np.concatenate([-size, size, np.linspace(-12, 12, 1201)])[:, None].astype(dtype)
    value, slope = _core.Net(layers, dtype).eval(x, isa=isa)
    expected = [forward_gradient(Net(layers), row[None].astype(float)) for row in x]
    # relative to the argument where the function grows with it
    scale = np.maximum(1, np.abs(x[:, 0].astype(float)))
    limit = 4 * np.finfo(dtype).eps
    assert np.abs((value - [v for v, _ in expected]) / scale).max() <= limit
    assert np.abs((slope[:, 0] - [g.item() for _, g in expected]) / scale).max() <= 2 * limit
    assert np.isnan(_core.Net(layers, dtype).eval(np.full((1, 1), np.nan), isa=isa)[0][0]) or "relu" in activation


def test_net_gradient_by_differences(isa):
    ours = _core.Net(net([6, 12, 12, 1], "gelu", idt=True).layers)
    x = np.random.default_rng(5).normal(size=6)
    step = 1e-3 * np.eye(6)
    low2, low, high, high2 = (ours.eval(x + f * step, isa=isa)[0] for f in (-2, -1, 1, 2))
    _, (grad,) = ours.eval(x[None], isa=isa)
    np.testing.assert_allclose((low2 - 8 * low + 8 * high - high2) / 12e-3, grad, atol=1e-10)


# ---- threads, instruction sets, errors ------------------------------------------------------


def results(dtype, **how):
    """Of every op."""
    ours = packed(table(TWO_PARTS, 33), dtype)
    first, s, env = pairs(TWO_PARTS, dtype)
    out = ours.forward(first, s, env, **how)
    x = np.random.default_rng(6).normal(size=(301, 7)).astype(dtype)
    made = _core.Net(net([7, 14, 14, 1]).layers, dtype)
    return [out, *ours.backward(first, s, env, out, **how), *made.eval(x, **how)]


def test_the_same_bits_for_any_number_of_threads(dtype, isa):
    one = [part.tobytes() for part in results(dtype, isa=isa)]
    for threads in (2, 3, 7):
        assert [part.tobytes() for part in results(dtype, isa=isa, threads=threads)] == one


def test_instruction_sets_agree(dtype, isa):
    for got, expected in zip(results(dtype, isa=isa), results(dtype, isa="base")):
        assert_close(got, expected, dtype)


def test_best_instruction_set_is_the_default(dtype):
    best = results(dtype, isa=_core.isas()[-1])
    assert [part.tobytes() for part in results(dtype)] == [part.tobytes() for part in best]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"step0": 0.0}, "steps must be positive, got 0 and 0.25"),
        ({"step1": np.nan}, "steps must be positive, got 0.125 and nan"),
        ({"lower": np.inf}, "a table cannot reach from inf on by 12 rows"),
        ({"lower": 1.7e308, "step0": 1e308}, "a table cannot reach from 1.7e[+]308"),
        ({"rows0": 0}, "rows0 must be between 1 and 20, got 0"),
        ({"rows0": 21}, "rows0 must be between 1 and 20, got 21"),
        ({"node": np.zeros((21, 2, 8))}, r"node must have shape \(-1, 3, -1\), got \(21, 2, 8\)"),
        ({"node": np.zeros((21, 3, 0))}, "a table cannot have 0 channels"),
    ],
)
def test_impossible_tables(change, message):
    right = {"node": np.zeros((21, 3, 8)), "rows0": 12, "lower": -0.5, "step0": 0.125, "step1": 0.25}
    with pytest.raises(ValueError, match=message):
        _core.Table(**right | change)


@pytest.mark.parametrize(
    "given, message",
    [
        (([1, 2], np.zeros(2), np.zeros((2, 4))), "first must start with 0"),
        (([0, 3, 2], np.zeros(2), np.zeros((2, 4))), "first decreases after atom 1"),
        (([0, 2], np.zeros(3), np.zeros((2, 4))), r"s must have shape \(2,\), got \(3,\)"),
        (([0, 2], np.zeros(2), np.zeros((2, 3))), r"env must have shape \(2, 4\), got \(2, 3\)"),
    ],
)
def test_impossible_pairs(given, message):
    with pytest.raises(ValueError, match=message):
        packed(table(TWO_PARTS, 8), np.float64).forward(*given)


@pytest.mark.parametrize(
    "widths, change, message",
    [
        ([3, 4, 1], {"residual": 1}, "layer 0 from 3 to 4 cannot have residual 1"),
        ([3, 4, 1], {"weight": np.zeros((3, 5)), "bias": None}, "layer 1 takes 4 inputs, the one before it has 5"),
        ([3, 4, 2], {}, "the last layer must be linear with one output"),
        ([3, 4, 1], {"weight": np.zeros((0, 4))}, "layer 0 is empty"),
    ],
)
def test_impossible_nets(widths, change, message):
    first, *others = net(widths, residual=False).layers
    with pytest.raises(ValueError, match=message):
        _core.Net((replace(first, **change), *others))


def test_execution_must_be_possible():
    ours = packed(table(TWO_PARTS, 8), np.float64)
    nothing = [0, 0], np.zeros(0), np.zeros((0, 4))
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        ours.forward(*nothing, threads=0)
    with pytest.raises(ValueError, match="isa must be one of auto, base, avx2, avx512, not 'sse9'"):
        ours.forward(*nothing, isa="sse9")
    with pytest.raises(TypeError, match="arrays must be float32 or float64, not int64"):
        _core.Table(np.zeros((2, 3, 4), int), rows0=1, lower=0, step0=1, step1=1)
