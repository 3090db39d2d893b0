"""Movie Gen's files of encoded clips: moments of the autoencoder's posterior, from which every epoch draws anew.

One ``.npz`` per clip holds ``latent_mean`` and ``latent_std``, float32 (f c h w), as encoded: not scaled (mindone,
examples/moviegen ``inference_tae.py``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from videogen_cli.errors import DataError
from videogen_cli.files import atomic_path

_MEAN, _STD = "latent_mean", "latent_std"
LOGVAR_RANGE = (-30.0, 20.0)


def moments(mean: np.ndarray, logvar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 (mean, standard deviation), (... f c h w), of what the autoencoder says, (... c f h w)."""
    std = np.exp(0.5 * np.clip(logvar, *LOGVAR_RANGE))
    return _frames_first(mean), _frames_first(std)


def write(path: Path, mean: np.ndarray, std: np.ndarray) -> None:
    """Write one clip's moments (f c h w); the file appears whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{_MEAN: mean.astype(np.float32), _STD: std.astype(np.float32)})


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the (mean, standard deviation) of a clip, float32 (f c h w).

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, std = file[_MEAN], file[_STD]
    except Exception as error:  # numpy raises nearly anything at a damaged file
        raise DataError(f"is no file of encoded latents: {error}", where=str(path)) from error
    if mean.ndim != 4 or mean.shape != std.shape or mean.dtype.kind != "f" or std.dtype.kind != "f":
        what = f"must hold two float arrays (f c h w), not {mean.dtype} {mean.shape} and {std.dtype} {std.shape}"
        raise DataError(what, where=str(path))
    return mean.astype(np.float32), std.astype(np.float32)


def draw(mean: np.ndarray, std: np.ndarray, noise: np.ndarray, *, shift: float, scale: float) -> np.ndarray:
    """Return training latents drawn with ``noise``, standardised: (x - shift) scale."""
    return ((mean + std * noise - shift) * scale).astype(np.float32)


def _frames_first(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(values, -4, -3), np.float32)
