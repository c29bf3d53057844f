"""The op Quintic against its definition in numpy, through onnxruntime."""

import numpy as np
import pytest
from compress_onnx import ort
from onnx import helper, numpy_helper

LOWER, STEPS, ROWS, WIDTH = -0.5, (0.1, 0.7), (6, 3), 7


def quintic(x, coef):
    """value and slope [n, width] by the definition in docs/format.md"""
    left = LOWER + STEPS[0] * np.arange(ROWS[0])
    left = np.append(left, LOWER + STEPS[0] * ROWS[0] + STEPS[1] * np.arange(ROWS[1]))
    end = LOWER + STEPS[0] * ROWS[0] + STEPS[1] * ROWS[1]
    inside = np.clip(x, LOWER, end)
    row = np.clip(np.searchsorted(left, inside, side="right") - 1, 0, len(left) - 1)
    u = (inside - left[row])[:, None]
    c = coef[row].transpose(2, 0, 1)
    value = c[0] + u * (c[1] + u * (c[2] + u * (c[3] + u * (c[4] + u * c[5]))))
    slope = c[1] + u * (2 * c[2] + u * (3 * c[3] + u * (4 * c[4] + u * 5 * c[5])))
    return value + slope * (x - inside)[:, None], slope


def quintic_model(coef, rows=ROWS, outputs=("value", "slope")) -> bytes:
    real = helper.np_dtype_to_tensor_dtype(coef.dtype)
    node = helper.make_node("Quintic", ["x", "coef", "grid", "rows"], ["value", "slope"][: len(outputs)], domain="dpc")
    graph = helper.make_graph(
        [node],
        "quintic",
        [helper.make_tensor_value_info("x", real, ["n"])],
        [helper.make_tensor_value_info(name, real, ["n", "width"]) for name in outputs],
        [
            numpy_helper.from_array(coef, "coef"),
            numpy_helper.from_array(np.array([LOWER, *STEPS]), "grid"),
            numpy_helper.from_array(np.array(rows, np.int64), "rows"),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("dpc", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def quintic_session(coef, rows=ROWS, threads=1, outputs=("value", "slope")):
    return ort.session(quintic_model(coef, rows, outputs), threads=threads)


def table(dtype):
    return np.random.default_rng(1).normal(size=(sum(ROWS), WIDTH, 6)).astype(dtype)


def points(n, dtype):
    """n points, some of them outside, none so near a row's end that rounding decides the row"""
    x = np.random.default_rng(2).uniform(-1, 4, n)
    return x[np.abs(x / 0.1 - np.round(x / 0.1)) > 1e-3].astype(dtype)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 2e-6)])
def test_matches_the_definition(dtype, tolerance):
    coef, x = table(dtype), points(5000, dtype)
    value, slope = quintic_session(coef).run(None, {"x": x})
    expected = quintic(x.astype(np.float64), coef.astype(np.float64))
    assert value.dtype == slope.dtype == dtype
    for got, want in zip((value, slope), expected):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_do_not_change_a_bit(dtype):
    coef, x = table(dtype), points(5000, dtype)
    one, *others = (quintic_session(coef, threads=threads).run(None, {"x": x}) for threads in (1, 2, 7))
    for other in others:
        for a, b in zip(one, other):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("n", [0, 1])
def test_few_points(n):
    x = np.full(n, 0.33)
    value, slope = quintic_session(table(np.float64)).run(None, {"x": x})
    assert value.shape == slope.shape == (n, WIDTH)


def test_slope_may_be_absent():
    coef, x = table(np.float64), points(100, np.float64)
    (value,) = quintic_session(coef, outputs=("value",)).run(None, {"x": x})
    np.testing.assert_array_equal(value, quintic_session(coef).run(["value"], {"x": x})[0])


def test_rows_must_be_those_of_coef():
    session = quintic_session(table(np.float64), rows=(6, 4))
    with pytest.raises(Exception) as raised:
        session.run(None, {"x": np.zeros(1)})
    assert ort.reason(raised.value) == "Quintic: rows are 6 and 4, but coef has 9"
