import numpy as np
import pytest
from PIL import Image

from videogen_cli.data import transforms
from videogen_cli.errors import DataError

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 40, 70, 3)).astype(np.uint8)


def test_ranges_and_shapes():
    video, misc = transforms.latent_frames(FRAMES, 16), transforms.condition_frames(FRAMES, 24)
    assert video.shape == (2, 3, 16, 16) and misc.shape == (2, 3, 24, 24)
    assert video.dtype == misc.dtype == np.float32
    assert -1 <= video.min() < 0 < video.max() <= 1
    assert 0 <= misc.min() < misc.max() <= 1


def test_the_middle_is_kept():
    frames = np.zeros((1, 30, 90, 3), np.uint8)
    frames[:, :, 30:60] = 255
    assert transforms.condition_frames(frames, 30).min() == 1
    assert transforms.latent_frames(frames, 30).min() == 1
    assert transforms.style_frame(frames[0], 30).min() > 1


def test_large_images_are_halved_first():
    image = Image.fromarray(FRAMES[0])
    boxed = image.resize((35, 20), Image.Resampling.BOX).resize((28, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(transforms.shrink_and_crop([image], 16)[0], np.asarray(boxed)[:, 6:22])


def test_clip_pixels_are_normalised():
    grey = np.full((9, 9, 3), 128, np.uint8)
    expected = (128 / 255 - np.array(transforms.CLIP_MEAN)) / np.array(transforms.CLIP_STD)
    np.testing.assert_allclose(transforms.clip_image(grey, 7)[:, 3, 3], expected, rtol=1e-5)


def test_filters_differ_and_are_named():
    found = [transforms.condition_frames(FRAMES, 24, name) for name in transforms.FILTERS]
    assert all(np.abs(found[0] - other).max() > 0.01 for other in found[1:])
    with pytest.raises(DataError, match="'nearest'"):
        transforms.condition_frames(FRAMES, 24, "nearest")
