import numpy as np
import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.demo.data import ClipWindow, centre_crop, clip_pixels, end_of_text, frame_to_uint8, shards


def test_a_clip_spans_the_target_rate_and_short_files_repeat_frames():
    assert ClipWindow.of(300, 29.97) == ClipWindow(10, 151, 149, 16)
    short = ClipWindow.of(4, 30.0, num_frames=8)
    assert (short.length, short.max_start) == (4, 0)
    assert short.indices(0).tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert ClipWindow.of(50, 1.4).indices(7).tolist() == [7] * 16
    assert ClipWindow.of(50, 4.5).stride == 2  # half to even
    with pytest.raises(DataError):
        ClipWindow.of(0, 30.0)


def test_pixels_have_the_shorter_side_and_the_middle():
    frames = np.zeros((1, 3, 20, 41), np.int64)
    frames[..., 20:] = 255
    pixels = clip_pixels(frames, (10, 10))
    assert pixels.shape == (1, 3, 10, 10) and pixels.dtype == np.float32
    assert pixels[..., 0].max() == pytest.approx(-1) and pixels[..., -1].min() == pytest.approx(1)
    assert pixels.min() < -1.01  # the cubic overshoots, and that stays


def test_a_crop_larger_than_the_image_is_padded():
    cropped = centre_crop(np.ones((1, 4, 3)), (2, 6))
    assert cropped[0].tolist() == [[0, 1, 1, 1, 0, 0]] * 2


def test_frames_are_cut_towards_zero():
    assert frame_to_uint8(np.array([-2, -1, 0, 0.999, 1, 3], np.float32)).tolist() == [0, 0, 127, 254, 255, 255]


def test_ranks_share_items_and_short_ones_start_over():
    assert shards(5, 2) == [[0, 2, 4], [1, 3, 0]]
    assert shards(1, 3) == [[0], [0], [0]]


def test_the_first_end_counts():
    tokens = np.array([[8, 1, 9, 9, 0], [8, 9, 0, 0, 0]])
    assert end_of_text(tokens, 10).tolist() == [2, 1]
    with pytest.raises(DataError, match="no end"):
        end_of_text(tokens[:, :1], 10)
