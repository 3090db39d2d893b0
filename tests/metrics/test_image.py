"""PSNR and SSIM against their definitions, written out window by window."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import DataError
from videogen_cli.metrics.image import box, gaussian, psnr, ssim, to_uint8

A, B = np.random.default_rng(0).integers(0, 256, (2, 2, 12, 13, 2)).astype(np.uint8)


def by_definition(a, b, weights, unbiased, data_range):
    size, found = len(weights), []
    window = np.outer(weights, weights)
    factor = size**2 / (size**2 - 1) if unbiased else 1.0
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    for y, x in np.ndindex(a.shape[0] - size + 1, a.shape[1] - size + 1):
        p, q = (frame[y : y + size, x : x + size].astype(float) for frame in (a, b))
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq = (factor * (window * (v - m) ** 2).sum() for v, m in ((p, mp), (q, mq)))
        cov = factor * (window * (p - mp) * (q - mq)).sum()
        found.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(found)


@pytest.mark.parametrize(("window", "data_range"), [(box(), 255.0), (gaussian(), 255.0), (gaussian(5, 0.8), 1.0)])
def test_ssim(window, data_range):
    a, b = (A / 255 * data_range, B / 255 * data_range) if data_range == 1 else (A, B)
    expected = [
        np.mean(
            [by_definition(a[n, ..., c], b[n, ..., c], window.weights, window.unbiased, data_range) for c in (0, 1)]
        )
        for n in (0, 1)
    ]
    np.testing.assert_allclose(ssim(a, b, window, data_range), expected, rtol=1e-9)
    np.testing.assert_allclose(ssim(a, a, window, data_range), 1)


def test_psnr():
    shifted = np.clip(A, 0, 250) + 5
    assert psnr(np.clip(A, 0, 250), shifted) == pytest.approx(20 * np.log10(255 / 5))
    assert np.isinf(psnr(A, A)).all()
    assert psnr(np.zeros((1, 2)), np.full((1, 2), 0.1), data_range=1.0)[0] == pytest.approx(20)


def test_pixels_are_cut_off():
    assert to_uint8(np.array([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])).tolist() == [0, 0, 127, 254, 255, 255]


def test_frames_must_be_comparable():
    with pytest.raises(DataError, match="cannot be compared"):
        psnr(A, B[:1])
    with pytest.raises(DataError, match="no place for a window of 13 pixels"):
        ssim(A, B, gaussian(13))
