"""Decode a file into frames, or say why it cannot be done. Runs in a worker process: see ``video.read_video``.

PyAV is the judge of a file: it reports damage that decord conceals (of 40 clips with three flipped bits each, decord
returned 40 without a word and PyAV refused 40). decord reads files already found sound, where its seeking is faster.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data import screening
from videogen_cli.errors import DataError

IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
SEEK_FROM = 64  # frames into a file where seeking begins to beat decoding from its beginning
MAX_CLIP_BYTES = 4 * 2**30  # of decoded pixels in one answer


@dataclass(frozen=True)
class Clip:
    """Decoded frames, uint8 (f h w 3), with what is known of their file.

    ``fps`` is the mean frame rate, 0 for a still image; ``total`` is the number of frames in the file.
    """

    frames: np.ndarray
    fps: float
    width: int
    height: int
    total: int


@dataclass(frozen=True)
class Wanted:
    """Which frames to return: every ``stride``-th from ``start``, ``num_frames`` of them or all there are.

    A ``position`` in [0, 1) chooses the start instead, between the first and the last that leave enough frames.
    With ``keep`` False all frames are decoded and none is returned.
    """

    num_frames: int | None = None
    start: int = 0
    stride: int = 1
    position: float | None = None
    keep: bool = True

    def numbers(self, total: int) -> range:
        """Return the numbers of the frames to return, of a file with ``total`` frames.

        Raises:
            DataError: the file has too few.
        """
        if not self.keep:
            return range(0)
        if self.num_frames is None:
            return range(self.start, total, self.stride)
        span = (self.num_frames - 1) * self.stride + 1
        start = self.start if self.position is None else int(self.position * max(total - span + 1, 1))
        if start + span > total:
            every = f", every {self.stride}th" if self.stride > 1 else ""
            raise DataError(f"has {total} frames, {start + span} are needed ({self.num_frames} from {start}{every})")
        return range(start, start + span, self.stride)


def decode(path: str, wanted: Wanted = Wanted(), checked: bool = False) -> Clip:
    """Return the ``wanted`` frames of a video or an image.

    Raises:
        DataError: the file is missing, empty, no video, damaged, cut short, or has too few frames.
    """
    try:
        head = screening.head(path)
        screening.refuse_text(head)
        if _is_image(path):
            return _decode_image(path, head, wanted)
        screening.refuse_cut_mp4(path, head)
        return _decode_video(path, wanted, checked)
    except DataError as error:
        raise DataError(error.what, where=path, hint=error.hint) from error
    except MemoryError as error:
        raise DataError("does not fit in memory", where=path, hint="Read fewer frames of it.") from error


def _is_image(path: str) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=IMAGE_FORMATS):
            return True
    except Exception:
        return False


def _decode_image(path: str, head: bytes, wanted: Wanted) -> Clip:
    """Decode a still image as one frame, or an animated one as the frames it shows."""
    from PIL import Image, ImageOps, ImageSequence

    if head.startswith(b"GIF8") and not Path(path).read_bytes().rstrip(b"\0").endswith(b";"):
        raise DataError("is cut short: the GIF has no end mark")
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            total, frames, milliseconds = getattr(image, "n_frames", 1), [], 0.0
            numbers = wanted.numbers(total)
            for number, page in enumerate(ImageSequence.Iterator(image)):
                milliseconds += page.info.get("duration", 0)
                page.load()
                if number in numbers:
                    frames.append(np.asarray(ImageOps.exif_transpose(page).convert("RGB")))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"is a damaged image: {error}") from error
    fps = total * 1000 / milliseconds if milliseconds else 0.0
    return _clip(frames, fps, image.height, image.width, total)


@dataclass(frozen=True)
class _Scan:
    """What the packets of a video stream say, before any is decoded."""

    count: int | None  # frames to come, where the container promises a number
    fps: float
    steady: bool  # evenly timed and none to be skipped, so that every reader numbers the frames alike


def _decode_video(path: str, wanted: Wanted, checked: bool) -> Clip:
    from av.error import FFmpegError

    try:
        scan = _scan(path)
        if checked and scan.steady and scan.count and (clip := _decode_with_decord(path, wanted, scan.count)):
            return clip
        total = scan.count if scan.count is not None else _count(path)
        return _decode_with_pyav(path, wanted, total, scan.fps)
    except (FFmpegError, ArithmeticError, ValueError) as error:  # the latter two for absurd times and sizes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"cannot be decoded: {reason}", hint="Convert it again, or leave it out.") from error


def _open(path: str) -> tuple[Any, Any]:
    import av
    import av.logging as messages

    messages.set_level(messages.PANIC)
    container = av.open(os.path.abspath(path), options={"protocol_whitelist": "file"})
    streams = [stream for stream in container.streams.video if not stream.disposition.value & _ATTACHED_PICTURE]
    if not streams:
        kinds = {stream.type for stream in container.streams}
        container.close()
        raise DataError("has sound but no picture" if "audio" in kinds else "has no video in it")
    if streams[0].codec_context is None:
        container.close()
        raise DataError("is of a kind no decoder here knows", hint="Convert it to h264.")
    return container, streams[0]


_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of a song is no video


def _scan(path: str) -> _Scan:
    """Read all packets and hold them against what the header promises."""
    container, stream = _open(path)
    with container:
        times, skipped, end = [], 0, 0.0
        for packet in container.demux():
            if packet.size == 0:
                continue
            if packet.is_corrupt:
                raise DataError("is damaged or cut short: it holds broken packets")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index:
                skipped += packet.is_discard
                times.append(packet.pts)
        # other containers count what they do not hold (AVI: repeats) or nothing (WebM), or are not to be relied on
        promised = stream.frames if "mp4" in container.format.name else 0
        held, fps = len(times), float(stream.average_rate or stream.guessed_rate or 0)
        if promised and held != promised:
            raise DataError(f"is cut short: it promises {promised} frames and holds {held}")
        gaps = np.diff(np.sort([time for time in times if time is not None]))  # in ticks; packets come in any order
        if not promised and container.duration and len(gaps):
            interval = float(gaps.max() * stream.time_base)
            end = max(end, float(max(filter(None, times)) * stream.time_base) + interval)
            lacking = ((container.start_time or 0) + container.duration) / 1e6 - end
            if lacking > 0.5 * interval:
                raise DataError(f"is cut short: its last {lacking:.2f} s are missing")
    even = None not in times and (len(gaps) == 0 or (gaps.min() > 0 and gaps.max() - gaps.min() <= 1))
    return _Scan(held - skipped if promised else None, fps, bool(even) and skipped == 0)


def _frames(path: str) -> Iterator[Any]:
    """Decode a stream from its beginning; a damaged frame is an error instead of a guess at what it was."""
    container, stream = _open(path)
    with container:
        stream.codec_context.thread_count = 1  # many clips are decoded at once, and starting threads costs more
        stream.codec_context.options = {"err_detect": "explode"}
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise DataError(f"is damaged: frame {number} cannot be decoded whole")
            yield frame


def _count(path: str) -> int:
    return sum(1 for _ in _frames(path))


def _decode_with_pyav(path: str, wanted: Wanted, total: int, fps: float) -> Clip:
    from av.video.reformatter import VideoReformatter

    numbers = wanted.numbers(total)
    reformatter, kept, size, rotation, number = VideoReformatter(), [], None, 0, -1
    last = numbers[-1] if wanted.num_frames is not None and numbers else total
    for number, frame in enumerate(_frames(path)):
        if size is None:
            size, rotation = (frame.height, frame.width), frame.rotation
            _check_memory(len(numbers), size)
        if size != (frame.height, frame.width):
            raise DataError(f"changes its size at frame {number}")
        if number in numbers:
            kept.append(_upright(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), rotation))
        if number == last:
            break
    if len(kept) != len(numbers) or (last == total and number + 1 != total):
        raise DataError(f"is damaged or cut short: it promises {total} frames and {number + 1} can be decoded")
    if size is None:
        raise DataError("has no frame in it")
    height, width = size if rotation % 180 == 0 else size[::-1]
    return _clip(kept, fps, height, width, total)


def _upright(frame: np.ndarray, rotation: int) -> np.ndarray:
    """Turn a frame by the display matrix's angle, in degrees counter-clockwise."""
    return np.rot90(frame, k=round(rotation / 90) % 4)


