"""Every measure of a video against clips made by hand, whose answers are known."""

import numpy as np
import pytest
from PIL import Image

from videogen_cli.data import moving_shapes as world
from videogen_cli.data.order import rng
from videogen_cli.data.video import read_video, write_video
from videogen_cli.metrics.video_quality import MEASURES, SAME, flicker, is_constant, measure

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def grey(*levels, size=(16, 20)):
    """Return a video whose frames are each of one level."""
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def walk(step=1, frames=8, width=12, side=64):
    """Return a white bar on black that moves to the right by ``step`` pixels a frame."""
    video = np.zeros((frames, 16, side, 3), np.uint8)
    for number in range(frames):
        video[number, :, step * number : step * number + width] = 255
    return video


def test_a_still_video():
    found = measure(np.stack([NOISE] * 5))
    assert found["consistency"] == pytest.approx(1) and found["flicker"] == 1
    assert (found["motion"], found["duplicates"], found["constant"]) == (0, 1, 0)


def test_a_flickering_video():
    found = measure(grey(0, 100, 0, 100, 0, 100))
    assert found["flicker"] == pytest.approx(1 - 100 / 255)
    assert found["motion"] == pytest.approx(100 / 255)
    assert found["consistency"] < 0.01 and found["duplicates"] == 0


@pytest.mark.parametrize("level", [0, 255])
def test_one_flash_counts_once(level):
    frames = grey(*[128] * 6)
    frames[3] = level
    assert flicker(frames) == pytest.approx(1 - abs(level - 128) / 255 / 4)


def test_part_of_the_frame_flickers():
    frames = np.stack([NOISE] * 6)
    frames[1::2, :6, :8] = 255 - frames[1::2, :6, :8]
    expected = np.abs(255 - 2 * NOISE[:6, :8].astype(int)).sum() / NOISE.size
    assert flicker(frames) == pytest.approx(1 - expected / 255)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_what_moves_does_not_flicker(step):
    found = measure(walk(step))
    assert found["flicker"] == 1
    assert found["motion"] == pytest.approx(2 * step / 64)
    assert found["consistency"] < 1


def test_a_fade_does_not_flicker():
    found = measure(grey(*range(0, 200, 20)))
    assert found["flicker"] == 1 and found["motion"] == pytest.approx(20 / 255)


def test_shapes_that_move_do_not_flicker_and_those_that_blink_do():
    frames = world.render(world.ALL[5], rng(0, "test"), 8)
    blinking = frames.copy()
    blinking[4] = 0
    assert flicker(frames) > 0.999 > flicker(blinking) + 0.002


def test_duplicates_are_counted():
    frames = walk(3)[[0, 0, 1, 1, 2, 2, 3, 3]]
    assert measure(frames)["duplicates"] == pytest.approx(4 / 7)
    touched = frames.copy()
    touched[1, 0, -1] = SAME
    touched[3, 0, -1] = SAME + 1
    assert measure(touched)["duplicates"] == pytest.approx(3 / 7)
    assert measure(grey(10, 11, 12, 13))["duplicates"] == 0


def test_a_textured_still_video_is_all_duplicates_in_a_file(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(coarse).resize((288, 192), Image.Resampling.BICUBIC))
    frames = read_video(write_video(tmp_path / "a.mp4", np.stack([still] * 8))).frames
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 0  # the codec has touched it
    assert measure(frames)["duplicates"] == 1


def test_duplicates_are_found_in_files(tmp_path):
    frames = world.render(world.ALL[5], rng(0, "test"), 4)[[0, 0, 1, 1, 2, 2, 3, 3]]
    for format in ("mp4", "gif"):
        decoded = read_video(write_video(tmp_path / f"a.{format}", frames)).frames
        assert measure(decoded)["duplicates"] == pytest.approx(4 / 7), format


def test_one_colour():
    red = np.zeros((4, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert is_constant(red) and measure(red)["constant"] == 1
    noise = np.random.default_rng(0).integers(-1, 2, red.shape)
    assert is_constant(np.clip(red.astype(int) + noise, 0, 255).astype(np.uint8))
    assert not is_constant(grey(0, 255)) and not is_constant(walk())
    assert not is_constant(red + np.array([0, 0, 3], np.uint8) * (np.arange(16)[:, None] > 7)[..., None])


def test_brightness_and_contrast():
    found = measure(grey(51, 51, 51))
    assert found["brightness"] == pytest.approx(0.2) and found["contrast"] == pytest.approx(0, abs=1e-6)
    half = np.zeros((3, 16, 16, 3), np.uint8)
    half[:, :8] = 255
    assert measure(half)["contrast"] == pytest.approx(0.5)
    green = np.zeros((1, 8, 8, 3), np.uint8)
    green[..., 1] = 255
    assert measure(green)["brightness"] == pytest.approx(0.587)


def test_what_has_no_room_is_left_out():
    assert measure(NOISE[None]).keys() == {"constant", "brightness", "contrast"}
    assert "flicker" not in measure(np.stack([NOISE] * 2)) and "motion" in measure(np.stack([NOISE] * 2))
    assert "consistency" not in measure(grey(1, 2, 3, size=(6, 20)))


def test_measures_stay_within_their_limits():
    draw = np.random.default_rng(1)
    videos = [draw.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8), grey(0, 255, 0, 255), walk(), grey(0), grey(255)]
    limits = {one.name: one.limits for one in MEASURES}
    for frames in videos:
        for name, value in measure(frames).items():
            assert limits[name][0] - 1e-6 <= value <= limits[name][1] + 1e-6, name
