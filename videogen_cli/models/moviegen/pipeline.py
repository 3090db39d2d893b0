"""From prompts' states to frames: noise, the flow, and the autoencoder's decoder (upstream ``InferPipeline``)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen_cli.models.moviegen.tiling import decode_tiles
from videogen_cli.nets.params.tae import TAEParams

Decode = Callable[[np.ndarray], np.ndarray]  # latents (b c f h w) -> pixels in [-1, 1], (b 3 f' h' w')


def standardised(latents: np.ndarray, params: TAEParams) -> np.ndarray:
    """Return the autoencoder's latents as the transformer sees them."""
    return (latents - params.latent_shift) * params.latent_scale


def restored(latents: np.ndarray, params: TAEParams) -> np.ndarray:
    """Return the transformer's latents as the autoencoder made them; the inverse of :func:`standardised`."""
    return latents / params.latent_scale + params.latent_shift


def to_frames(
    latents: np.ndarray, num_frames: int, decode: Decode, params: TAEParams, tiles: tuple[int, int] | None = None
) -> np.ndarray:
    """Return frames (b f h w 3) in [0, 1] of the transformer's latents (b f' c h w).

    Args:
        latents: as sampled.
        num_frames: how many frames to keep; there may be fewer, as a latent is a whole number of them.
        decode: the autoencoder's.
        params: the autoencoder's.
        tiles: frames decoded together, and how many of those are also in the next tile; None for all at once.

    Raises:
        UsageError: the tiles are no multiples of a latent's frames.
    """
    moments = restored(latents, params).transpose(0, 2, 1, 3, 4)
    pixels = decode_tiles(decode, moments, *tiles, params) if tiles else decode(moments)
    return np.clip((pixels[:, :, :num_frames] + 1) / 2, 0, 1).transpose(0, 2, 3, 4, 1)
