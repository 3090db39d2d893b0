import math

import mindspore as ms
import numpy as np
import pytest

from videogen_cli.nets.layers import Conv2d, Conv3d, Linear, Pointwise, timestep_embedding, timestep_frequencies
from videogen_cli.runtime.module import initialise, state


def test_timestep_embedding_is_cosines_then_sines(pynative):
    got = timestep_embedding(ms.Tensor([0, 500], ms.int32), ms.Tensor(timestep_frequencies(8))).asnumpy()
    angles = [500 * 10000 ** (-k / 4) for k in range(4)]
    expected = [[1] * 4 + [0] * 4, [math.cos(a) for a in angles] + [math.sin(a) for a in angles]]
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [(Linear(64, 32), 64), (Conv2d(8, 32), 72), (Conv3d(8, 32, (3, 1, 1)), 24), (Pointwise(16, 64, dims=1), 16)],
)
def test_layers_start_as_in_torch(layer, fan_in):
    initialise(layer, seed=0)
    for values in state(layer).values():
        assert np.abs(values).max() <= 1 / math.sqrt(fan_in)
        assert np.abs(values).max() > 0.8 / math.sqrt(fan_in)


def test_pointwise_equals_the_convolution_it_stands_for(pynative):
    draws = np.random.default_rng(0)
    conv, point = Conv2d(3, 5, kernel=1), Pointwise(3, 5, dims=2)
    for layer in (conv, point):
        initialise(layer, seed=0)
    x = draws.standard_normal((2, 3, 4, 6)).astype(np.float32)
    got = point(ms.Tensor(x.transpose(0, 2, 3, 1))).asnumpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, conv(ms.Tensor(x)).asnumpy(), atol=1e-6)
