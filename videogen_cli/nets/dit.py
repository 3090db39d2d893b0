"""What diffusion transformers share: tables of positions, timestep embeddings, and modulation by them.

Modulation is PixArt-alpha's (Chen et al. 2023, arXiv:2310.00426, section 2.3): one projection of the timestep for all
blocks, and a small table per block that is added to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Linear, constant, timestep_embedding, timestep_frequencies
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

TIMESTEP_WIDTH = 256  # of the sinusoidal embedding


def sincos_positions(width: int, positions: np.ndarray) -> np.ndarray:
    """Return float32 (n width) sines, then cosines, of positions (n,) at frequencies 10000^(-k / (width / 2))."""
    half = width // 2
    angles = np.outer(positions, 10000.0 ** (-np.arange(half, dtype=np.float64) / half))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def sincos_grid(width: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return float32 (h*w width) embeddings of a grid, row by row: half of the width the column's, half the row's."""
    across, down = sincos_positions(width // 2, columns), sincos_positions(width // 2, rows)
    h, w = len(rows), len(columns)
    return np.concatenate([np.tile(across, (h, 1)), np.repeat(down, w, axis=0)], axis=1)


class TimestepEmbedder(Cell):
    """Sinusoids of the timestep through two layers (diffusers ``TimestepEmbedding``)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies = constant(timestep_frequencies(TIMESTEP_WIDTH))
        self.linear_1 = Linear(TIMESTEP_WIDTH, width)
        self.linear_2 = Linear(width, width)

    def construct(self, timesteps: Any) -> Any:
        """Map (b,) numbers to (b width)."""
        return self.linear_2(F.silu(self.linear_1(timestep_embedding(timesteps, self.frequencies))))


def modulations(table: Any, conditioning: Any, axes: int) -> Any:
    """Return the rows of a block's table (n width) plus those of each sample, as n tensors (b 1 ... 1 width).

    Args:
        table: the block's own (n width).
        conditioning: the timestep's part, (b n*width), or (b width) for the same in every row.
        axes: how many axes of length one to put between sample and width.
    """
    rows, width = table.shape
    b = conditioning.shape[0]
    whole = conditioning.reshape(b, -1, width) + table
    return F.chunk(whole.reshape((b, rows * width)).reshape((b,) + (1,) * axes + (rows * width,)), rows, -1)


def unpatchify(tokens: Any, grid: tuple[int, ...], patch: tuple[int, ...]) -> Any:
    """Put patches back together.

    Args:
        tokens: (n h*w p*q*c), features with the channel last.
        grid: (h, w) in patches.
        patch: (p, q) pixels per patch.

    Returns:
        (n c h*p w*q).
    """
    (h, w), (p, q) = grid, patch
    n, channels = tokens.shape[0], tokens.shape[2] // (p * q)
    pixels = F.permute(tokens.reshape(n, h, w, p, q, channels), (0, 5, 1, 3, 2, 4))
    return pixels.reshape(n, channels, h * p, w * q)
