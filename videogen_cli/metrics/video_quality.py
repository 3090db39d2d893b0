"""What can be measured of a video alone, without a network: does it hold together, flicker, move, or show nothing?

Frames are uint8 (f h w 3). A measure that a video has no room for (differences, of a single frame) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from videogen_cli.metrics.image import ssim

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# What h264 (crf 10 to 23) was seen to put between two copies of a frame, in levels: 6 at most, 0.04 on average.
# A fade by one level changes every pixel, so it is none.
SAME, SAME_MEAN = 6, 0.1
CONSTANT = 1.0  # standard deviation, in levels, of what counts as one colour
SSIM_WINDOW = 7  # pixels; smaller frames have no SSIM


@dataclass(frozen=True)
class Measure:
    """A number that every video gets.

    Attributes:
        name: its key in reports.
        label: what people see.
        help: what it is, in a sentence.
        better: 1 when higher is better, -1 when lower is, 0 when neither.
        share: whether it is 0 or 1, so that its mean is a share of the videos.
        limits: the least and the greatest value there can be.
    """

    name: str
    label: str
    help: str
    better: int = 1
    share: bool = False
    limits: tuple[float, float] = (0.0, 1.0)


MEASURES = (
    Measure("consistency", "consistency", "mean SSIM of neighbouring frames; 1 = nothing changes", limits=(-1.0, 1.0)),
    Measure("flicker", "flicker-free", "1 minus the mean of what comes for one frame and goes again; 1 = no flicker"),
    Measure("motion", "motion", "mean absolute difference of neighbouring frames; 0 = a still image", better=0),
    Measure("duplicates", "duplicate frames", "share of frames that are the one before once more", better=-1),
    Measure("constant", "one colour", "whether the whole video is one colour", better=-1, share=True),
    Measure("brightness", "brightness", "mean luma; 0 = black, 1 = white", better=0),
    Measure("contrast", "contrast", "standard deviation of luma in a frame; at most 0.5", better=0, limits=(0.0, 0.5)),
)


def measure(frames: np.ndarray) -> dict[str, float]:
    """Return the measures of a video, uint8 (f h w 3), by name; all as MEASURES says."""
    luma = frames @ LUMA
    found: dict[str, float] = {}
    if len(frames) > 1:
        changes = _changes(frames)
        if min(frames.shape[1:3]) >= SSIM_WINDOW:
            grey = luma[..., None]
            pairs = [ssim(grey[i : i + 1], grey[i + 1 : i + 2]) for i in range(len(grey) - 1)]  # one pair fits a cache
            found["consistency"] = float(np.mean(pairs))
        if len(frames) > 2:
            found["flicker"] = flicker(frames)
        found["motion"] = float(np.mean([change.mean(dtype=np.float64) for change in changes]) / 255)
        found["duplicates"] = float(np.mean([_is_nothing(change) for change in changes]))
    found["constant"] = float(is_constant(frames))
    found["brightness"] = float(luma.mean(dtype=np.float64) / 255)
    found["contrast"] = float(luma.std(axis=(1, 2), dtype=np.float64).mean() / 255)
    return found


def flicker(frames: np.ndarray) -> float:
    """Return how free of flicker a video of three frames or more is: (255 - MAE) / 255, in [0, 1].

    VBench (Huang et al. 2024, ``temporal_flickering``) takes the mean absolute difference of neighbouring frames of
    videos chosen for standing still. Here any video is judged, so what moves must not count: a pixel flickers where it
    leaves both the frame before and the frame after on the same side, by as much as it does (the distance to the
    median of the three). An edge that passes, or a slow change of light, does not do that.
    """
    before, now, after = (frames[i : len(frames) - 2 + i] for i in range(3))
    low, high = np.minimum(before, after), np.maximum(before, after)
    errors = [(_excess(n, h) + _excess(b, n)).mean(dtype=np.float64) for n, h, b in zip(now, high, low, strict=True)]
    return 1 - float(np.mean(errors)) / 255


def is_constant(frames: np.ndarray) -> bool:
    """Return whether all pixels of all frames, uint8 (f h w 3), have one colour."""
    return bool(frames.reshape(-1, 3).std(axis=0, dtype=np.float64).max() < CONSTANT)


def _changes(frames: np.ndarray) -> list[np.ndarray]:
    """Return the absolute differences of neighbouring frames, uint8 (h w 3) each."""
    return [np.maximum(one, two) - np.minimum(one, two) for one, two in pairwise(frames)]


def _is_nothing(change: np.ndarray) -> bool:
    return bool(change.max() <= SAME and change.mean(dtype=np.float64) <= SAME_MEAN)


def _excess(pixels: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return by how much uint8 ``pixels`` are above ``limit``, 0 where they are not."""
    return np.maximum(pixels, limit) - limit
