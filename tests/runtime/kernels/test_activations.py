from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check


def _shape(rng):
    return tuple(rng.integers(1, 40, rng.integers(1, 4)))


def silu_forward(rng):
    x = rng.standard_normal(_shape(rng), np.float32) * 4
    wide = x.astype(np.float64)
    return Case("silu_forward", [x], [wide / (1 + np.exp(-wide))], 3e-7)


def silu_backward(rng):
    x = rng.standard_normal(_shape(rng), np.float32) * 4
    dout = rng.standard_normal(x.shape, np.float32)
    wide = x.astype(np.float64)
    s = 1 / (1 + np.exp(-wide))
    return Case("silu_backward", [x, dout], [dout * s * (1 + wide * (1 - s))], 1e-6)


RANDOM_CASES = {f.__name__: f for f in (silu_forward, silu_backward)}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(30):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


def test_not_a_number_and_infinity_pass():
    (y,) = call("silu_forward", [np.array([np.nan, np.inf, -200.0, 0.0], np.float32)], [(4,)])
    assert np.isnan(y[0]) and y[1] == np.inf and y[2] == 0 and y[3] == 0
