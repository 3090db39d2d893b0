from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402
from mindspore import ops  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402
from videogen_cli.runtime.cells import Cell  # noqa: E402


def _sizes(rng):
    """Rows, input and output features, now and then larger than a block in one of them."""
    sizes = np.minimum(2 ** rng.uniform(0, 6.5, 3), 90).astype(int)
    if rng.random() < 0.3:
        sizes[rng.integers(3)] = rng.integers(200, 900)
    return sizes


def _floats(rng, *shape):
    """Positive numbers: sums that cancel would be of any relative error."""
    return rng.random(shape, np.float32) + np.float32(0.5)


def linear_forward(rng):
    rows, inputs, outputs = _sizes(rng)
    x, w = _floats(rng, rows, inputs), _floats(rng, outputs, inputs)
    bias = _floats(rng, outputs) if rng.random() < 0.5 else ()
    residual = _floats(rng, rows, outputs) if rng.random() < 0.5 else ()
    y = x.astype(float) @ w.T
    return Case("linear_forward", [x, w, bias, residual], [sum((y, *filter(len, (bias, residual))))])


def linear_input_gradient(rng):
    rows, inputs, outputs = _sizes(rng)
    dy, w = _floats(rng, rows, outputs), _floats(rng, outputs, inputs)
    return Case("linear_input_gradient", [dy, w], [dy.astype(float) @ w])


def linear_weight_gradient(rng):
    rows, inputs, outputs = _sizes(rng)
    dy, x = _floats(rng, rows, outputs), _floats(rng, rows, inputs)
    return Case("linear_weight_gradient", [dy, x], [dy.T.astype(float) @ x, dy.astype(float).sum(0)])


RANDOM_CASES = {f.__name__: f for f in (linear_forward, linear_input_gradient, linear_weight_gradient)}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(100):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


def test_leading_axes_are_rows():
    rng = np.random.default_rng(0)
    x, w = _floats(rng, 2, 3, 5), _floats(rng, 7, 5)
    check(Case("linear_forward", [x, w, (), ()], [x.astype(float) @ w.T]))


@pytest.mark.parametrize("rows", [3, 100], ids=["few-rows", "many-rows"])
def test_not_a_number_and_infinity_stay_in_their_row(rows):
    rng = np.random.default_rng(0)
    x, w = _floats(rng, rows, 19), np.abs(_floats(rng, 21, 19))
    x[1, 4], x[2, 18] = np.nan, -np.inf
    (y,) = call("linear_forward", [x, w, (), ()], [(rows, 21)])
    assert np.isnan(y[1]).all() and (y[2] == -np.inf).all()
    assert np.isfinite(np.delete(y, (1, 2), 0)).all()


def test_a_row_is_the_same_in_a_batch_of_any_size():
    rng = np.random.default_rng(0)
    x, w = _floats(rng, 300, 700), _floats(rng, 70, 700)
    (alone,) = call("linear_forward", [x[:1], w, (), ()], [(1, 70)])
    (together,) = call("linear_forward", [x, w, (), ()], [(300, 70)])
    np.testing.assert_array_equal(alone[0], together[0])


class Step(Cell):
    """Value and all gradients of a layer, in one graph."""

    def __init__(self):
        super().__init__()
        self.grad = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, dout, *inputs):
        return F.linear(*inputs), self.grad(F.linear)(*inputs, dout)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("extras", [0, 1, 2], ids=["plain", "bias", "bias-residual"])
def test_function_and_gradients(mode, extras):
    rng = np.random.default_rng(0)
    x, w, dout = _floats(rng, 2, 5, 7), _floats(rng, 11, 7), _floats(rng, 2, 5, 11)
    more = [_floats(rng, 11), _floats(rng, 2, 5, 11)][:extras]
    ms.set_context(mode=mode)
    try:
        value, gradients = Step()(*(ms.Tensor(a) for a in (dout, x, w, *more)))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    wide = dout.astype(float)
    expected = [wide @ w, np.einsum("abo,abi->oi", wide, x), wide.sum((0, 1)), wide]
    np.testing.assert_allclose(value.asnumpy(), sum((x.astype(float) @ w.T, *more)), rtol=1e-5, atol=1e-5)
    assert len(gradients) == 2 + extras
    for gradient, wanted in zip(gradients, expected, strict=False):
        np.testing.assert_allclose(gradient.asnumpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 5), (7, 4)], "last axis"),
        ([(3, 5), (7, 5, 1)], "last axis"),
        ([(3, 5), (7, 5), (6,)], "bias"),
        ([(3, 5), (7, 5), (7,), (4, 7)], "residual"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(UsageError, match=f"linear_forward cannot take .*{message}"):
        F.linear(*(ms.Tensor(np.ones(shape, np.float32)) for shape in shapes))


def test_other_types_keep_their_precision():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 5)), rng.standard_normal((7, 5)), rng.standard_normal(7)
    y = F.linear(*map(ms.Tensor, (x, w, b)))
    assert y.dtype == ms.float64
    np.testing.assert_allclose(y.asnumpy(), x @ w.T + b, rtol=1e-13, atol=1e-13)
