"""Looping previews of videos, small enough to be part of a page: animated WebP as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np

SIDE = 288  # pixels of the longer side, at most
FRAMES = 32  # at most; longer videos are shown in steps
LIMIT = 96 * 1024  # bytes of one preview
_LOSSLESS_SIDE = 128  # pixels; up to here nothing is lost, if that fits
_QUALITIES = (80, 60, 40)
_LEAST_SIDE = 16


def preview(frames: np.ndarray, fps: float = 8.0, limit: int = LIMIT) -> str:
    """Return a video, uint8 (f h w 3), as the data URI of an image that plays for ever, as fast as the video.

    It is made coarser, smaller and at last shorter until it has at most ``limit`` bytes; one frame of 16 pixels is the
    least there is, whatever the limit.
    """
    data = b""
    for side, step, quality in _attempts(len(frames), max(frames.shape[1:3])):
        duration = round(1000 * step / min(max(fps, 1.0), 60.0))
        data = _webp(_images(frames[::step], side), duration, quality)
        if len(data) <= limit:
            break
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _attempts(count: int, longer: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield (longer side, distance of frames, quality or None for lossless), the best first."""
    side, step = min(SIDE, longer), -(-count // FRAMES)
    if longer <= _LOSSLESS_SIDE:
        yield side, step, None
    while True:
        yield from ((side, step, quality) for quality in _QUALITIES)
        if side > 64:
            side //= 2
        elif step < count:
            step *= 2
        elif side > _LEAST_SIDE:
            side = _LEAST_SIDE
        else:
            return


def _images(frames: np.ndarray, side: int) -> list:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    height, width = frames.shape[1:3]
    scale = side / max(height, width)
    if scale >= 1:
        return images
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return [image.resize(size, Image.Resampling.LANCZOS) for image in images]


def _webp(images: list, duration: int, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    lossy = {"lossless": quality is None, "quality": 60 if quality is None else quality}
    rest = images[1:]
    images[0].save(buffer, "WEBP", save_all=True, append_images=rest, duration=duration, loop=0, method=4, **lossy)
    return buffer.getvalue()
