"""What DEMO's training and inference read: clips of a file, their pixels, images for CLIP, prompts per rank.

Upstream: PR-Ryan/DEMO tools/datasets/video_dataset.py, tools/modules/clip_embedder.py with open_clip 2.24.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videogen_cli.data.transforms import shorter_side
from videogen_cli.errors import DataError
from videogen_cli.runtime.resampling import resampling_matrix

TARGET_FPS = 3


@dataclass(frozen=True)
class ClipWindow:
    """Where a clip can lie in a file: ``length`` frames of it, from frame 0 to at most ``max_start``."""

    stride: int
    length: int
    max_start: int
    num_frames: int

    @classmethod
    def of(cls, total: int, fps: float, num_frames: int = 16, target_fps: float = TARGET_FPS) -> ClipWindow:
        """Return the window of ``num_frames`` at about ``target_fps`` in a file of ``total`` frames.

        The stride is rounded half to even, so a rate below half the target's repeats one frame; a file that is too
        short is taken whole, its frames repeated as needed.

        Raises:
            DataError: the file has no frames, or its rate is no number.
        """
        if total < 1 or not 0 <= fps < float("inf"):
            raise DataError(f"has {total} frames at {fps} per second, of which no clip can be made")
        stride = round(fps / target_fps)
        length = min(total, (num_frames - 1) * stride + 1)
        return cls(stride, length, total - length, num_frames)

    def indices(self, start: int) -> np.ndarray:
        """Return the numbers of the frames of the clip that begins at ``start``, int64 (num_frames,)."""
        return np.linspace(start, start + self.length - 1, self.num_frames, dtype=np.int64)


def clip_pixels(frames: np.ndarray, resolution: tuple[int, int], *, antialias: bool = False) -> np.ndarray:
    """Turn uint8 frames (f 3 h w) into float32 pixels (f 3 *resolution), about in [-1, 1].

    The shorter side becomes ``resolution[0]`` by cubic interpolation, then the middle is cut out. Overshoots of the
    cubic stay. torchvision averages over what a pixel covers (``antialias``) from 0.17 on; upstream pins 0.16.
    """
    pixels = frames.astype(np.float32) / np.float32(255)
    height, width = shorter_side(pixels.shape[-2], pixels.shape[-1], resolution[0])
    rows = resampling_matrix(pixels.shape[-2], height, antialias=antialias)
    columns = resampling_matrix(pixels.shape[-1], width, antialias=antialias)
    return (centre_crop(rows @ pixels @ columns.T, resolution) - np.float32(0.5)) / np.float32(0.5)


def frame_to_uint8(frame: np.ndarray) -> np.ndarray:
    """Return a frame in [-1, 1] as uint8, cut towards zero as in saved videos; what lies outside is clamped."""
    return (np.clip(frame * np.float32(0.5) + np.float32(0.5), 0, 1) * np.float32(255)).astype(np.uint8)


def wrapped_uint8(frame: np.ndarray) -> np.ndarray:
    """Return the image upstream shows CLIP for a frame in [-1, 1]: times 255, and wrapped into 0 to 255.

    That is a defect: the values should have been raised to [0, 1] first. Kept to compare with upstream's runs.
    """
    return np.trunc(frame * np.float32(255)).astype(np.int64) & 255


def end_of_text(tokens: np.ndarray, vocab_size: int = 49408) -> np.ndarray:
    """Return the place (b,) of the first end-of-text id, the last of the vocabulary, in tokens (b l).

    Raises:
        DataError: a row has none.
    """
    found = tokens == vocab_size - 1
    if not found.any(1).all():
        raise DataError("a text has no end", hint="Its last id must be that of <end_of_text>.")
    return found.argmax(1)


def centre_crop(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the middle (... *size) out of images (... h w), after padding with zeros what is smaller."""
    lacks = [max(0, wanted - has) for wanted, has in zip(size, images.shape[-2:], strict=True)]
    padding = [(0, 0)] * (images.ndim - 2) + [(lack // 2, (lack + 1) // 2) for lack in lacks]
    images = np.pad(images, padding)
    top, left = (round((has - wanted) / 2) for wanted, has in zip(size, images.shape[-2:], strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def shards(count: int, world: int) -> list[list[int]]:
    """Return the items of each of ``world`` ranks: dealt out in turn, short ranks filled up from the start."""
    rounds = -(-count // world)
    return [[(rank + world * index) % count for index in range(rounds)] for rank in range(world)]
