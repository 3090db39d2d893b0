"""Forward and backward as one graph."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops

from tests.train import tiny  # noqa: F401 (starts the device)
from videogen_cli.nets.layers import Linear
from videogen_cli.runtime.cells import Cell, CellList
from videogen_cli.runtime.module import initialise
from videogen_cli.train.step import Backward, recompute_blocks


class Block(Cell):
    def __init__(self):
        super().__init__()
        self.inner = CellList([Linear(6, 6), Linear(6, 6)])

    def construct(self, x):
        for layer in self.inner:
            x = x + ops.tanh(layer(x))
        return x


class Loss(Cell):
    def __init__(self):
        super().__init__()
        self.head = Linear(6, 6)
        self.blocks = CellList([Block(), Block()])

    def construct(self, x):
        for block in self.blocks:
            x = block(x)
        x = self.head(x)
        return (x * x).mean()


def _gradient(recompute):
    loss = Loss()
    initialise(loss, 3)
    if recompute:
        recompute_blocks(loss)
    scopes = {name: cell.get_scope() or "" for name, cell in loss.cells_and_names()}
    x = Tensor(np.random.default_rng(0).standard_normal((4, 6), np.float32))
    gradient, stats = Backward(loss, list(loss.get_parameters()), flat=True)(Tensor(8.0), x)
    return gradient.asnumpy(), stats.asnumpy(), {name for name, scope in scopes.items() if "recompute" in scope}


def test_blocks_computed_again_give_the_same_bits():
    kept, kept_stats, none = _gradient(recompute=False)
    again, stats, recomputed = _gradient(recompute=True)
    assert not none and {"blocks.0", "blocks.1", "blocks.0.inner.0"} <= recomputed and "head" not in recomputed
    assert np.abs(kept).max() > 0
    np.testing.assert_array_equal(kept, again)
    np.testing.assert_array_equal(kept_stats, stats)
