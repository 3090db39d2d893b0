"""A data set of captioned clips: every sample is what its row says, or the row is refused before training begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_cli.config import DataConfig
from videogen_cli.data.decoding import Wanted
from videogen_cli.data.moving_shapes import ensure_dataset
from videogen_cli.data.order import rng
from videogen_cli.data.parallel import ordered_map
from videogen_cli.data.tables import BadRow, Row, find_csv, read_rows, write_quarantine
from videogen_cli.data.verdicts import Verdicts
from videogen_cli.data.video import read_video
from videogen_cli.errors import DataError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sample:
    """One training sample: ``frames`` float32 (f 3 h w) in [-1, 1], its ``caption`` and its ``index``."""

    frames: np.ndarray
    caption: str
    index: int


class ClipDataset:
    """The usable rows of a CSV, in its order; with no path, the Moving Shapes clips, rendered when first needed.

    All rows are checked at once, by decoding every clip (a verdict is remembered until the file changes), so that
    the samples and their numbers are fixed before the first step. Rows that cannot be used are listed in ``bad``.
    Safe to use from several threads.

    Args:
        config: see :class:`DataConfig`.
        seed: decides where a clip longer than needed is cut, and which Moving Shapes world is shown.
        quarantine: a file for the refused rows, a JSON line each.
        cache_mb: decoded clips are kept in memory when all of them fit this many megabytes.
        progress: called with (rows checked, rows in all).

    Raises:
        DataError: no row is usable, or more than ``max_bad_fraction`` of them are not.
    """

    def __init__(
        self,
        config: DataConfig,
        seed: int,
        *,
        quarantine: Path | None = None,
        cache_mb: int = 1024,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.config, self.seed = config, seed
        if config.path:
            self.path = find_csv(config.path)
        else:
            self.path = ensure_dataset(
                config.num_clips, config.num_frames, seed, lambda done: progress(done, config.num_clips)
            )
        candidates, self.bad = read_rows(self.path, config.root, config.num_clips)
        self.rows, self._totals = self._check(candidates, progress)
        if quarantine is not None and self.bad:
            write_quarantine(quarantine, self.bad)
        self._refuse_too_many_bad(quarantine)
        needed = sum(self._totals) * config.height * config.width * 3
        self._cache: dict[int, np.ndarray] | None = {} if needed <= cache_mb * 2**20 else None

    def __len__(self) -> int:
        return len(self.rows)

    def caption(self, index: int) -> str:
        """Return the caption of sample ``index``."""
        return self.rows[index].caption

    def item(self, index: int, epoch_key: int) -> Sample:
        """Return sample ``index``; where it is cut from a longer clip depends on (seed, ``epoch_key``, index) only.

        Raises:
            DataError: the clip can no longer be decoded.
        """
        config, row = self.config, self.rows[index]
        position = float(rng(self.seed, "clip-start", int(epoch_key), int(index)).random())
        wanted = Wanted(config.num_frames, stride=config.frame_stride, position=position)
        if self._cache is None:
            frames = self._read(row, wanted)
        else:
            if index not in self._cache:
                self._cache[index] = self._read(row, Wanted())
            whole = self._cache[index]
            frames = whole[wanted.numbers(len(whole))]
        return Sample(_normalised(frames), row.caption, int(index))

    def fingerprint(self) -> str:
        """Return a digest of all that decides the samples but ``epoch_key``: rows, files' states, sizes, strides."""
        digest = hashlib.sha256()
        config = self.config
        digest.update(repr((config.num_frames, config.height, config.width, config.frame_stride, self.seed)).encode())
        for row in self.rows:
            state = row.video.stat()
            digest.update(repr((str(row.video), state.st_size, state.st_mtime_ns, row.caption)).encode())
        return digest.hexdigest()

    def items(self, indices: Sequence[int], epoch_key: int) -> list[Sample]:
        """Return the samples of ``indices``, decoded by ``config.workers`` threads; their number changes nothing."""
        return list(ordered_map(lambda index: self.item(index, epoch_key), indices, self.config.workers))

    def _read(self, row: Row, wanted: Wanted) -> np.ndarray:
        clip = read_video(
            row.video,
            num_frames=wanted.num_frames,
            stride=wanted.stride,
            position=wanted.position,
            timeout=self.config.decode_timeout,
            checked=True,
        )
        return fit(clip.frames, self.config.height, self.config.width)

    def _check(self, candidates: Sequence[Row], progress: Progress) -> tuple[list[Row], list[int]]:
        """Decode every candidate once; return the usable ones with their frame counts, and list the others in bad."""
        config, verdicts = self.config, Verdicts(self.path)

        def total_or_reason(row: Row) -> int | str:
            try:
                total = verdicts.frames(row.video, config.decode_timeout)
                Wanted(config.num_frames, stride=config.frame_stride).numbers(total)
                return total
            except DataError as error:
                return error.what

        good: list[tuple[Row, int]] = []
        outcomes = ordered_map(total_or_reason, candidates, config.workers)
        for done, (row, outcome) in enumerate(zip(candidates, outcomes, strict=True), start=1):
            if isinstance(outcome, str):
                self.bad.append(BadRow(row.line, str(row.video), outcome))
            else:
                good.append((row, outcome))
            progress(done, len(candidates))
        verdicts.save()
        return [row for row, _ in good], [total for _, total in good]

    def _refuse_too_many_bad(self, quarantine: Path | None) -> None:
        count, limit = len(self.rows) + len(self.bad), self.config.max_bad_fraction
        if self.rows and len(self.bad) <= limit * count:
            return
        shown = "; ".join(f"line {row.line}: {row.reason}" for row in self.bad[:3])
        raise DataError(
            f"{len(self.bad)} of {count} rows cannot be used, {limit:.0%} are allowed ({shown})",
            where=str(self.path),
            hint=f"All of them: {quarantine or f'vgen validate {self.path}'}. The limit is data.max_bad_fraction.",
        )


def fit(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize frames, uint8 (f h w 3), until they just cover ``height`` x ``width`` (bicubic), and crop the centre."""
    from PIL import Image

    rows, columns = frames.shape[1:3]
    if (rows, columns) == (height, width):
        return frames
    scale = max(height / rows, width / columns)
    size = max(width, round(columns * scale)), max(height, round(rows * scale))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    resized = (np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames)
    return np.stack([frame[top : top + height, left : left + width] for frame in resized])


def _normalised(frames: np.ndarray) -> np.ndarray:
    """Turn uint8 (f h w 3) into float32 (f 3 h w) in [-1, 1]."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(127.5) - np.float32(1)
