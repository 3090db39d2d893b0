"""How clips become what the networks learn from (opensora/dataset/transform.py and t2v_datasets.py)."""

from __future__ import annotations

import numpy as np

from videogen_cli.errors import DataError
from videogen_cli.runtime.resampling import resampling_matrix


def last_begin(total: int, num_frames: int, sample_rate: int = 1) -> int:
    """Return the last frame a clip may begin at; its first is drawn evenly from 0 to there."""
    return max(0, total - num_frames * sample_rate - 1)


def frame_indices(total: int, num_frames: int, sample_rate: int, begin: int) -> np.ndarray:
    """Return which frames a clip has, int64 (num_frames,): evenly from ``begin`` over ``num_frames * sample_rate``.

    In a video of ``total`` frames that is too short they are nearer together, or repeat.
    """
    return np.linspace(begin, clip_end(total, num_frames, sample_rate, begin) - 1, num_frames, dtype=int)


def clip_end(total: int, num_frames: int, sample_rate: int, begin: int) -> int:
    """Return the frame behind the last that a clip may have."""
    return min(begin + num_frames * sample_rate, total)


def centre_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """Cut a square of ``size`` out of the middle of frames (... h w).

    Raises:
        DataError: the frames are smaller.
    """
    height, width = frames.shape[-2:]
    if min(height, width) < size:
        raise DataError(f"frames of {height} x {width} are smaller than the crop of {size}")
    top, left = round((height - size) / 2), round((width - size) / 2)  # halves to even, as in the original
    return frames[..., top : top + size, left : left + size]


def square(frames: np.ndarray, size: int) -> np.ndarray:
    """Cut the largest square out of the middle of frames (... h w) and resize it to ``size``.

    Averages when shrinking, and yet keeps corners where they are: torch's ``antialias`` with ``align_corners``.
    """
    edge = min(frames.shape[-2:])
    matrix = resampling_matrix(edge, size, "bilinear", antialias=True, align_corners=True)
    return matrix @ centre_crop(frames, edge) @ matrix.T


def to_pixels(frames: np.ndarray) -> np.ndarray:
    """Turn 8 bit values into float32 in [0, 1]."""
    return frames.astype(np.float32) / np.float32(255)
