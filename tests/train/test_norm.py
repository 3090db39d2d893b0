"""The gradient norm is right and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train import tiny  # noqa: F401 (starts the device)
from videogen_cli.runtime.cells import Cell
from videogen_cli.train.norm import ROW, squared_norm


class Norm(Cell):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def construct(self, vector):
        return squared_norm(vector, self.size)


@pytest.mark.parametrize("size", [1, 2, 7, ROW - 1, ROW, ROW + 1, 3 * ROW, 1_000_003])
def test_norm(size):
    import mindspore as ms

    vector = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    cell, tensor = Norm(size), ms.Tensor(vector)
    seen = {cell(tensor).asnumpy().tobytes() for _ in range(60)}
    assert len(seen) == 1
    assert np.frombuffer(seen.pop(), np.float32)[0] == pytest.approx(
        float((vector.astype(np.float64) ** 2).sum()), rel=1e-6
    )
