"""Moving Shapes: a world small enough to learn on a laptop, and exact enough to judge by measurement.

On black, one filled shape moves in a straight line at constant speed, wholly visible throughout. What a clip shows
is a function of (seed, index); what its caption says is what it shows. Twelve of the 84 combinations of colour,
shape and direction are held out of every training set, to tell composition from memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data.order import rng
from videogen_cli.errors import UsageError
from videogen_cli.files import atomic_path, cache_root, disk_errors, write_json, write_text

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "white": (255, 255, 255),
}
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # (x, y), y points down
PARAPHRASES = (
    "a {colour} {shape} moving {direction}",
    "a {colour} {shape} moves {direction}",
    "the {colour} {shape} is moving {direction}",
    "a {shape} in {colour} moving {direction}",
    "{colour} {shape} going {direction}",
)
SIZE = 64  # pixels; radii and margins below are for this size and grow with it
FPS = 8
MIN_RADIUS, MAX_RADIUS = 8.0, 12.0
MARGIN = 1.0  # pixels kept free at the borders, so that no antialiased edge is cut
MIN_TRAVEL = 0.5  # of the frame's side; the world promises 0.4, and the rest is slack for imperfect copies of it
SUPERSAMPLING = 8
_STRIDE = 31  # prime to 72 and to 12: clips one after the other differ in colour, shape and direction
VERSION = 1  # of what (seed, index) draws; a cached data set of another version is not used


@dataclass(frozen=True)
class Combination:
    """What a clip shows, in words."""

    colour: str
    shape: str
    direction: str

    @property
    def held_out(self) -> bool:
        """Whether no training set may show this combination."""
        numbers = list(COLOURS).index(self.colour), SHAPES.index(self.shape), list(DIRECTIONS).index(self.direction)
        return (numbers[0] + 2 * numbers[1] + 3 * numbers[2]) % 7 == 0


ALL = [Combination(*words) for words in product(COLOURS, SHAPES, DIRECTIONS)]
TRAINED = [combination for combination in ALL if not combination.held_out]
HELD_OUT = [combination for combination in ALL if combination.held_out]


@dataclass(frozen=True)
class Clip:
    """A rendered clip: ``frames`` uint8 (f h w 3), its ``caption``, and the ``combination`` it shows."""

    frames: np.ndarray
    caption: str
    combination: Combination


def prompt(combination: Combination, paraphrase: int = 0) -> str:
    """Return the prompt for ``combination``; 0 is the plain one, the other PARAPHRASES mean the same."""
    words = {"colour": combination.colour, "shape": combination.shape, "direction": combination.direction}
    return PARAPHRASES[paraphrase].format(**words)


def clip(seed: int, index: int, num_frames: int = 8, size: int = SIZE, *, held_out: bool = False) -> Clip:
    """Render clip ``index`` of the world ``seed``: combinations in turn, all else drawn from (seed, index).

    Half of the captions are the plain prompt and the others are paraphrases of it.

    Args:
        seed: which world.
        index: which clip, from 0; the first few show many combinations, and the first 72 (or 12) show each once.
        num_frames: frames from the start of the way to its end.
        size: width and height in pixels.
        held_out: show only the held-out combinations, instead of only the trained ones.
    """
    combinations = HELD_OUT if held_out else TRAINED
    combination = combinations[index * _STRIDE % len(combinations)]
    draw = rng(seed, "moving-shapes", int(held_out), index)
    frames = render(combination, draw, num_frames, size)
    paraphrase = int(draw.integers(1, len(PARAPHRASES))) if draw.random() < 0.5 else 0
    return Clip(frames, prompt(combination, paraphrase), combination)


def render(combination: Combination, draw: np.random.Generator, num_frames: int = 8, size: int = SIZE) -> np.ndarray:
    """Draw a radius, a way and an offset across it, and return the frames, uint8 (f h w 3)."""
    scale = size / SIZE
    radius = draw.uniform(MIN_RADIUS, MAX_RADIUS) * scale
    low, high = radius + MARGIN * scale, size - radius - MARGIN * scale
    travel = draw.uniform(MIN_TRAVEL * size, high - low)
    start, across = draw.uniform(low, high - travel), draw.uniform(low, high)
    step_x, step_y = DIRECTIONS[combination.direction]
    if step_x + step_y < 0:
        start = size - start  # the same way, walked from the other side
    way = start + (step_x + step_y) * travel * np.linspace(0.0, 1.0, num_frames)
    centres = [(along, across) if step_x else (across, along) for along in way]
    coverage = np.stack([_coverage(combination.shape, centre, radius, size) for centre in centres])
    return np.rint(coverage[..., None] * np.array(COLOURS[combination.colour])).astype(np.uint8)


def _coverage(shape: str, centre: Sequence[float], radius: float, size: int) -> np.ndarray:
    """Return which part of every pixel the shape covers, float (h w) in [0, 1], by supersampling its bounding box."""
    spans = [slice(max(int(c - radius), 0), min(int(np.ceil(c + radius)), size)) for c in centre]
    dx, dy = (
        (np.arange(span.start * SUPERSAMPLING, span.stop * SUPERSAMPLING) + 0.5) / SUPERSAMPLING - c
        for span, c in zip(spans, centre, strict=True)
    )
    inside = _inside(shape, dx[None, :], dy[:, None], radius)
    height, width = (len(axis) // SUPERSAMPLING for axis in (dy, dx))
    coverage = np.zeros((size, size))
    blocks = inside.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING)
    coverage[spans[1], spans[0]] = blocks.mean(axis=(1, 3))
    return coverage


def _inside(shape: str, dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """Tell which points (offsets from the centre, y down) lie in the shape, bool, broadcast over both axes."""
    if shape == "circle":
        return dx**2 + dy**2 <= radius**2
    if shape == "square":
        return (np.abs(dx) <= radius) & (np.abs(dy) <= radius)
    return (np.abs(dy) <= radius) & (2 * np.abs(dx) <= dy + radius)  # isosceles, point up


def write_dataset(
    folder: Path | str,
    seed: int,
    num_clips: int,
    num_frames: int = 8,
    size: int = SIZE,
    *,
    held_out: bool = False,
    workers: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write clips 0 to ``num_clips - 1`` as mp4 files and ``captions.csv`` (``video,caption``); return the CSV's path.

    Every file appears whole or not at all. A folder that is complete is used as it is, one that was interrupted is
    finished. ``progress`` is called with the number of clips that are there.

    Raises:
        UsageError: ``folder`` is a file, or holds a data set made with other settings.
        DiskError: the folder cannot be written.
    """
    folder = Path(folder)
    settings = {
        **{"version": VERSION, "seed": seed, "num_clips": num_clips, "num_frames": num_frames, "size": size},
        "held_out": held_out,
    }
    csv_path, stamp = folder / "captions.csv", folder / "dataset.json"
    names = [f"clips/{index:06d}.mp4" for index in range(num_clips)]
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder for a data set", where=str(folder))
    if stamp.exists() and _stamped(stamp) != settings:
        hint = "Choose another folder, or delete this one to have it made again."
        raise UsageError("holds a Moving Shapes data set made with other settings", where=str(folder), hint=hint)
    if csv_path.exists() and all(_has_content(folder / name) for name in names):
        return csv_path
    write_json(stamp, settings)

    def make(index: int) -> list[str]:
        shown = clip(seed, index, num_frames, size, held_out=held_out)
        if not _has_content(folder / names[index]):
            with atomic_path(folder / names[index]) as temporary:
                temporary.write_bytes(encode_mp4(shown.frames))
        return [names[index], shown.caption]

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(make, index) for index in range(num_clips)]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["video", "caption"], *(future.result() for future in futures)])
    write_text(csv_path, table.getvalue())
    return csv_path


def ensure_dataset(
    num_clips: int, num_frames: int, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> Path:
    """Return the CSV of a training set in the user's cache folder, rendering it first where it is not there yet.

    Several processes may ask at once: one renders and the others wait for it.

    Raises:
        DiskError: the cache folder cannot be written.
    """
    from filelock import FileLock

    name = f"v{VERSION}-seed{seed}-{num_clips}x{num_frames}"
    folder = cache_root() / "moving-shapes" / name
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock"):
            return write_dataset(folder, seed, num_clips, num_frames, progress=progress)


def encode_mp4(frames: np.ndarray, fps: int = FPS) -> bytes:
    """Return ``frames``, uint8 (f h w 3), as an h264 mp4 file with full colour resolution.

    Done in this process: starting an ffmpeg for each of thousands of tiny clips takes fifty times as long.
    """
    import av

    options = {"crf": "8", "preset": "veryfast", "bf": "0", "threads": "1"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _has_content(path: Path) -> bool:
    """Tell whether a file is there and not empty (a power cut can leave a name without its data)."""
    return path.is_file() and path.stat().st_size > 0


def _stamped(stamp: Path) -> Any:
    """Return the settings a folder was made with, or None where they cannot be read."""
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except ValueError:
        return None
