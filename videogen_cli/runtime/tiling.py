"""Encoding and decoding large pictures in overlapping tiles, on host arrays, so that memory holds one tile's work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Tiling:
    """Square tiles of an autoencoder; sizes are in pixels and latents, ``overlap`` is a share of the tile in [0, 1)."""

    sample_size: int = 256
    latent_size: int = 32
    overlap: float = 0.25

    def encode(self, function: Function, pixels: np.ndarray) -> np.ndarray:
        """Apply ``function`` to pixels (... h w), in tiles where they are larger than one."""
        return self._tiled(function, pixels, self.sample_size, self.latent_size)

    def decode(self, function: Function, latents: np.ndarray) -> np.ndarray:
        """Apply ``function`` to latents (... h w), in tiles where they are larger than one."""
        return self._tiled(function, latents, self.latent_size, self.sample_size)

    def _tiled(self, function: Function, x: np.ndarray, size: int, output_size: int) -> np.ndarray:
        if max(x.shape[-2:]) <= size:
            return function(x)
        blend = int(output_size * self.overlap)
        return tiled(function, x, size, int(size * (1 - self.overlap)), blend, output_size - blend)


def tiled(function: Function, x: np.ndarray, size: int, step: int, blend: int, keep: int) -> np.ndarray:
    """Apply ``function`` to tiles of ``x`` and join what it returns, as diffusers' autoencoders do.

    Args:
        function: maps (... h w) to (... h' w').
        x: (... h w).
        size: edge of a tile; the last of a row or column may be smaller.
        step: distance between the starts of tiles.
        blend: rows and columns of each result that are faded in from the result above, then from that on the left,
            which were faded in themselves.
        keep: rows and columns of each result that are kept; the rest is what the next is faded in from.
    """
    height, width = x.shape[-2:]
    rows: list[list[np.ndarray]] = []
    for top in range(0, height, step):
        row: list[np.ndarray] = []
        for left in range(0, width, step):
            part = np.array(function(x[..., top : top + size, left : left + size]))
            if rows:
                _fade_in(rows[-1][len(row)], part, blend, axis=-2)
            if row:
                _fade_in(row[-1], part, blend, axis=-1)
            row.append(part)
        rows.append(row)
    return np.concatenate([np.concatenate([part[..., :keep, :keep] for part in row], -1) for row in rows], -2)


def _fade_in(before: np.ndarray, part: np.ndarray, extent: int, axis: int) -> None:
    """Let the last ``extent`` entries of ``before`` pass over into the first of ``part``, which is changed."""
    extent = min(extent, before.shape[axis], part.shape[axis])
    if extent == 0:
        return
    share = (np.arange(extent, dtype=part.dtype) / extent).reshape((-1,) + (1,) * (-1 - axis))
    others = (slice(None),) * (-1 - axis)
    head, tail = (..., slice(extent), *others), (..., slice(before.shape[axis] - extent, None), *others)
    part[head] = before[tail] * (1 - share) + part[head] * share
