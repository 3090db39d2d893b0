"""Resizing by a scale, and cropping to a size."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.data.resize import resize, resize_crop
from videogen_cli.errors import UsageError


@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 0.71, 1.3, 2.0])
def test_a_flat_picture_stays_flat(method, scale):
    flat = np.full((7, 11, 3), 200, np.uint8)
    result = resize(flat, scale, method)
    assert result.shape == (round(7 * scale), round(11 * scale), 3)
    assert (result == 200).all()


def test_area_averages_what_a_pixel_covers():
    row = np.array([0, 10, 20, 30, 40], np.float32).reshape(1, 5, 1).repeat(5, 0)
    np.testing.assert_allclose(resize(row, 0.4, "area")[0, :, 0], [8, 32], atol=1e-5)  # (0 + 10 + 20 / 2) / 2.5
    np.testing.assert_allclose(resize(row, 0.5, "linear")[0, :, 0], [5, 25], atol=1e-5)


def test_area_enlarged_keeps_pixels_flat():
    row = np.array([0, 90], np.float32).reshape(1, 2, 1)
    assert resize(row, 3.0, "area")[0, :, 0].tolist() == [0, 0, 0, 90, 90, 90]


@pytest.mark.parametrize(("size", "scale"), [(25, 2.6), (29, 60 / 29), (75, 67 / 52), (26, 40 / 26), (70, 49 / 16)])
def test_a_ramp_enlarged_never_falls_where_pixels_end_together(size, scale):
    ramp = np.arange(size, dtype=np.float32).reshape(1, size, 1).repeat(size, 0)
    found = resize(ramp, scale, "area")[0, :, 0]
    assert (np.diff(found) >= 0).all() and found[0] == 0 and found[-1] == size - 1


def test_values_are_rounded_only_as_uint8():
    row = np.array([0, 3], np.uint8).reshape(1, 2, 1).repeat(2, 0)
    assert resize(row, 0.5, "area").dtype == np.uint8
    assert resize(row.astype(np.float32), 0.5, "area").tolist() == [[[1.5]]]


def test_orientation_is_kept_on_wish():
    video = np.zeros((2, 30, 20, 3), np.uint8)
    assert resize_crop(video, (8, 16)).shape == (2, 16, 8, 3)
    assert resize_crop(video, (8, 16), preserve_orientation=False).shape == (2, 8, 16, 3)


def test_the_middle_is_kept():
    picture = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4, 1)
    assert resize_crop(picture, (4, 4)).ravel().tolist() == list(range(4, 20))


def test_unknown_interpolation():
    with pytest.raises(UsageError, match="no interpolation 'cubic'"):
        resize(np.zeros((2, 2, 1), np.uint8), 2, "cubic")
