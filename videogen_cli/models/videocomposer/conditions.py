"""From frames to the conditions that steer VideoComposer, around the networks that see depth, edges and sketches.

Source: ali-vilab/videocomposer, tools/videocomposer/inference_single.py (worker). Frames are (n 3 h w) in [0, 1], maps
(n 1 h w); all are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEPTH_STD, DEPTH_MOST = 20.0, 10.0  # depth is divided by the first, and cut off at the second


def midas_input(frames: np.ndarray) -> np.ndarray:
    """Return frames in [-1, 1], as MiDaS reads them."""
    return frames * 2 - 1


def depth_condition(depth: np.ndarray, std: float = DEPTH_STD, most: float = DEPTH_MOST) -> np.ndarray:
    """Return the condition, in [0, ``most``], of MiDaS's ``depth``."""
    return np.clip(depth / np.float32(std), 0, most)


def pidinet_input(frames: np.ndarray) -> np.ndarray:
    """Return frames normalised as ImageNet's, as PiDiNet reads them."""
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (frames - mean) / std


def sketch_condition(simplify: Callable[[np.ndarray], np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Return the condition, light strokes on black, of edge maps whose lines ``simplify`` (dark on white) cleans."""
    return 1 - simplify(1 - edges)
