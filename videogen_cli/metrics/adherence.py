"""Does a Moving Shapes video show what its prompt says? Judged by measuring it, never by a learned model.

A video passes when its colour, its shape and its direction are those of the prompt and it shows one object, in every
frame, all the way. The limits below say how far from perfect a copy may be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from videogen_cli.data.moving_shapes import COLOURS, DIRECTIONS, SHAPES, Combination

ATTRIBUTES = ("colour", "shape", "direction")
BRIGHT = 128  # of the brightest channel: a pixel that belongs to the object, more than half covered
COLOUR_DISTANCE = 127.5  # half the distance between the two nearest pure colours
FILL = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}  # area over bounding box
STRAY = 0.1  # bright pixels outside the largest blob, as a share of it
AREA = (0.012, 0.25)  # of the frame; the world's smallest and largest shapes cover 0.03 and 0.14
SIDES = 1.4  # longer over shorter side of the bounding box; all shapes of the world have 1
APEX = (0.56, 0.8)  # a triangle that points up has its centroid here, down its bounding box (2/3)
TRAVEL = 0.3  # of the frame's side; the world's shapes travel at least 0.4
DRIFT = 1 / 3  # of the travel, across the direction
BACKWARD = 0.03  # of the frame's side, between two frames
STRIDE = 3.0  # longest step over the mean one: a shape that jumps does not move

_WORDS = {
    **{word: ("colour", word) for word in COLOURS},
    **{word: ("shape", word) for word in SHAPES},
    **{word + suffix: ("direction", word) for word in DIRECTIONS for suffix in ("", "ward", "wards")},
}


@dataclass(frozen=True)
class Blob:
    """The object in one frame: pixels, bounding box (height, width), centroid (x, y), mean colour, other pixels."""

    area: int
    box: tuple[int, int]
    centroid: tuple[float, float]
    depth: float  # of the centroid in the bounding box, 0 top to 1 bottom
    colour: np.ndarray
    stray: int


@dataclass(frozen=True)
class Verdict:
    """What a video shows as far as it can be told (None where it cannot), and what is wrong with it as a video."""

    colour: str | None = None
    shape: str | None = None
    direction: str | None = None
    flaws: tuple[str, ...] = ()

    def correct(self, wanted: Combination) -> dict[str, bool]:
        """Return for each attribute whether it is as ``wanted``."""
        return {name: getattr(self, name) == getattr(wanted, name) for name in ATTRIBUTES}

    def reasons(self, wanted: Combination) -> list[str]:
        """Say why the video does not show ``wanted``; nothing when it does."""
        wrong = [
            f"{name} is {getattr(self, name) or 'unclear'}, not {getattr(wanted, name)}"
            for name, right in self.correct(wanted).items()
            if not right
        ]
        return [*self.flaws, *wrong]


def parse_prompt(prompt: str) -> Combination | None:
    """Return what a prompt asks for, or None unless it names one colour, one shape and one direction."""
    found: dict[str, set[str]] = {name: set() for name in ATTRIBUTES}
    for word in re.findall(r"[a-z]+", prompt.lower()):
        if word in _WORDS:
            attribute, value = _WORDS[word]
            found[attribute].add(value)
    if any(len(values) != 1 for values in found.values()):
        return None
    return Combination(*(values.pop() for values in found.values()))


def judge(frames: np.ndarray) -> Verdict:
    """Measure a video, uint8 (f h w 3), and say what it shows."""
    if len(frames) < 2:
        return Verdict(flaws=(f"has {len(frames)} frame(s): no movement can be seen",))
    blobs = [find_blob(frame) for frame in frames]
    seen = [blob for blob in blobs if blob is not None]
    if not seen:
        return Verdict(flaws=("is empty: no frame shows anything bright",))
    height, width = frames.shape[1:3]
    flaws = [f"frame {number} is empty" for number, blob in enumerate(blobs) if blob is None]
    flaws += [f"frame {number} shows more than one object" for number, blob in enumerate(blobs) if _strays(blob)]
    area = float(np.median([blob.area for blob in seen])) / (height * width)
    if not AREA[0] <= area <= AREA[1]:
        flaws.append(f"the object covers {area:.1%} of the frame")
    direction, problem = _direction(seen, width, height)
    flaws += [problem] if problem else []
    return Verdict(_colour(seen), _shape(seen), direction, tuple(flaws))


def find_blob(frame: np.ndarray) -> Blob | None:
    """Return the largest connected group of bright pixels of a frame, uint8 (h w 3), or None where there is none."""
    bright = frame.max(axis=-1) >= BRIGHT
    if not bright.any():
        return None
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]
    labels, sizes = label(bright[top : rows[-1] + 1, left : columns[-1] + 1])
    ys, xs = np.nonzero(labels == 1 + int(np.argmax(sizes)))
    ys, xs = ys + top, xs + left
    box = int(ys.max() - ys.min() + 1), int(xs.max() - xs.min() + 1)
    return Blob(
        area=len(ys),
        box=box,
        centroid=(float(xs.mean()), float(ys.mean())),
        depth=float(ys.mean() - ys.min() + 0.5) / box[0],
        colour=frame[ys, xs].mean(axis=0),
        stray=int(bright.sum()) - len(ys),
    )


def label(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the 8-connected groups of a mask, bool (h w), from 1; return the labels (h w) and the groups' sizes.

    Every pixel starts with a number of its own and takes the largest among its neighbours until none changes.
    """
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(numbers, 1)
        rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
        spread = np.where(mask, np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]), 0)
        if np.array_equal(spread, numbers):
            break
        numbers = spread
    _, labels, sizes = np.unique(numbers[mask], return_inverse=True, return_counts=True)
    result = np.zeros(mask.shape, np.int64)
    result[mask] = labels.reshape(-1) + 1
    return result, sizes


