"""Degraded clips are worse by measure, true ones that were varied are not."""

import numpy as np
import pytest

from videogen_cli.data import degradations, moving_shapes
from videogen_cli.data.order import rng
from videogen_cli.metrics.adherence import find_blob, judge


def clip(index):
    shown = moving_shapes.clip(5, index)
    return shown.frames.transpose(0, 3, 1, 2).astype(np.float32) / 255, shown.combination


def of(colour, shape, direction):
    combination = moving_shapes.Combination(colour, shape, direction)
    return moving_shapes.render(combination, rng(0, "test")).transpose(0, 3, 1, 2).astype(np.float32) / 255


def as_uint8(frames):
    return np.rint(frames * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def fill(frames):
    blob = find_blob(as_uint8(frames)[0])
    return blob.area / (blob.box[0] * blob.box[1])


def share_right(change):
    """Return how many of 24 clips still show what they should after ``change(frames, other, draws)``."""
    right = 0
    for index in range(0, 72, 3):
        frames, combination = clip(index)
        right += not judge(as_uint8(change(frames, clip(index + 7)[0], rng(1, index)))).reasons(combination)
    return right / 24


def test_blur_keeps_the_light_and_nothing_at_zero():
    frames = of("red", "square", "right")
    blurred = degradations.blur(frames, 2.0)
    assert abs(blurred.sum() / frames.sum() - 1) < 0.01
    assert blurred.max() < frames.max() and np.array_equal(degradations.blur(frames, 0.0), frames)


@pytest.mark.parametrize("look", degradations.LOOKS)
def test_looks_stay_in_range_and_are_pure(look):
    frames = of("yellow", "triangle", "up")
    first, second = (look(frames, 0.9, rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == frames.shape and first.min() >= 0 and first.max() <= 1 + 1e-6
    assert np.abs(first - frames).mean() > 0.002
    assert np.abs(look(frames, 0.1, rng(3)) - frames).mean() < np.abs(first - frames).mean()


def test_round_corners_turns_a_square_towards_a_circle():
    square = of("white", "square", "left")
    fills = [fill(degradations.round_corners(square, strength, rng(0))) for strength in (0, 0.3, 0.6, 1)]
    assert fills[0] > 0.99 and fills == sorted(fills, reverse=True) and len(set(fills)) == 4
    assert fills[-1] < 0.85, "a circle fills 0.79 of its box"


def test_bend_stretches_about_the_centroid():
    frames = of("green", "circle", "right")
    bent = degradations.bend(frames, 1.0, rng(8))
    assert np.abs(degradations.centroids(bent) - degradations.centroids(frames)).max() < 0.5
    boxes = [find_blob(as_uint8(each)[0]).box for each in (frames, bent)]
    assert boxes[0] != boxes[1]


def test_variations_stay_right_and_degraded_clips_do_not():
    assert share_right(lambda frames, other, draws: degradations.vary(frames, draws)) == 1

    def motion(frames, other, draws):
        degraded = degradations.degrade_motion(frames, other, draws, False)
        assert not degraded.recognisable and degraded.frames.dtype == np.float32
        return degraded.frames

    assert share_right(motion) < 0.35
    assert share_right(lambda *clip_and_draws: degradations.degrade_look(*clip_and_draws, False).frames) < 0.75
    assert share_right(lambda *clip_and_draws: degradations.degrade_some(*clip_and_draws, False).frames) < 0.85


def test_codes_are_noisy_only_where_there_are_codes():
    frames, other = clip(0)[0], clip(1)[0]
    kinds = {
        codes: [degradations.degrade_look(frames, other, rng(index), codes) for index in range(60)]
        for codes in (False, True)
    }
    assert not any(degraded.code_noise for degraded in kinds[False])
    noisy = [degraded for degraded in kinds[True] if degraded.code_noise]
    assert noisy and all(np.array_equal(degraded.frames, frames) for degraded in noisy)


def test_shift_goes_no_further_than_the_bright_part_stays_inside():
    frames = of("cyan", "square", "down")
    moved = degradations.shift(frames, np.full((len(frames), 2), 100.0))
    assert np.isclose(moved.sum(), frames.sum())
    lit = moved[0].max(0) > 0.1
    assert lit[-1].any() and lit[:, -1].any()
    back = degradations.shift(frames, np.zeros((len(frames), 2)))
    assert np.array_equal(back, frames)


def test_black_frames_have_their_centre_in_the_middle():
    assert np.allclose(degradations.centroids(np.zeros((1, 3, 9, 5), np.float32)), [[4, 2]])
