"""Frame sizes by aspect ratio, so that clips of one batch have one size (mindone, examples/moviegen ``buckets.py``).

A resolution's sizes have about the same number of pixels; their sides are multiples of 16, the autoencoder's 8 times
the transformer's patches of 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from videogen_cli.errors import UsageError

_LANDSCAPE = ("1:1", "5:4", "4:3", "16:9", "16:10", "21:9", "2:1")
RATIOS = tuple(dict.fromkeys([*_LANDSCAPE, *(":".join(reversed(ratio.split(":"))) for ratio in _LANDSCAPE)]))
MULTIPLE = 16
Size = tuple[int, int]  # height, width


@cache
def sizes(resolution: str, multiple: int = MULTIPLE) -> Mapping[str, Size]:
    """Return the size for every aspect ratio (width:height) of a resolution: ``256px`` has 256 x 256 pixels.

    Raises:
        UsageError: a resolution of another form.
    """
    match = re.fullmatch(r"([1-9]\d*)px", resolution)
    if not match:
        raise UsageError(f"'{resolution}' is not a resolution", hint="Write 256px or 768px.")
    pixels = int(match[1]) ** 2
    table: dict[str, Size] = {}
    for ratio in RATIOS:
        across, down = map(int, ratio.split(":"))
        unit = math.sqrt(pixels / across / down)
        height, width = int(unit * down), int(unit * across)
        table[ratio] = (height - height % multiple, width - width % multiple)
    return table


def nearest_ratio(height: int, width: int) -> str:
    """Return the aspect ratio nearest to a frame's."""
    return min(RATIOS, key=lambda ratio: abs(_value(ratio) - width / height))


def target_size(resolution: str, height: int, width: int) -> Size:
    """Return the size of a resolution that suits a frame."""
    return sizes(resolution)[nearest_ratio(height, width)]


@dataclass(frozen=True)
class Buckets:
    """Clips by length and aspect ratio; ``batch_sizes`` maps lengths to how many make a batch."""

    batch_sizes: Mapping[int, int]

    def bucket(self, frames: int, height: int, width: int) -> tuple[int, str]:
        """Return (length, ratio) of the bucket for a clip: the longest length that it has.

        Raises:
            UsageError: the clip is shorter than every length.
        """
        fitting = [length for length in self.batch_sizes if length <= frames]
        if not fitting:
            raise UsageError(f"a clip of {frames} frames is shorter than all of {sorted(self.batch_sizes)}")
        return max(fitting), nearest_ratio(height, width)

    def batch_size(self, bucket: tuple[int, str]) -> int:
        """Return how many clips of a bucket make a batch."""
        return self.batch_sizes[bucket[0]]


def _value(ratio: str) -> float:
    across, _, down = ratio.partition(":")
    return int(across) / int(down)
