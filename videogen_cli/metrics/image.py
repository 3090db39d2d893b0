"""How near images are to others: PSNR and SSIM, per frame, in double precision.

Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), in the two forms that
are in use: scikit-image's (a 7x7 box, sample covariance) and the paper's (an 11x11 Gaussian).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videogen_cli.errors import DataError

_K1, _K2 = 0.01, 0.03


@dataclass(frozen=True)
class Window:
    """Weights (k,) of a separable window, which sum to 1, and whether variances are those of a sample (N - 1)."""

    weights: np.ndarray
    unbiased: bool = False


def box(size: int = 7) -> Window:
    """Return scikit-image's default window."""
    return Window(np.full(size, 1 / size), unbiased=True)


def gaussian(size: int = 11, sigma: float = 1.5) -> Window:
    """Return the paper's window."""
    bell = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return Window(bell / bell.sum())


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 values of ``pixels`` in [-1, 1], cut off (not rounded) as upstream's evaluations do."""
    return np.clip((pixels + 1) * 127.5, 0, 255).astype(np.uint8)


def psnr(frames: np.ndarray, others: np.ndarray, data_range: float = 255.0) -> np.ndarray:
    """Return the peak signal-to-noise ratio in dB of every frame, (n,) for (n ...); infinite where they are equal.

    Raises:
        DataError: the shapes differ.
    """
    _require_alike(frames, others)
    error = (frames.astype(np.float64) - others.astype(np.float64)).reshape(len(frames), -1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / (error * error).mean(1))


def ssim(frames: np.ndarray, others: np.ndarray, window: Window | None = None, data_range: float = 255.0) -> np.ndarray:
    """Return the structural similarity of every frame, (n,) for (n h w c), averaged over channels.

    Only places where the whole window lies inside the frame count. Without a ``window`` it is :func:`box`.

    Raises:
        DataError: the shapes differ, or a frame is smaller than the window.
    """
    _require_alike(frames, others)
    window = window or box()
    size = len(window.weights)
    if frames.ndim != 4 or min(frames.shape[1:3]) < size:
        raise DataError(f"frames of {frames.shape[1:]} have no place for a window of {size} pixels")
    a, b = frames.astype(np.float64), others.astype(np.float64)
    count = size * size
    factor = count / (count - 1) if window.unbiased else 1.0
    mean_a, mean_b = _local(a, window), _local(b, window)
    var_a = factor * (_local(a * a, window) - mean_a * mean_a)
    var_b = factor * (_local(b * b, window) - mean_b * mean_b)
    covariance = factor * (_local(a * b, window) - mean_a * mean_b)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return ((2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1) * structure).mean((1, 2, 3))


def _local(values: np.ndarray, window: Window) -> np.ndarray:
    """Return the windowed means (n h' w' c) at all places where the window fits."""
    for axis in (1, 2):  # sums of shifted slices: several times as fast as a view of all windows times the weights
        along = np.moveaxis(values, axis, 0)
        places = len(along) - len(window.weights) + 1
        total = along[:places] * window.weights[0]
        for shift, weight in enumerate(window.weights[1:], start=1):
            total += along[shift : shift + places] * weight
        values = np.moveaxis(total, 0, axis)
    return values


def _require_alike(frames: np.ndarray, others: np.ndarray) -> None:
    if frames.shape != others.shape:
        raise DataError(f"frames of {frames.shape} cannot be compared with frames of {others.shape}")
