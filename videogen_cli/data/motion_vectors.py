"""Motion as video codecs see it: block vectors read from a stream, and the field that conditions VideoComposer.

Source: ali-vilab/videocomposer, tools/videocomposer/datasets.py (extract_motion_vectors, VideoDataset). Tables have the
columns of motion-vector-extractor: source, w, h, src_x, src_y, dst_x, dst_y, motion_x, motion_y, motion_scale, in
pixels; ``source`` is negative for a past frame, and motion points from the block to where it came from.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data import guarded
from videogen_cli.errors import DataError
from videogen_cli.runtime.resampling import resampling_matrix

COLUMNS = ("source", "w", "h", "src_x", "src_y", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")
_SOURCE, _BLOCK, _MOTION, _SCALE = 0, slice(5, 7), slice(7, 9), 9
_MIN_SECONDS = 16  # a clip that would have no more frames than this at the wanted rate is sampled faster


@dataclass(frozen=True)
class MotionClip:
    """Frames, uint8 RGB (f h w 3), whether each was coded on its own, and its table of vectors, int32 (n 10)."""

    frames: np.ndarray
    intra: np.ndarray
    tables: list[np.ndarray]

    def starts(self, length: int) -> np.ndarray:
        """Return the frames a window of ``length`` frames may begin at: those coded on their own with enough left."""
        left = len(self.intra) - np.arange(len(self.intra))
        return np.flatnonzero(self.intra & (left >= length))

    def field(self, index: int) -> np.ndarray:
        """Return the sparse field of a frame, see :func:`sparse_field`."""
        return sparse_field(self.tables[index], *self.frames.shape[1:3])

    def condition(self, start: int, length: int, size: int) -> np.ndarray:
        """Return the condition (length 2 size size) of the window at ``start``, see :func:`motion_condition`."""
        return motion_condition(np.stack([self.field(index) for index in range(start, start + length)]), size)


def sampling_rate(frames: int, fps: float, wanted: int = 4) -> int:
    """Return the frames per second to re-encode a clip with: ``wanted``, or what makes more than 16 frames of it.

    Raises:
        DataError: the clip has no duration.
    """
    if frames < 1 or not fps > 0:
        raise DataError(f"has {frames} frames at {fps} per second, of which no clip can be made")
    seconds = frames / fps
    return max(wanted, 1) if seconds * wanted > _MIN_SECONDS else int(_MIN_SECONDS / seconds) + 1


def reencode(source: Path, target: Path, fps: int, timeout: float = 120.0) -> None:
    """Write ``source`` as an MPEG-4 part 2 stream, which has past frames for references only, at another rate.

    Raises:
        DataError: ffmpeg failed, wrote nothing, or took longer than ``timeout`` seconds.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    inputs = [get_ffmpeg_exe(), "-y", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file", "-i"]
    outputs = ["-filter:v", f"fps={fps}", "-c:v", "mpeg4", "-f", "rawvideo"]
    try:
        subprocess.run(
            [*inputs, str(source.absolute()), *outputs, str(target.absolute())],
            check=True,
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"was not re-encoded within {timeout:g} s", where=str(source)) from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(f"cannot be re-encoded: {reason[-1] if reason else error}", where=str(source)) from error
    if not target.exists() or not target.stat().st_size:
        raise DataError("has no frames to re-encode", where=str(source))


def read_motion(path: Path | str, timeout: float = 60.0) -> MotionClip:
    """Return all frames of a stream and their vectors, decoded in a worker process.

    Raises:
        DataError: the file is missing, no video, damaged, or too slow to decode.
    """
    try:
        return guarded.call(f"{__name__}:decode_motion", timeout, path=str(path))
    except guarded.Timeout as error:
        raise DataError(f"was not decoded within {timeout:g} s", where=str(path)) from error
    except guarded.Crash as error:
        raise DataError(f"made the decoder crash: {error}", where=str(path), hint="Leave it out.") from error


def decode_motion(path: str) -> MotionClip:
    """Decode a stream here; see :func:`read_motion`.

    Raises:
        DataError: the file is missing, no video, or damaged.
    """
    import av
    from av.error import FFmpegError
    from av.video.frame import PictureType

    frames, intra, tables = [], [], []
    try:
        with av.open(path, options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise DataError("has no video in it", where=path)
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # with several, vectors of single frames were seen to differ
            stream.codec_context.options = {"flags2": "+export_mvs"}
            for frame in container.decode(stream):
                frames.append(frame.to_ndarray(format="rgb24"))
                intra.append(frame.pict_type == PictureType.I)
                tables.append(_table(frame.side_data.get("MOTION_VECTORS")))
    except (FFmpegError, OSError, ValueError) as error:
        raise DataError(f"cannot be decoded: {getattr(error, 'strerror', None) or error}", where=path) from error
    if not frames:
        raise DataError("has no frame in it", where=path)
    return MotionClip(np.stack(frames), np.asarray(intra), tables)


def _table(vectors: Any) -> np.ndarray:
    """Return PyAV's vectors as int32 (n 10)."""
    if vectors is None:
        return np.zeros((0, len(COLUMNS)), np.int32)
    rows = vectors.to_ndarray()
    return np.stack([rows[name].astype(np.int32) for name in COLUMNS], 1)


def sparse_field(table: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the motion (2 height width), x then y in pixels, at the centre of each block; elsewhere it is zero.

    It points the way the content moved since its reference, whichever side of the frame that is on. A centre outside
    moves to the edge; of two vectors for one pixel the last counts.
    """
    field = np.zeros((2, height, width), np.float32)
    x, y = np.clip(table[:, _BLOCK], 0, (width - 1, height - 1)).T
    field[:, y, x] = (table[:, _SOURCE, None] * table[:, _MOTION] / table[:, _SCALE, None]).T
    return field


def motion_condition(fields: np.ndarray, size: int) -> np.ndarray:
    """Return fields (f 2 h w) with the shorter side resized to ``size`` and the middle cut out: (f 2 size size).

    Resizing is bilinear and averages nothing, so that vectors between the new pixels vanish; their lengths stay those
    of the old size.
    """
    height, width = fields.shape[-2:]
    shorter = min(height, width)
    rows, columns = (resampling_matrix(length, size * length // shorter, "bilinear") for length in (height, width))
    resized = rows @ fields @ columns.T
    top, left = (round((length - size) / 2) for length in resized.shape[-2:])
    return np.ascontiguousarray(resized[..., top : top + size, left : left + size])
