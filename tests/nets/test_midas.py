import numpy as np
import pytest
from networks import run

from videogen_cli.errors import UsageError
from videogen_cli.nets.midas import MiDaS
from videogen_cli.nets.params.midas import MiDaSParams
from videogen_cli.runtime.module import build, initialise

SMALL = MiDaSParams(
    image_size=32, patch_size=16, width=8, heads=2, layers=4, neck_channels=[2, 3, 4, 5], fusion_channels=4
)


@pytest.fixture
def network():
    network = build(MiDaS, SMALL)
    initialise(network, seed=0)
    return network


def test_depth_has_the_images_size(mode, network):
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 64))
    depth = run(network, images)
    assert depth.shape == (2, 1, 32, 64)
    assert depth.min() >= 0
    np.testing.assert_allclose(run(network, images[1:]), depth[1:], atol=1e-5)


def test_positions_are_resized_with_the_grid(pynative, network):
    table = np.zeros((1, 5, 8), np.float32)
    table[0, 1:, 0] = [0, 1, 0, 1]  # grows to the right
    network.pos_embedding.set_data(type(network.pos_embedding)(table))
    resized = network._positions(2, 4).asnumpy()
    np.testing.assert_allclose(resized[0, 1:, 0], [0, 0.25, 0.75, 1] * 2, atol=1e-6)
    np.testing.assert_array_equal(network._positions(2, 2).asnumpy(), table)


@pytest.mark.parametrize(
    ("name", "value"),
    [("patch_size", 15), ("heads", 3), ("layers", 6), ("neck_channels", [1, 2, 3]), ("fusion_channels", 1)],
)
def test_impossible_sizes_are_named(name, value):
    with pytest.raises(UsageError) as error:
        MiDaSParams(**{name: value}).check()
    assert error.value.where == f"midas.{name}"
