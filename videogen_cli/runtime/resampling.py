"""Resizing one axis as a matrix: resampling is linear, so weights that depend only on sizes say all of it.

Follows torch's ``interpolate``: half-pixel centres unless ``align_corners``; without ``antialias`` a cubic has
a = -0.75 and edges repeat; with it kernels widen when shrinking, a cubic has a = -0.5, and weights of taps outside the
image go to those inside (PIL's way; Keys 1981 for the cubic).
"""

from __future__ import annotations

import numpy as np

from videogen_cli.errors import UsageError

_CUBIC_SHARP, _CUBIC_PIL = -0.75, -0.5
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
AREA = "area"


def resampling_matrix(
    source: int, target: int, kernel: str = "bicubic", *, antialias: bool = False, align_corners: bool = False
) -> np.ndarray:
    """Return the float32 matrix (target source) that resizes an axis of ``source`` samples.

    Args:
        source: samples before.
        target: samples after.
        kernel: ``bilinear`` (linear interpolation), ``bicubic``, or ``area`` (the mean of the source samples that a
            target sample touches, torch's ``adaptive_avg_pool``; the other options do not apply to it).
        antialias: average over what a target sample covers when shrinking.
        align_corners: first and last samples stay where they are; with ``antialias`` torch takes only the scale from
            that, (source - 1) / (target - 1), and not the places.

    Raises:
        UsageError: an unknown kernel.
    """
    if kernel == AREA:
        return _touched(source, target).astype(np.float32)
    if kernel not in _RADIUS:
        raise UsageError(f"there is no resampling kernel '{kernel}'", hint=f"There are {', '.join([*_RADIUS, AREA])}.")
    weigh = _averaged if antialias else _sampled
    return weigh(source, target, kernel, align_corners).astype(np.float32)


def _touched(source: int, target: int) -> np.ndarray:
    """Weigh alike all samples from floor(i * source / target) to ceil((i + 1) * source / target)."""
    index = np.arange(target)[:, None]
    first, end = index * source // target, -(-(index + 1) * source // target)
    inside = (np.arange(source) >= first) & (np.arange(source) < end)
    return inside / (end - first)


def _sampled(source: int, target: int, kernel: str, align_corners: bool) -> np.ndarray:
    """Weigh the nearest samples of each point; those past an edge repeat it."""
    points = np.arange(target, dtype=np.float64)
    if align_corners:
        points = points * ((source - 1) / (target - 1) if target > 1 else 0.0)
    else:
        points = (points + 0.5) * (source / target) - 0.5
    if kernel == "bilinear":
        points = np.maximum(points, 0)
    first = np.floor(points).astype(int)
    radius = int(_RADIUS[kernel])
    matrix = np.zeros((target, source))
    for tap in range(1 - radius, radius + 1):
        weights = _weigh(first + tap - points, kernel, _CUBIC_SHARP)
        np.add.at(matrix, (np.arange(target), np.clip(first + tap, 0, source - 1)), weights)
    return matrix


def _averaged(source: int, target: int, kernel: str, align_corners: bool) -> np.ndarray:
    """Weigh all samples under a kernel as wide as a target sample, and at least as wide as a source sample."""
    scale = source / target
    if align_corners:
        scale = (source - 1) / (target - 1) if target > 1 else 0.0
    stretch = max(scale, 1.0)
    centres = (np.arange(target) + 0.5)[:, None] * scale
    weights = _weigh((np.arange(source) + 0.5 - centres) / stretch, kernel, _CUBIC_PIL)
    return weights / weights.sum(1, keepdims=True)


def _weigh(distance: np.ndarray, kernel: str, a: float) -> np.ndarray:
    x = np.abs(distance)
    if kernel == "bilinear":
        return np.maximum(1 - x, 0)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
