"""Dropout's masks follow from numbers that come with a batch, and from nothing else."""

import mindspore as ms
import numpy as np
import pytest

from videogen_cli.nets.blocks import TemporalConv
from videogen_cli.nets.dropout import DEGREE, PRIME, Masks, draw_masks
from videogen_cli.nets.layers import Linear, Sequential
from videogen_cli.nets.lora import adapt, drop_factors
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.module import initialise


class Twice(Cell):
    """Two calls of a network with dropout, each with masks of its own; a gradient reaches the second."""

    def __init__(self, inner, masks):
        super().__init__()
        self.inner, self.masks = inner, masks

    def called(self, x, draw):
        self.masks(draw)
        return self.inner(x)

    def construct(self, x, first, second):
        before = ms.ops.stop_gradient(self.called(x, first))
        after = self.called(x, second)
        return (after * after).sum(), before, after


def dropped(shape, draw, place, rate):
    """Compute a mask in numpy."""
    axes = 2 if len(shape) > 3 else len(shape) - 1
    rows = int(np.prod(shape[:axes]))
    points = np.arange(rows + int(np.prod(shape[axes:])), dtype=np.int64) + place
    value = np.full(len(points), int(draw[0]))
    for degree in range(1, DEGREE + 1):
        value = (value * (points % PRIME) + int(draw[degree])) % PRIME
    share = value.astype(np.float32) * np.float32(1 / PRIME)
    total = share[:rows, None] + share[None, rows:]
    return (total - np.floor(total) < rate).reshape(shape)


def twice(rate, recompute=False):
    masks = Masks()
    layer = Sequential(Linear(6, 5), masks.dropout(rate))
    cell = Twice(layer, masks)
    initialise(cell, seed=1)
    if recompute:
        layer.recompute()
    weight = ms.ParameterTuple([getattr(layer, "0").weight])
    return layer, ms.value_and_grad(cell, None, weight, has_aux=True)


def test_masks_are_those_of_the_draw_in_every_call_and_in_backward(mode):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 25, 6)).astype(np.float32)
    draws = [draw_masks(rng) for _ in range(2)]
    layer, differentiate = twice(0.3)
    whole = getattr(layer, "0")(ms.Tensor(x)).asnumpy()
    for first, second in (draws, draws[::-1], draws):
        (_, *outputs), (gradient,) = differentiate(*map(ms.Tensor, (x, first, second)))
        for output, draw in zip(outputs, (first, second), strict=True):
            mask = dropped((40, 25, 5), draw, 40961, 0.3)
            np.testing.assert_allclose(output.asnumpy(), np.where(mask, 0, whole / 0.7), atol=1e-4)
            assert abs(mask.mean() - 0.3) < 0.03
        factor = np.where(dropped((40, 25, 5), second, 40961, 0.3), 0, 1 / 0.7)
        expected = np.einsum("bto,bti->oi", 2 * whole * factor**2, x)
        np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-3, atol=1e-2)


def test_blocks_computed_again_in_backward_have_the_masks_of_their_call():
    rng = np.random.default_rng(0)
    x, first, second = rng.standard_normal((8, 25, 6)).astype(np.float32), draw_masks(rng), draw_masks(rng)
    gradients = [twice(0.5, recompute)[1](*map(ms.Tensor, (x, first, second)))[1][0] for recompute in (False, True)]
    np.testing.assert_allclose(gradients[1].asnumpy(), gradients[0].asnumpy(), rtol=1e-5)


def test_elements_are_dropped_independently():
    rng = np.random.default_rng(0)
    masks = np.array([dropped((7, 9), draw_masks(rng), 5, 0.3) for _ in range(4000)]).reshape(4000, -1)
    together = np.corrcoef(masks.T)
    assert np.abs(masks.mean(0) - 0.3).max() < 0.04
    assert np.abs(together - np.eye(63)).max() < 0.09, "five deviations of 4000 draws"


def test_off_means_off():
    rng = np.random.default_rng(0)
    off = ms.Tensor(draw_masks(rng, on=False))
    _, differentiate = twice(0.5)
    (_, before, after), _ = differentiate(ms.Tensor(rng.standard_normal((8, 6)).astype(np.float32)), off, off)
    assert (before.asnumpy() != 0).all() and np.array_equal(before.asnumpy(), after.asnumpy())


@pytest.mark.parametrize(("place", "shape"), [("factors", (2, 3, 6)), ("convolutions", (1, 8, 3, 4, 4))])
def test_networks_drop_where_the_original_does(place, shape):
    masks = Masks()
    if place == "factors":
        cell = Sequential(Linear(6, 6))
        adapt(cell, rank=3)
        drop_factors(cell, masks, 0.5)
    else:
        cell = TemporalConv(8, groups=2)
        cell.drop(masks, 0.5)
    initialise(cell, seed=1)
    for name, value in cell.parameters_and_names():
        if "lora.up" in name or "conv4" in name:
            value.set_data(ms.ops.ones(value.shape))
    x = ms.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    masks.stop()
    still = [cell(x).asnumpy() for _ in range(2)]
    masks(ms.Tensor(draw_masks(np.random.default_rng(1))))
    assert np.array_equal(*still) and not np.allclose(cell(x).asnumpy(), still[0])
    assert masks.layers == {"factors": 1, "convolutions": 3}[place]
