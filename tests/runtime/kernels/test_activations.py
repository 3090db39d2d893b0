from __future__ import annotations

import math

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402


def _shape(rng):
    return tuple(rng.integers(1, 40, rng.integers(1, 4)))


def _draw(rng, shape):
    return rng.standard_normal(shape, np.float32) * 4


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _below(x):
    return 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))


def _silu(x):
    s = _sigmoid(x)
    return x * s, s * (1 + x * (1 - s))


def _gelu(x):
    return x * _below(x), _below(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _gelu_tanh(x):
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


# In the order of their numbers: value and slope.
ACTIVATIONS = (_silu, _gelu, _gelu_tanh)
# Value, and slope from the value.
ELEMENTARY = ((np.exp, lambda y: y), (_sigmoid, lambda y: y * (1 - y)), (np.tanh, lambda y: 1 - y * y))


def activation_forward(rng):
    which, x = int(rng.integers(3)), _draw(rng, _shape(rng))
    return Case("activation_forward", [x, (which,)], [ACTIVATIONS[which](x.astype(float))[0]], 1e-6)


def activation_backward(rng):
    which, x = int(rng.integers(3)), _draw(rng, _shape(rng))
    dout = _draw(rng, x.shape)
    return Case("activation_backward", [x, (which,), dout], [dout * ACTIVATIONS[which](x.astype(float))[1]], 3e-6)


def elementary_forward(rng):
    which, x = int(rng.integers(3)), _draw(rng, _shape(rng))
    return Case("elementary_forward", [x, (which,)], [ELEMENTARY[which][0](x.astype(float))], 3e-7)


def elementary_backward(rng):
    which, y = int(rng.integers(3)), _draw(rng, _shape(rng))
    dout = _draw(rng, y.shape)
    return Case("elementary_backward", [y, (which,), dout], [dout * ELEMENTARY[which][1](y.astype(float))], 3e-7)


def geglu_forward(rng):
    *lead, width = _shape(rng)
    x = _draw(rng, (*lead, 2 * width))
    value, gate = np.split(x.astype(float), 2, -1)
    return Case("geglu_forward", [x], [value * _gelu(gate)[0]], 5e-7)


def geglu_backward(rng):
    *lead, width = _shape(rng)
    x, dout = _draw(rng, (*lead, 2 * width)), _draw(rng, (*lead, width))
    value, gate = np.split(x.astype(float), 2, -1)
    activated, slope = _gelu(gate)
    return Case("geglu_backward", [x, dout], [np.concatenate([dout * activated, dout * value * slope], -1)], 1e-6)


def swiglu_forward(rng):
    gate = _draw(rng, _shape(rng))
    value = _draw(rng, gate.shape)
    return Case("swiglu_forward", [gate, value], [value * _silu(gate.astype(float))[0]], 5e-7)


def swiglu_backward(rng):
    gate = _draw(rng, _shape(rng))
    value, dout = _draw(rng, gate.shape), _draw(rng, gate.shape)
    activated, slope = _silu(gate.astype(float))
    return Case("swiglu_backward", [gate, value, dout], [dout * value.astype(float) * slope, dout * activated], 1e-6)


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_forward(rng):
    x = _draw(rng, _shape(rng))
    return Case("softmax_forward", [x], [_softmax(x.astype(float))], 5e-7)


def softmax_backward(rng):
    x = _draw(rng, _shape(rng)) / 4  # shares that are all 0 or 1 have next to no gradient
    y, dout = _softmax(x.astype(float)).astype(np.float32), _draw(rng, x.shape)
    wide = dout.astype(float)
    expected = y * (wide - (y * wide).sum(-1, keepdims=True))
    cancelled = np.abs(y * wide).max() / max(np.abs(expected).max(), 1e-6)
    return Case("softmax_backward", [y, dout], [expected], 1e-6 * max(3.0, cancelled))


RANDOM_CASES = {
    f.__name__: f
    for f in (
        activation_forward,
        activation_backward,
        elementary_forward,
        elementary_backward,
        geglu_forward,
        geglu_backward,
        swiglu_forward,
        swiglu_backward,
        softmax_forward,
        softmax_backward,
    )
}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(30):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


LIMITS = np.array([np.nan, np.inf, -np.inf, -200.0, 0.0, 200.0], np.float32)


@pytest.mark.parametrize("which", range(3))
def test_activations_at_the_limits(which):
    (y,) = call("activation_forward", [LIMITS, (which,)], [(6,)])
    np.testing.assert_array_equal(y, [np.nan, np.inf, np.nan, 0, 0, 200])  # -inf * 0 has no value


def test_elementary_functions_at_the_limits():
    expected = [[np.nan, np.inf, 0, 0, 1, np.inf], [np.nan, 1, 0, 0, 0.5, 1], [np.nan, 1, -1, -1, 0, 1]]
    for which, values in enumerate(expected):
        (y,) = call("elementary_forward", [LIMITS, (which,)], [(6,)])
        np.testing.assert_array_equal(y, values)


def test_softmax_at_the_limits():
    """What numpy makes of them: rows with nan or inf are nan, -inf has no share, large numbers do not overflow."""
    rows = [[np.nan, 0, 1], [np.inf, 0, 1], [-np.inf, 0, 0], [200, 200, -200], [-np.inf] * 3]
    (y,) = call("softmax_forward", [np.array(rows, np.float32)], [(5, 3)])
    nan = [np.nan] * 3
    np.testing.assert_array_equal(y, [nan, nan, [0, 0.5, 0.5], [0.5, 0.5, 0], nan])


# exp, sigmoid and tanh over what they can tell apart; units in the last place
@pytest.mark.parametrize(("which", "low", "high", "units"), [(0, -87, 88.7, 2), (1, -87, 20, 3), (2, -12, 12, 2)])
def test_elementary_functions_to_the_last_places(which, low, high, units):
    x = np.linspace(low, high, 100001).astype(np.float32)
    (y,) = call("elementary_forward", [x, (which,)], [x.shape])
    exact = ELEMENTARY[which][0](x.astype(float))
    assert np.max(np.abs(y - exact) / np.spacing(np.abs(exact).astype(np.float32))) <= units


def test_gelu_is_within_2e_7():
    x = np.linspace(-12, 12, 20001).astype(np.float32)
    (y,) = call("activation_forward", [x, (1,)], [x.shape])
    exact = _gelu(x.astype(float))[0]
    assert np.max(np.abs(y - exact) / np.maximum(1, np.abs(exact))) < 2e-7


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [(F.geglu, [(2, 5)], "halves"), (F.swiglu, [(2, 4), (2, 5)], "differ"), (F.silu, [(2, 0)], "empty")],
)
def test_shapes_that_do_not_fit_are_refused(function, shapes, message):
    with pytest.raises(UsageError, match=f"cannot take .*{message}"):
        function(*(ms.Tensor(np.ones(shape, np.float32)) for shape in shapes))
