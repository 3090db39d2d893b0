from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, check
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402


def _normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def permute(rng):
    rank = int(rng.integers(1, 7))
    longest = {1: 100, 2: 90, 3: 40, 4: 20, 5: 8, 6: 5}[rank]
    x, axes = _normal(rng, *rng.integers(1, longest, rank)), tuple(int(axis) for axis in rng.permutation(rank))
    return Case("permute", [x, axes], [x.transpose(axes).astype(np.float64)], 0)


def _drawn_upsampling(rng):
    shape = rng.integers(1, 20, rng.integers(2, 5))
    return shape, int(rng.integers(1, 4)), int(rng.integers(1, 4))


def upsample_forward(rng):
    shape, rows, columns = _drawn_upsampling(rng)
    x = _normal(rng, *shape)
    repeated = x.astype(np.float64).repeat(rows, -2).repeat(columns, -1)
    return Case("upsample_forward", [x, (rows, columns)], [repeated], 0)


def upsample_backward(rng):
    (*lead, h, w), rows, columns = _drawn_upsampling(rng)
    dy = _normal(rng, *lead, h * rows, w * columns)
    sums = dy.astype(np.float64).reshape(*lead, h, rows, w, columns).sum((-3, -1))
    return Case("upsample_backward", [dy, (rows, columns)], [sums], 1e-6)


RANDOM_CASES = {f.__name__: f for f in (permute, upsample_forward, upsample_backward)}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(200):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 65, 3, 70), (0, 2, 1, 3)),  # runs, in more than one block
        ((150, 131), (1, 0)),  # several blocks with remainders on both sides
        ((2, 64, 5, 128), (0, 3, 2, 1)),
        ((1, 4, 1, 6, 1), (4, 3, 2, 1, 0)),  # axes of length 1
        ((3, 4, 5), (0, 1, 2)),  # nothing moves
    ],
)
def test_permutations_larger_than_a_block(shape, axes):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    check(Case("permute", [x, axes], [x.transpose(axes).astype(np.float64)], 0))


@pytest.mark.parametrize("axes", [(0, 2), (0, 1, 1), (2, 1, 0, 3)])
def test_no_order_of_the_axes_is_refused(axes):
    with pytest.raises(UsageError, match=r"permute cannot take 2x3x4: .*order"):
        F.permute(ms.Tensor(np.ones((2, 3, 4), np.float32)), axes)


def test_no_factor_of_upsampling_is_refused():
    with pytest.raises(UsageError, match="upsample_forward cannot take"):
        F.upsample_nearest(ms.Tensor(np.ones((1, 2, 3, 4), np.float32)), 0)
