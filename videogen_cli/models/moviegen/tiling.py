"""Long videos through the TAE in tiles of frames, as its published inference does; there are no tiles in space.

Upstream: mindspore-lab/mindone, examples/moviegen/mg/models/tae/tae.py (``encode_with_tile``, ``decode_with_tile``).
Arrays are numpy's, (b c f h w); each tile runs on its own, so that its norms see only its frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.tae import TAEParams

Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Decode = Callable[[np.ndarray], np.ndarray]


def encode_tiles(encode: Encode, video: np.ndarray, tile: int, params: TAEParams) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and log-variance of a video, encoded ``tile`` frames at a time.

    Raises:
        UsageError: ``tile`` is no positive multiple of the frames of a latent.
    """
    _check("encode_tile", tile, params.frames_per_latent)
    parts = [encode(video[:, :, start : start + tile]) for start in range(0, video.shape[2], tile)]
    means, logvars = zip(*parts, strict=True)
    return np.concatenate(means, 2), np.concatenate(logvars, 2)


def decode_tiles(decode: Decode, latents: np.ndarray, tile: int, overlap: int, params: TAEParams) -> np.ndarray:
    """Return the video of latents, decoded in tiles of ``tile`` frames of which ``overlap`` are also in the next.

    Frames of several tiles are their mean. (The paper fades from one tile to the next; the published code does not.)

    Raises:
        UsageError: ``tile`` and ``overlap`` are no multiples of a latent's frames, or tiles do not advance.
    """
    _check("decode_tile", tile, params.frames_decoded)
    if overlap:
        _check("decode_overlap", overlap, params.frames_decoded)
    if overlap >= tile:
        raise UsageError(f"must be less than a tile of {tile} frames, is {overlap}", where="decode_overlap")
    factor = params.frames_decoded
    length, step, count = tile // factor, (tile - overlap) // factor, latents.shape[2]
    starts = [0]
    while starts[-1] + length < count:
        starts.append(starts[-1] + step)
    total, times = np.zeros(0, np.float32), np.zeros((count * factor, 1, 1), np.float32)
    for start in starts:
        frames = decode(latents[:, :, start : start + length])
        if not total.size:
            total = np.zeros((*frames.shape[:2], count * factor, *frames.shape[3:]), np.float32)
        place = slice(start * factor, start * factor + frames.shape[2])
        total[:, :, place] += frames
        times[place] += 1
    return total / times


def _check(where: str, frames: int, factor: int) -> None:
    if frames < factor or frames % factor:
        raise UsageError(f"must be a positive multiple of {factor} frames, is {frames}", where=where)
