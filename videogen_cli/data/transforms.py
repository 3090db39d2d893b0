"""Frames and images to what networks read, resampled by Pillow (which averages when shrinking) with 8 bits in between.

Sources: ali-vilab/videocomposer, artist/data/transforms.py (CenterCropV2) and tools/videocomposer/inference_single.py;
open_clip 2.0.2 and 2.24.0, open_clip/transform.py (image_transform).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from videogen_cli.errors import DataError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def latent_frames(frames: np.ndarray, size: int) -> np.ndarray:
    """Return what an autoencoder reads of uint8 frames (f h w 3): float32 (f 3 size size) in [-1, 1]."""
    return _pixels(shrink_and_crop(_images(frames), size)) * 2 - 1


def condition_frames(frames: np.ndarray, size: int, resample: str = "bicubic") -> np.ndarray:
    """Return what condition extractors read of uint8 frames (f h w 3): float32 (f 3 size size) in [0, 1].

    The original draws ``resample`` (one of FILTERS) anew for every frame.

    Raises:
        DataError: there is no such filter.
    """
    if resample not in FILTERS:
        raise DataError(f"there is no filter '{resample}'", hint=f"Filters: {', '.join(FILTERS)}")
    resized = [resize_shorter(image, size, FILTERS[resample]) for image in _images(frames)]
    return _pixels(shrink_and_crop(resized, size))


def clip_image(
    image: np.ndarray, size: int, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD
) -> np.ndarray:
    """Return what CLIP's image tower reads of a uint8 image (h w 3): float32 (3 size size), normalised per channel."""
    resized = resize_shorter(Image.fromarray(image), size, Image.Resampling.BICUBIC)
    left, top = (round((length - size) / 2) for length in resized.size)
    return clip_normalised(_pixels([resized.crop((left, top, left + size, top + size))]), mean, std)[0]


def style_frame(frame: np.ndarray, size: int) -> np.ndarray:
    """Return what CLIP reads of a clip's uint8 frame (h w 3) when no style is given: float32 (3 size size)."""
    return clip_normalised(_pixels(shrink_and_crop(_images(frame[None]), size)))[0]


def clip_normalised(
    pixels: np.ndarray, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD
) -> np.ndarray:
    """Return pixels (... 3 h w) in [0, 1] with each channel's mean taken off and divided by its deviation."""
    columns = [np.asarray(values, np.float32)[:, None, None] for values in (mean, std)]
    return (pixels - columns[0]) / columns[1]


def shrink_and_crop(images: Sequence[Image.Image], size: int) -> list[Image.Image]:
    """Bring the shorter side to ``size``, by halving as far as possible and then a cubic, and cut out the middle.

    All images are treated as the first.
    """
    while min(images[0].size) >= 2 * size:
        images = [image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX) for image in images]
    scale = size / min(images[0].size)
    width, height = (round(scale * length) for length in images[0].size)
    images = [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
    left, top = (width - size) // 2, (height - size) // 2
    return [image.crop((left, top, left + size, top + size)) for image in images]


def resize_shorter(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Resize an image as :func:`shorter_side` says."""
    height, width = shorter_side(image.height, image.width, size)
    return image if (width, height) == image.size else image.resize((width, height), resample)


def shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the (height, width) at which the shorter side is ``size``; the other one is rounded down."""
    return (size, size * width // height) if height <= width else (size * height // width, size)


def _images(frames: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in frames]


def _pixels(images: Iterable[Image.Image]) -> np.ndarray:
    """Return float32 (f 3 h w) in [0, 1]."""
    return np.stack([np.asarray(image, np.float32) for image in images]).transpose(0, 3, 1, 2) / np.float32(255)
