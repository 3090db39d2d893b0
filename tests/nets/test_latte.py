"""The Latte transformer: in graphs, with images beside the video, and its sizes."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from videogen_cli.errors import UsageError
from videogen_cli.nets.latte import Latte
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.runtime.module import build, initialise

SMALL = LatteParams(
    num_attention_heads=2, attention_head_dim=8, num_layers=1, sample_size=8, video_length=3, caption_channels=12
)


def network(params=SMALL):
    cell = build(Latte, params)
    initialise(cell, 0)
    return cell


def inputs(frames=3, seed=0):
    draw = np.random.default_rng(seed)
    latents = draw.standard_normal((2, 4, frames, 8, 8), np.float32)
    return ms.Tensor(latents), ms.Tensor([3.0, 700.5]), ms.Tensor(draw.standard_normal((2, 5, 12), np.float32))


def test_graph_and_pynative_agree():
    latents, timesteps, captions = inputs()
    mask = ms.Tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found, before = [], ms.get_context("mode")
    try:
        for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
            ms.set_context(mode=mode)
            found.append(network()(latents, timesteps, captions, mask).asnumpy())
    finally:
        ms.set_context(mode=before)
    assert found[0].shape == (2, 8, 3, 8, 8)
    np.testing.assert_allclose(*found, atol=1e-5)


def test_padding_is_not_read(pynative):
    latents, timesteps, captions = inputs()
    mask = ms.Tensor(np.array([[1, 1, 1, 0, 0]] * 2))
    other = captions.asnumpy().copy()
    other[:, 3:] = 7
    cell = network()
    first, second = (cell(latents, timesteps, text, mask).asnumpy() for text in (captions, ms.Tensor(other)))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_images_do_not_touch_the_video(pynative):
    """A joint batch gives the video what it has alone, and each image what it has as a frame without neighbours."""
    latents, timesteps, captions = inputs(frames=5)
    text = ms.Tensor(np.repeat(captions.asnumpy()[:, None], 3, axis=1))
    cell = network()
    joint = cell(latents, timesteps, text, None, 2).asnumpy()
    alone = cell(latents[:, :, :3], timesteps, captions).asnumpy()
    still = cell(latents[:, :, 3:], timesteps, captions, None, 0, False).asnumpy()
    np.testing.assert_allclose(joint[:, :, :3], alone, atol=1e-5)
    np.testing.assert_allclose(joint[:, :, 3:], still, atol=1e-5)


def test_positions_can_be_left_out_of_joint_batches(pynative):
    latents, timesteps, captions = inputs(frames=4)
    text = ms.Tensor(np.repeat(captions.asnumpy()[:, None], 2, axis=1))
    with_them, without = (
        network(replace(SMALL, joint_positions=flag))(latents, timesteps, text, None, 1).asnumpy()
        for flag in (True, False)
    )
    assert np.abs(with_them[:, :, :3] - without[:, :, :3]).max() > 1e-3
    np.testing.assert_allclose(with_them[:, :, 3:], without[:, :, 3:], atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "geglu"])
def test_other_activations_and_norms_with_weights(pynative, activation):
    params = replace(SMALL, activation=activation, norm_affine=True, attention_bias=False)
    assert np.isfinite(network(params)(*inputs()).asnumpy()).all()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"num_layers": 0}, "num_layers"),
        ({"attention_head_dim": 3}, "attention_head_dim"),
        ({"activation": "relu"}, "activation"),
        ({"sample_size": 1}, "sample_size"),
    ],
)
def test_impossible_sizes_are_named(change, where):
    with pytest.raises(UsageError, match=where):
        replace(SMALL, **change).check()