def _decode_with_decord(path: str, wanted: Wanted, total: int) -> Clip | None:
    """Return the frames read by decord, or None where it would not be faster, is missing, or cannot (AV1)."""
    numbers = list(wanted.numbers(total))
    if not numbers or numbers[0] < SEEK_FROM:
        return None
    try:
        import decord

        reader = decord.VideoReader(path, num_threads=1)
        if len(reader) != total:
            return None
        _check_memory(len(numbers), reader[numbers[0]].shape[:2])
        frames = reader.get_batch(numbers).asnumpy()
        fps = float(reader.get_avg_fps())
    except ImportError:
        return None
    except Exception as error:  # decord's own class derives from RuntimeError, and it raises others too
        if isinstance(error, DataError):
            raise
        return None
    return _clip(frames, fps, frames.shape[1], frames.shape[2], total)


def _check_memory(count: int, size: Sequence[int]) -> None:
    needed = count * size[0] * size[1] * 3
    if needed > MAX_CLIP_BYTES:
        raise DataError(f"would take {needed / 2**30:.1f} GB decoded", hint="Read fewer frames of it.")


def _clip(frames: Iterable[np.ndarray], fps: float, height: int, width: int, total: int) -> Clip:
    kept = list(frames)
    pixels = np.stack(kept) if kept else np.zeros((0, height, width, 3), np.uint8)
    return Clip(pixels, fps, width, height, total)
