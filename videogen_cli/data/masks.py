"""Holes for inpainting, drawn as VideoComposer's training and inference draw them.

Source: ali-vilab/videocomposer, artist/ops/random_mask.py and tools/videocomposer/datasets.py. Draws are those of
numpy's legacy generator, call for call, so that a seed gives the original's masks. 1 is a hole, 0 is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen_cli.data.drawing import thick_line

CANVAS = 512  # pixels, height and width, that masks are drawn on before they are resized
_PI = 3.1415926  # the original's
Rng = np.random.RandomState


def irregular_mask(rng: Rng, width: int = CANVAS, height: int = CANVAS) -> np.ndarray:
    """Return a mask (height width), float32, of one to five strokes of the brush."""
    mask = np.zeros((height, width), np.float32)
    for stroke in range(rng.randint(1, 6)):
        x, y = rng.randint(width), rng.randint(height)
        for _ in range(1 + rng.randint(5)):
            angle = 0.01 + rng.randint(4)
            if stroke % 2 == 0:
                angle = 2 * _PI - angle
            length, thickness = 10 + rng.randint(200), 5 + rng.randint(100)
            x2 = min(max(int(x + length * np.sin(angle)), 0), width)
            y2 = min(max(int(y + length * np.cos(angle)), 0), height)
            thick_line(mask, (x, y), (x2, y2), thickness)
            x, y = x2, y2
    return mask


def rectangle_mask(rng: Rng, width: int = CANVAS, height: int = CANVAS) -> np.ndarray:
    """Return a mask (height width), float32, of one to four boxes of 30 to 149 pixels a side, 10 off the edges."""
    mask = np.zeros((height, width), np.float32)
    margin = 10
    for _ in range(rng.randint(1, 5)):
        box_width, box_height = rng.randint(30, 150), rng.randint(30, 150)
        x = rng.randint(margin, width - margin - box_width + 1)
        y = rng.randint(margin, height - margin - box_height + 1)
        mask[y : y + box_height, x : x + box_width] = 1
    return mask


def half_mask(rng: Rng, width: int = CANVAS, height: int = CANVAS) -> np.ndarray:
    """Return a mask (height width), float32, of the upper, lower, left or right half."""
    mask = np.zeros((height, width), np.float32)
    rows, columns = slice(None), slice(None)
    side = rng.choice([0, 1, 2, 3])
    if side < 2:
        rows = slice(0, height // 2) if side == 0 else slice(height // 2, None)
    else:
        columns = slice(0, width // 2) if side == 2 else slice(width // 2, None)
    mask[rows, columns] = 1
    return mask


_SHARES: tuple[tuple[float, Callable[[Rng], np.ndarray]], ...] = (
    (0.7, irregular_mask),
    (0.9, rectangle_mask),
    (1.0, half_mask),
)


def random_mask(rng: Rng, size: int) -> np.ndarray:
    """Return a mask (size size), float32: irregular in 7 of 10 draws, boxes in 2, a half in 1."""
    draw = rng.random_sample()
    return resize_nearest(next(make(rng) for below, make in _SHARES if draw < below), size)


def resize_nearest(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize a mask (h w) to (size size), each pixel being the one at or before its place, as OpenCV's nearest."""
    rows, columns = (np.arange(size) * length // size for length in mask.shape)
    return mask[np.ix_(rows, columns)]


def masked_frames(frames: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return the condition (b 4 f h w): frames in [-1, 1] with zeros in the holes, then where they are whole.

    Args:
        frames: (b f 3 h w) in [0, 1].
        holes: (b f 1 h w).
    """
    whole = 1 - holes
    parts = np.concatenate([(frames * 2 - 1) * whole, whole], axis=2)
    return parts.transpose(0, 2, 1, 3, 4).astype(np.float32)
