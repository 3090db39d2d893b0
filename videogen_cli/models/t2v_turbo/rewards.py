"""Scores of frames by reward models, differentiable down to the pixels (Ji4chenLi/t2v-turbo, reward_fn/reward_fn.py).

Frames are (n 3 h w) in [0, 1]; a score is a cosine of features, without a temperature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import constant
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalise(Cell):
    """Subtracts a mean and divides by a standard deviation per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.shift = constant(np.asarray(mean, np.float32).reshape(-1, 1, 1))
        self.factor = constant(1 / np.asarray(std, np.float32).reshape(-1, 1, 1))

    def construct(self, images: Any) -> Any:
        """Normalise (n c h w)."""
        return (images - self.shift.astype(images.dtype)) * self.factor.astype(images.dtype)


class FitSquare(Cell):
    """Resizes images so that their longer side fills a square, and centres them on black, then normalises.

    That order makes the margins a normalised black (HPSv2, ``ResizeMaxSize`` before ``Normalize``).

    Args:
        size: side of the square.
        antialias: as torchvision does by default since 0.17.
    """

    def __init__(self, size: int, antialias: bool = True) -> None:
        super().__init__()
        self.size, self.antialias = size, antialias
        self.normalise = Normalise(CLIP_MEAN, CLIP_STD)

    def construct(self, images: Any) -> Any:
        """Map (n 3 h w) in [0, 1] to (n 3 size size)."""
        height, width = images.shape[2:]
        longer = max(height, width)
        return self.normalise(F.resample(images, self.matrix(height, longer), self.matrix(width, longer)))

    def matrix(self, side: int, longer: int) -> Any:
        """Return the matrix (size side) that resizes a side of an image and puts black around."""
        fitted = side if longer == self.size else round(side * (self.size / longer))
        margin = self.size - fitted
        before = margin // 2
        return F.resampling(side, fitted, "bicubic", self.antialias, False, before, margin - before)


class ImageScore(Cell):
    """How well frames show a prompt, by HPSv2.1 (Wu et al. 2023, arXiv 2306.09341) or another CLIP."""

    def __init__(self, clip: Any, image_size: int) -> None:
        super().__init__()
        self.clip = clip
        self.fit = FitSquare(image_size)

    def construct(self, frames: Any, ids: Any) -> Any:
        """Return the score (n,) of frames (n 3 h w) for token ids (1 l)."""
        text = F.stop_gradient(self.clip.encode_text(ids))
        return (self.clip.encode_image(self.fit(frames)) * text).sum(-1)
