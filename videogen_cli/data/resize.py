"""Resize and crop frames as Movie Gen's data do (mindspore-lab/mindone, examples/moviegen ``ResizeCrop``).

The two interpolations are OpenCV's, for a given scale: coordinates follow the scale itself, not the ratio of the
rounded sizes. OpenCV rounds intermediate results, so a value may differ from it by 1.
"""

from __future__ import annotations

import numpy as np

from videogen_cli.errors import UsageError, did_you_mean


def resize_crop(
    frames: np.ndarray, size: tuple[int, int], method: str = "linear", preserve_orientation: bool = True
) -> np.ndarray:
    """Fill ``size`` with the frames: the least scale at which they cover it, then the middle.

    Args:
        frames: (... h w c), an image or a video; uint8 stays uint8.
        size: (height, width).
        method: ``linear`` or ``area``.
        preserve_orientation: turn the size if the frames cover it better so (portrait and landscape).

    Raises:
        UsageError: an unknown method.
    """
    h, w = frames.shape[-3:-1]
    height, width = size
    scale, turned = max(height / h, width / w), max(height / w, width / h)
    if preserve_orientation and turned < scale:
        scale, (height, width) = turned, (width, height)
    if scale != 1:
        frames = resize(frames, scale, method)
    top, left = (round((have - want) / 2) for have, want in zip(frames.shape[-3:-1], (height, width), strict=True))
    return frames[..., top : top + height, left : left + width, :]


def resize(frames: np.ndarray, scale: float, method: str = "linear") -> np.ndarray:
    """Scale frames (... h w c); uint8 is rounded and stays uint8, all else becomes float32.

    Raises:
        UsageError: an unknown method.
    """
    if method not in _METHODS:
        raise UsageError(f"there is no interpolation '{method}'", hint=did_you_mean(method, _METHODS))
    h, w = frames.shape[-3:-1]
    down, across = _METHODS[method](h, scale), _METHODS[method](w, scale)
    values = np.einsum("yh,...hwc->...ywc", down, frames.astype(np.float64))
    values = np.einsum("xw,...ywc->...yxc", across, values)
    if frames.dtype == np.uint8:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values.astype(np.float32)


def _linear(size: int, scale: float) -> np.ndarray:
    """Return the weights (target size) of linear interpolation between pixel centres."""
    places = (np.arange(round(size * scale)) + 0.5) / scale - 0.5
    return _between(np.clip(places, 0, size - 1), size)


def _area(size: int, scale: float) -> np.ndarray:
    """Return the weights (target size) of averages over the area that a target pixel covers.

    Enlarging, this is a linear interpolation that keeps pixels flat in their middle.
    """
    target = round(size * scale)
    if scale > 1:
        low = np.floor(np.arange(target) * (1 / scale))  # in OpenCV's precisions: whole numbers must round alike
        share = (np.arange(1, target + 1) - (low + 1) * scale).astype(np.float32)
        share = np.where(share <= 0, 0, share - np.floor(share))
        return _between(np.minimum(low + share, size - 1), size)
    start = np.arange(target) / scale
    covered = np.minimum(1 / scale, size - start)
    pixels = np.arange(size)
    overlap = np.minimum(pixels[None] + 1, (start + covered)[:, None]) - np.maximum(pixels[None], start[:, None])
    weights = np.maximum(overlap, 0)
    return weights / weights.sum(1, keepdims=True)


def _between(places: np.ndarray, size: int) -> np.ndarray:
    """Return the weights (target size) of linear interpolation at ``places`` (target,), in pixels."""
    low = np.minimum(places.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    weights, rows = np.zeros((len(places), size)), np.arange(len(places))
    np.add.at(weights, (rows, low), 1 - (places - low))
    np.add.at(weights, (rows, high), places - low)
    return weights


_METHODS = {"linear": _linear, "area": _area}
