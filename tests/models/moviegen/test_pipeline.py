"""From latents to frames, with an autoencoder that only repeats its latents."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import UsageError
from videogen_cli.models.moviegen import pipeline
from videogen_cli.nets.params.tae import TAEParams

PARAMS = TAEParams(temporal_downsample_levels=[0], temporal_upsample_levels=[1], latent_scale=2.0, latent_shift=0.25)
LATENTS = np.linspace(-1, 1, 5 * 3).astype(np.float32).reshape(1, 5, 3, 1, 1)


def decode(latents):
    return latents.repeat(2, 2)


@pytest.mark.parametrize("tiles", [None, (4, 0), (4, 2), (20, 10)])
def test_frames_are_cut_and_clipped(tiles):
    frames = pipeline.to_frames(LATENTS, 7, decode, PARAMS, tiles)
    assert frames.shape == (1, 7, 1, 1, 3)
    pixels = LATENTS[0, :, :, 0, 0] / 2 + 0.25
    np.testing.assert_allclose(frames[0, 4, 0, 0], (pixels[2] + 1) / 2, atol=1e-6)
    assert pipeline.to_frames(LATENTS * 9, 99, decode, PARAMS)[0].min() == 0


def test_standardising_is_undone():
    np.testing.assert_allclose(pipeline.restored(pipeline.standardised(LATENTS, PARAMS), PARAMS), LATENTS, atol=1e-6)


def test_tiles_are_whole_latents():
    with pytest.raises(UsageError, match="multiple of 2 frames"):
        pipeline.to_frames(LATENTS, 7, decode, PARAMS, (3, 0))
