"""Layout without tables: what numpy's broadcasting and transposition give, to the last bit, and the gradient."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.runtime import cpu_layout  # noqa: E402

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
        return (cpu_layout.like(part, ms.Tensor(weight)) * ms.Tensor(weight)).sum()

    spread = ms.jit(cpu_layout.like) if mode == "graph" else cpu_layout.like
    gradient = ms.jit(ms.grad(weighted)) if mode == "graph" else ms.grad(weighted)
    assert np.array_equal(spread(ms.Tensor(x), ms.Tensor(weight)).asnumpy(), np.broadcast_to(x, wanted), equal_nan=True)
    repeated = tuple(axis for axis in range(len(own)) if own[axis] != wanted[axis])
    expected = weight.astype(np.float64).sum(repeated, keepdims=True)
    assert np.allclose(gradient(ms.Tensor(np.ones_like(x))).asnumpy(), expected, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("short", [1, 3])
@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_exchanged_axes(axis, short, mode):
    shape = [4, 5, 6]
    shape[axis] = short
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    exchange = ms.jit(cpu_layout.exchanged) if mode == "graph" else cpu_layout.exchanged
    assert np.array_equal(exchange(ms.Tensor(x), axis).asnumpy(), np.swapaxes(x, axis - 1, axis))


def test_large_and_small_tensors_are_permuted_alike():
    large = np.arange(3 * 1024 * 512, dtype=np.float32).reshape(3, 1024, 512)
    for x in (large, large[:, :7, :5]):
        assert np.array_equal(cpu_layout.permute(ms.Tensor(x), (0, 2, 1)).asnumpy(), x.transpose(0, 2, 1))


def test_the_root_mean_square_is_taken_in_float32():
    from videogen_cli.runtime import cpu_ops

    x = np.full((2, 3, 8), 300.0, np.float16)  # whose square no half holds
    normed = cpu_ops.rms_norm(ms.Tensor(x), ms.Tensor(np.ones(8, np.float32)), 1e-6)
    assert normed.dtype == ms.float16 and np.allclose(normed.asnumpy(), 1, atol=1e-3)
