"""Read and write videos: strictly, in bounded time, and with an error that says what is wrong with the file."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np

from videogen_cli.data import guarded
from videogen_cli.data.decoding import Clip, Wanted
from videogen_cli.errors import DataError, DiskError
from videogen_cli.files import atomic_path, existing_parent

FORMATS = ("mp4", "gif", "png", "npy")
_FFMPEG_OPTIONS = {
    "mp4": ["-crf", "10", "-preset", "medium", "-bf", "0", "-movflags", "+faststart"],
    "gif": ["-vf", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"],
}


def read_video(
    path: Path | str,
    *,
    num_frames: int | None = None,
    start: int = 0,
    stride: int = 1,
    position: float | None = None,
    timeout: float = 30.0,
    checked: bool = False,
) -> Clip:
    """Return frames of a video, an animated image, a still image (one frame) or a ``.npy`` array of frames.

    Never fewer frames than asked for, nor one twice: frames the container promises must all be there and whole.
    Rotation is applied; uneven frame times and odd sizes are fine. Decoding runs in a worker process that is ended
    when the time is over.

    Args:
        path: the file.
        num_frames: how many frames; None for all from ``start``.
        start: number of the first frame.
        stride: distance between frames, in frames.
        position: in [0, 1), instead of ``start``: where between the first and the last start that leaves enough.
        timeout: seconds the decoding may take.
        checked: the file has passed :func:`check_video`, so that the faster decoder may read it.

    Raises:
        DataError: the file is missing, empty, no video, damaged, cut short, too slow, or has too few frames.
    """
    wanted = Wanted(num_frames, start, stride, position)
    if Path(path).suffix == ".npy":
        return _read_npy(Path(path), wanted)
    return _decode(path, wanted, timeout, checked)


def check_video(path: Path | str, *, timeout: float = 30.0) -> Clip:
    """Decode all of a file, and return what is known of it with no frames kept.

    Raises:
        DataError: as for :func:`read_video`.
    """
    return _decode(path, Wanted(keep=False), timeout, checked=False)


def _decode(path: Path | str, wanted: Wanted, timeout: float, checked: bool) -> Clip:
    name = "videogen_cli.data.decoding:decode"
    try:
        return guarded.call(name, timeout, path=str(path), wanted=wanted, checked=checked)
    except guarded.Timeout as error:
        hint = "Raise the limit (data.decode_timeout) for long clips; otherwise the file is broken."
        raise DataError(f"was not decoded within {timeout:g} s", where=str(path), hint=hint) from error
    except guarded.Crash as error:
        raise DataError(f"made the decoder crash: {error}", where=str(path), hint="Leave it out.") from error


def _read_npy(path: Path, wanted: Wanted) -> Clip:
    try:
        frames = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError("no such file", where=str(path)) from error
    except Exception as error:  # numpy reads the header as Python source: a damaged one raises nearly anything
        raise DataError(f"is no array file: {error}", where=str(path)) from error
    if not isinstance(frames, np.ndarray) or frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise DataError("holds no frames: uint8 of shape (frames, height, width, 3) is needed", where=str(path))
    total, height, width, _ = frames.shape
    return Clip(frames[list(wanted.numbers(total))], 0.0, width, height, total)


def write_video(path: Path | str, frames: np.ndarray, fps: float = 8, format: str | None = None) -> Path:
    """Write ``frames``, uint8 (f h w 3), and return the path. The file appears whole or not at all.

    ``mp4`` is h264 (crf 10, yuv420p; an odd size gains one repeated row or column), ``gif`` has one palette for all
    frames, ``png`` is one strip with the frames side by side, ``npy`` the array itself (of latents too: of any type
    and shape).

    Args:
        path: the file; a missing suffix is added.
        frames: at least one frame of at least one pixel.
        fps: frames per second; not kept by png and npy.
        format: one of FORMATS; None takes it from the suffix.

    Raises:
        DataError: ``frames`` has another type or shape, or the format is unknown.
        DiskError: the file cannot be written or does not read back with as many frames.
    """
    path = Path(path)
    format = format or path.suffix[1:]
    path = path if path.suffix else path.with_suffix(f".{format}")
    is_video = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3 and 0 not in frames.shape
    if not is_video and format != "npy":
        raise DataError(f"cannot be a video: {frames.dtype} {frames.shape}, not uint8 (f h w 3)", where=str(path))
    if format not in FORMATS:
        raise DataError(f"cannot be written as '{format}'", where=str(path), hint=f"Formats: {', '.join(FORMATS)}")
    with atomic_path(path) as temporary:
        if format in ("mp4", "gif"):
            _write_with_ffmpeg(temporary, path, frames, fps, format)
        else:  # made in memory: numpy and Pillow hide the cause when a disk is full
            temporary.write_bytes(_npy(frames) if format == "npy" else _png_strip(frames))
    return path


def strip_to_frames(strip: np.ndarray, num_frames: int) -> np.ndarray:
    """Cut a strip, uint8 (h f*w 3), as ``write_video`` makes of a png, into its frames, uint8 (f h w 3)."""
    height, width, channels = strip.shape
    return strip.reshape(height, num_frames, width // num_frames, channels).transpose(1, 0, 2, 3)


def _npy(frames: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, frames)
    return buffer.getvalue()


def _png_strip(frames: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_with_ffmpeg(target: Path, final: Path, frames: np.ndarray, fps: float, format: str) -> None:
    """Encode with ffmpeg, count the frames of what it wrote, and call a failure what it is: a disk error."""
    from imageio_ffmpeg import write_frames

    if format == "mp4":
        frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    height, width = frames.shape[1:3]
    codec, pixels = ("libx264", "yuv420p") if format == "mp4" else ("gif", "pal8")
    try:
        writer = write_frames(
            target,
            (width, height),
            fps=fps,  # type: ignore[arg-type]  (annotated int, but passed on as text)
            codec=codec,
            pix_fmt_out=pixels,
            quality=None,  # type: ignore[arg-type]  (the rate factor below says it)
            macro_block_size=1,  # others resize the frames
            ffmpeg_log_level="error",
            output_params=_FFMPEG_OPTIONS[format],
        )
        writer.send(None)
        for frame in np.ascontiguousarray(frames):
            writer.send(frame.tobytes())
        writer.close()
        written = check_video(target, timeout=600.0).total
    except (OSError, DataError) as error:  # ffmpeg closes its pipe when it cannot write, whatever the cause
        raise _disk_error(final, str(getattr(error, "what", error)).splitlines()[0]) from error
    if written != len(frames):
        raise _disk_error(final, f"{written} of {len(frames)} frames were written")


def _disk_error(path: Path, reason: str) -> DiskError:
    free = shutil.disk_usage(existing_parent(path)).free
    hint = f"{free / 2**20:,.0f} MB are free there. Free some space or choose another folder."
    return DiskError(f"the video could not be written: {reason}", where=str(path), hint=hint)
