"""Rewards of generated videos, differentiable down to latents (Ji4chenLi/t2v-turbo, reward_fn/reward_fn.py).

Frames are (n 3 h w) in [0, 1]; a score is a cosine of features, without a temperature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.data.transforms import CLIP_MEAN, CLIP_STD
from videogen_cli.errors import UsageError
from videogen_cli.nets.layers import constant, constant_function
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.resampling import resampling_matrix

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
        rows = _fitted_side(height, max(height, width), self.size, self.antialias)
        columns = _fitted_side(width, max(height, width), self.size, self.antialias)
        return self.normalise(F.resample(images, rows, columns))


@constant_function
def _fitted_side(side: int, longer: int, size: int, antialias: bool) -> np.ndarray:
    """Return the matrix (size side) that resizes one side of an image, the longer one filling, with black around."""
    fitted = side if longer == size else round(side * (size / longer))
    before = (size - fitted) // 2
    matrix = resampling_matrix(side, fitted, "bicubic", antialias=antialias)
    return np.pad(matrix, ((before, size - fitted - before), (0, 0)))


class CropSquare(Cell):
    """Resizes images so that their shorter side fills a square, cuts a square out, then normalises.

    Only the rows and columns that are kept are computed.
    """

    def __init__(self, size: int, antialias: bool = True) -> None:
        super().__init__()
        self.size, self.antialias = size, antialias
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)

    def construct(self, images: Any, corner: Any) -> Any:
        """Map (n 3 h w) in [0, 1] to (n 3 size size).

        ``corner`` (2,) is the integer row and column where the square begins, below :func:`crop_room`; it is passed
        over where nothing was resized.
        """
        height, width = images.shape[2:]
        shorter, kept = min(height, width), F.arange(self.size)
        rows = _cut_side(height, shorter, self.size, self.antialias)
        columns = _cut_side(width, shorter, self.size, self.antialias)
        first = corner * 0 if shorter == self.size else corner
        return self.normalise(F.resample(images, F.take(rows, first[0] + kept, 0), F.take(columns, first[1] + kept, 0)))


@constant_function
def _cut_side(side: int, shorter: int, size: int, antialias: bool) -> np.ndarray:
    """Return the matrix (size or more, side) that resizes one side of an image, whose shorter one fits."""
    return resampling_matrix(side, round(side * (size / shorter)), "bicubic", antialias=antialias)


def crop_room(height: int, width: int, size: int) -> tuple[int, int]:
    """Return in how many rows and columns the square that :class:`CropSquare` cuts out of images may begin."""
    scale = size / min(height, width)
    if scale == 1:
        return 1, 1
    return round(height * scale) - size + 1, round(width * scale) - size + 1


class ImageScore(Cell):
    """How well frames show a prompt, by HPSv2.1 (Wu et al. 2023, arXiv 2306.09341) or another CLIP.

    Args:
        clip: an ``OpenCLIP``.
        image_size: side of the images it sees.
        antialias: see :class:`FitSquare`.
    """

    def __init__(self, clip: Any, image_size: int, antialias: bool = True) -> None:
        super().__init__()
        self.clip = clip
        self.fit = FitSquare(image_size, antialias)

    def construct(self, frames: Any, ids: Any) -> Any:
        """Return the score (n,) of frames (n 3 h w) for token ids (m l): frame i is judged by prompt i mod m."""
        text: Any = F.stop_gradient(self.clip.encode_text(ids))
        image = self.clip.encode_image(self.fit(frames))
        n, m = image.shape[0], text.shape[0]
        return (image.reshape(n // m, m, -1) * text).sum(-1).reshape(-1)


class VideoScore(Cell):
    """How well a video shows a prompt, by InternVideo2 stage 2.

    Args:
        model: an ``InternVideo2``.
        image_size: side of the frames it sees.
        antialias: see :class:`FitSquare`.
    """

    def __init__(self, model: Any, image_size: int, antialias: bool = True) -> None:
        super().__init__()
        self.model = model
        self.crop: Any = CropSquare(image_size, antialias)

    def construct(self, frames: Any, corner: Any, ids: Any, keep: Any) -> Any:
        """Return the score (b,) of videos (b f 3 h w) for token ids (b l); ``corner`` (2,) as in ``CropSquare``."""
        text = F.stop_gradient(self.model.encode_text(ids, keep))
        return (self.model.encode_video(self.pixels(frames, corner)) * text).sum(-1)

    def pixels(self, frames: Any, corner: Any) -> Any:
        """Return what the model sees of (b f 3 h w), which is cut alike for all frames: (b f 3 size size)."""
        b, f = frames.shape[:2]
        pixels = self.crop(frames.reshape(b * f, *frames.shape[2:]), corner)
        return pixels.reshape(b, f, *pixels.shape[1:])


class FrameDecoder(Cell):
    """Some frames of videos, from latents to pixels.

    Args:
        vae: an ``AutoencoderKL``.
        mean: of the autoencoder's codes, per channel (c) or for all.
        std: what latents are multiplied by before ``mean`` is added.
    """

    def __init__(self, vae: Any, mean: Any = 0.0, std: Any = 1.0) -> None:
        super().__init__()
        self.vae = vae
        self.mean = constant(np.asarray(mean, np.float32).reshape(-1, 1, 1))
        self.std = constant(np.asarray(std, np.float32).reshape(-1, 1, 1))

    def construct(self, latents: Any, index: Any) -> Any:
        """Map latents (b c t h w) to the frames (b n 3 H W) in [0, 1] at integer ``index`` (n,)."""
        chosen = F.take(latents, index, 2).permute(0, 2, 1, 3, 4)
        b, n = chosen.shape[:2]
        codes = chosen.reshape(b * n, *chosen.shape[2:]) * self.std.astype(latents.dtype)
        images = self.vae.decode(codes + self.mean.astype(latents.dtype))
        return (images * 0.5 + 0.5).clip(0, 1).reshape(b, n, *images.shape[1:])


class ImageRewardLoss(Cell):
    """Drives the frames of generated videos to a high :class:`ImageScore`."""

    def __init__(self, decoder: Any, score: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.decoder, self.score, self.scale = decoder, score, scale

    def construct(self, latents: Any, index: Any, ids: Any) -> Any:
        """Return the loss and the mean score.

        Args:
            latents: clean latents (b c t h w) as the student predicts them.
            index: frames to judge (n,), any distinct ones.
            ids: the prompts' token ids (b l). The original gives several to frames in turn, whosever they are.
        """
        frames = F.permute(self.decoder(latents, index), (1, 0, 2, 3, 4))  # the scorer goes through prompts in turn
        score = self.score(frames.reshape(-1, *frames.shape[2:]), ids).mean()
        return -score * self.scale, score


class VideoRewardLoss(Cell):
    """Drives generated videos to a high :class:`VideoScore`."""

    def __init__(self, decoder: Any, score: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.decoder, self.score, self.scale = decoder, score, scale

    def construct(self, latents: Any, index: Any, corner: Any, ids: Any, keep: Any) -> Any:
        """Return the loss and the mean score.

        Args:
            latents: clean latents (b c t h w) as the student predicts them.
            index: frames to show (n,), see :func:`spread_frames`.
            corner: (2,) as in :class:`CropSquare`.
            ids: the prompts' token ids (b l).
            keep: 1 for tokens, 0 for padding, (b l).
        """
        score = self.score(self.decoder(latents, index), corner, ids, keep).mean()
        return -score * self.scale, score


def frame_stride(frames: int, count: int) -> int:
    """Return the distance between ``count`` frames spread over ``frames``; a video may start at any frame below it.

    Raises:
        UsageError: there are fewer frames than that.
    """
    if frames < count:
        raise UsageError(f"{frames} frames are fewer than the {count} that the video reward sees", where="num_frames")
    return frames // count


def spread_frames(frames: int, count: int, start: int) -> np.ndarray:
    """Return the indices (count,) of frames spread over ``frames``, from ``start`` below :func:`frame_stride`."""
    return (start + np.arange(count) * frame_stride(frames, count)).astype(np.int32)
