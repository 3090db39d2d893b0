"""Repetition as a product with ones: what numpy's broadcasting gives, to the last bit, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.runtime import cpu_repeat  # noqa: E402

SHAPES = [
    ((2, 3, 1), (2, 3, 5)),
    ((2, 1, 5), (2, 3, 5)),
    ((1, 3, 5), (2, 3, 5)),
    ((1, 1, 5), (2, 3, 5)),
    ((2, 1, 1), (2, 3, 5)),
    ((1, 1, 1), (2, 3, 5)),
    ((1, 3, 1), (2, 3, 5)),
    ((2, 1, 1, 5), (2, 3, 4, 5)),
    ((2, 3, 5), (2, 3, 5)),
    ((4, 1), (4, 1)),
]


@pytest.mark.parametrize("own, wanted", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_shapes(own, wanted, mode):
    draws = np.random.default_rng(0)
    x, weight = (draws.standard_normal(shape).astype(np.float32) for shape in (own, wanted))
    if min(own) == 1:
        x.reshape(-1)[:2] = [np.inf, np.nan][: x.size]

    def weighted(part):
        return (cpu_repeat.like(part, ms.Tensor(weight)) * ms.Tensor(weight)).sum()

    spread = ms.jit(cpu_repeat.like) if mode == "graph" else cpu_repeat.like
    gradient = ms.jit(ms.grad(weighted)) if mode == "graph" else ms.grad(weighted)
    assert np.array_equal(spread(ms.Tensor(x), ms.Tensor(weight)).asnumpy(), np.broadcast_to(x, wanted), equal_nan=True)
    repeated = tuple(axis for axis in range(len(own)) if own[axis] != wanted[axis])
    expected = weight.astype(np.float64).sum(repeated, keepdims=True)
    assert np.allclose(gradient(ms.Tensor(np.ones_like(x))).asnumpy(), expected, atol=1e-5)
