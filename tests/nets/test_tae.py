import mindspore as ms
import numpy as np
import pytest
from networks import run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.nets.tae import TemporalAutoencoder, draw
from videogen_cli.runtime.module import build, initialise

PARAMS = {
    "base_channels": 4,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "temporal_downsample_levels": [0],
    "temporal_upsample_levels": [1],
    "z_channels": 2,
    "norm_groups": 2,
}


def made(**changes):
    cell = build(TemporalAutoencoder, TAEParams(**{**PARAMS, **changes}))
    initialise(cell, seed=1)
    return cell


def noise(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def both(cell, video):
    mean, logvar = cell.encode(ms.Tensor(video))
    return mean.asnumpy(), logvar.asnumpy()


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (2, 1), (5, 3)])
def test_frames_round_up_and_pixels_down(pynative, frames, latents):
    cell = made(temporal_attention=False)
    mean, logvar = both(cell, noise(1, 3, frames, 7, 4))
    assert mean.shape == logvar.shape == (1, 2, latents, 3, 2)
    assert run(cell.decode, mean).shape == (1, 3, 2 * latents, 6, 4)


def test_a_new_network_treats_all_frames_alike(pynative):
    """Layers over frames start as the identity, so that an inflated image autoencoder starts as one."""
    cell, image = made(), noise(1, 3, 1, 6, 6)
    still = np.repeat(image, 4, 2)
    mean, logvar = both(cell, image)
    for alone, repeated in zip((mean, logvar), both(cell, still), strict=True):
        np.testing.assert_allclose(repeated, np.repeat(alone, 2, 2), atol=1e-5)
    frames = run(cell.decode, mean)
    np.testing.assert_allclose(frames[:, :, 0], frames[:, :, 1], atol=1e-5)


def test_reconstruction_has_as_many_frames_as_the_video(pynative):
    cell, video = made(), noise(1, 3, 3, 4, 4)
    recon, latents, mean, logvar = cell(ms.Tensor(video), ms.Tensor(np.zeros((1, 2, 2, 2, 2), np.float32)))
    assert recon.shape == video.shape
    np.testing.assert_allclose(latents.asnumpy(), mean.asnumpy(), atol=1e-6)
    assert logvar.shape == mean.shape


def test_decoding_compiles():
    cell, latents = (
        made(channel_mult=[1], temporal_downsample_levels=[], temporal_upsample_levels=[0]),
        noise(1, 2, 2, 2, 2),
    )
    ms.set_context(mode=ms.GRAPH_MODE)
    compiled = run(cell.decoder, latents)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(compiled, run(cell.decoder, latents), atol=1e-5)
    ms.set_context(mode=ms.GRAPH_MODE)


def test_extreme_variances_are_clipped_when_drawing(pynative):
    logvar = np.array([-1e9, 1e9, 0], np.float32)
    drawn = run(draw, np.zeros(3, np.float32), logvar, np.ones(3, np.float32))
    np.testing.assert_allclose(drawn, [np.exp(-15), np.exp(10), 1], rtol=1e-4)


def test_attention_on_other_levels_and_both_extra_convolutions(pynative):
    cell = made(attention_levels=[0], quant_conv=True, post_quant_conv=True)
    names = [name for name, _ in cell.parameters_and_names()]
    for name in ("encoder.down.0.attn.0.1.to_q.weight", "decoder.up.0.attn.1.0.q.bias", "quant_conv.conv_temp.bias"):
        assert name in names
    mean, _ = both(cell, noise(1, 3, 2, 4, 4))
    assert np.isfinite(run(cell.decode, mean)).all()


def test_sizes_of_latents():
    params = TAEParams()
    assert (params.frames_per_latent, params.frames_decoded) == (8, 8)


@pytest.mark.parametrize("name", ["attention_levels", "temporal_downsample_levels", "temporal_upsample_levels"])
def test_levels_that_do_not_exist(name):
    with pytest.raises(UsageError, match="no level 4") as caught:
        TAEParams(**{name: [4]}).check()
    assert caught.value.where == f"tae.{name}"