def _strays(blob: Blob | None) -> bool:
    return blob is not None and blob.stray > STRAY * blob.area


def _colour(blobs: Sequence[Blob]) -> str | None:
    """Return the pure colour nearest to the mean of the bright pixels, if every frame has the same one."""
    names, pure = list(COLOURS), np.array(list(COLOURS.values()), dtype=float)
    means = np.array([blob.colour for blob in blobs])
    distances = np.linalg.norm(means[:, None] - pure[None], axis=-1)
    nearest = distances.argmin(axis=1)
    mean_distance = np.linalg.norm(means.mean(axis=0) - pure[nearest[0]])
    if len(set(nearest.tolist())) > 1 or mean_distance > COLOUR_DISTANCE:
        return None
    return names[int(nearest[0])]


def _shape(blobs: Sequence[Blob]) -> str | None:
    """Return the shape whose area over bounding box is nearest to the median one's, if the rest fits it too."""
    fill = float(np.median([blob.area / (blob.box[0] * blob.box[1]) for blob in blobs]))
    sides = float(np.median([max(blob.box) / min(blob.box) for blob in blobs]))
    depth = float(np.median([blob.depth for blob in blobs]))
    shape = min(FILL, key=lambda name: abs(FILL[name] - fill))
    points_up = APEX[0] <= depth <= APEX[1]
    if sides > SIDES or fill < 0.4 or points_up != (shape == "triangle"):
        return None
    return shape


def _direction(blobs: Sequence[Blob], width: int, height: int) -> tuple[str | None, str | None]:
    """Return where the object goes and, if it does not go there steadily, what is wrong."""
    way = np.array([blob.centroid for blob in blobs]) / (width, height)  # (f, 2), in frames' sides
    travel = way[-1] - way[0]
    axis = int(np.abs(travel).argmax())
    along, across = abs(travel[axis]), abs(travel[1 - axis])
    if along < TRAVEL:
        return None, f"the object travels {along:.0%} of the frame, {TRAVEL:.0%} are needed"
    sign = int(np.sign(travel[axis]))
    step = (sign, 0) if axis == 0 else (0, sign)
    direction = next(name for name, value in DIRECTIONS.items() if value == step)
    if across > DRIFT * along:
        return direction, f"the object drifts {across / along:.0%} of its way to the side"
    steps = np.diff(way[:, axis]) * sign
    if steps.min() < -BACKWARD:
        return direction, f"the object turns back at frame {int(steps.argmin()) + 1}"
    if steps.max() > STRIDE * along / len(steps):
        return direction, f"the object jumps at frame {int(steps.argmax()) + 1}"
    return direction, None


def figures(combinations: Sequence[Combination], verdicts: Sequence[Verdict]) -> dict[str, dict[str, object]]:
    """Return for trained and held-out combinations apart what share of videos is right, and in which attribute.

    Returns:
        ``{"trained": ..., "held_out": ...}``, each with ``videos``, ``combinations``, ``correct``, ``accuracy``, its
        95% ``interval``, and the share per attribute; shares are None where there are no videos.
    """
    judged = list(zip(combinations, verdicts, strict=True))
    return {
        name: _shares([(wanted, verdict) for wanted, verdict in judged if wanted.held_out == held_out])
        for name, held_out in (("trained", False), ("held_out", True))
    }


def _shares(judged: Sequence[tuple[Combination, Verdict]]) -> dict[str, object]:
    total = len(judged)
    correct = sum(not verdict.reasons(wanted) for wanted, verdict in judged)
    found: dict[str, object] = {"videos": total, "combinations": len({c for c, _ in judged}), "correct": correct}
    found["accuracy"] = correct / total if total else None
    found["interval"] = [round(bound, 4) for bound in wilson(correct, total)] if total else None
    rights = [verdict.correct(wanted) for wanted, verdict in judged]
    for name in ATTRIBUTES:
        found[name] = float(np.mean([right[name] for right in rights])) if total else None
    return found


def wilson(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95% interval of a rate of ``correct`` in ``total`` (Wilson 1927, the score interval)."""
    if total == 0:
        return 0.0, 1.0
    rate, spread = correct / total, z * z / total
    centre = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / total + spread / total / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
