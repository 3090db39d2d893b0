"""Low-rank factors beside a network's layers do what adding their product to the weights does."""

import mindspore as ms
import numpy as np
import pytest
from networks import run

from videogen_cli.nets.layers import Conv2d, Conv3d, Linear, Sequential
from videogen_cli.nets.lora import adapt
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.module import initialise


class Cubed(Cell):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def construct(self, x):
        out = self.cell(x)
        return (out * out * out).sum()


LAYERS = {
    "linear": (lambda: Linear(6, 5), (2, 3, 6)),
    "strided": (lambda: Conv2d(6, 4, stride=2, padding=(0, 1, 0, 1)), (2, 6, 6, 8)),
    "temporal": (lambda: Conv3d(4, 6, (3, 1, 1)), (1, 4, 5, 2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_sum_is_that_of_merged_weights(name, mode):
    make, shape = LAYERS[name]
    layer = make()
    cell = Sequential(layer)
    assert adapt(cell, rank=3, scale=0.5) == ["0"]
    assert [key for key, _ in cell.parameters_and_names()][-2:] == ["0.lora.up", "0.lora.down"]
    initialise(cell, seed=1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    before = run(cell, x)  # factors start at nothing
    layer.lora.up.set_data(ms.Tensor(np.random.default_rng(2).standard_normal(layer.lora.up.shape).astype(np.float32)))
    adapted = run(cell, x)
    up, down = layer.lora.up.asnumpy(), layer.lora.down.asnumpy()
    product = up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    merged = make()
    merged.weight.set_data(ms.Tensor(layer.weight.asnumpy() + 0.5 * product.reshape(layer.weight.shape)))
    merged.bias.set_data(layer.bias.value())
    np.testing.assert_allclose(run(merged, x), adapted, atol=1e-4)
    assert np.abs(adapted - before).max() > 0.1


@pytest.mark.parametrize("name", LAYERS)
def test_merged_before_use_or_beside_it_is_the_same_to_values_and_gradients(name):
    make, shape = LAYERS[name]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = []
    for merged in (False, True):
        cell = Sequential(make())
        adapt(cell, rank=3, scale=0.5, merged=merged)
        initialise(cell, seed=1)
        factors = [value for key, value in cell.parameters_and_names() if ".lora." in key]
        factors[0].set_data(ms.Tensor(np.random.default_rng(2).standard_normal(factors[0].shape).astype(np.float32)))
        value, parts = ms.value_and_grad(Cubed(cell), None, ms.ParameterTuple(factors))(ms.Tensor(x))
        found.append([value.asnumpy(), *(part.asnumpy() for part in parts)])
    assert len(found[0]) == 3
    for beside, joined in zip(*found, strict=True):
        np.testing.assert_allclose(joined, beside, rtol=1e-3, atol=1e-3 * np.abs(beside).max())


def test_thin_layers_have_a_lower_rank():
    cell = Sequential(Linear(2, 9))
    adapt(cell, rank=4)
    assert {k: v.shape for k, v in cell.parameters_and_names()}["0.lora.down"] == (2, 2)
