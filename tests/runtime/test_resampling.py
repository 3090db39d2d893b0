"""Resizing matrices against properties that no wrong one has, and against values known from torch and PIL."""

import numpy as np
import pytest

from videogen_cli.errors import UsageError
from videogen_cli.runtime.resampling import resampling_matrix

WAYS = [(kernel, antialias) for kernel in ("bilinear", "bicubic") for antialias in (False, True)]


@pytest.mark.parametrize(("kernel", "antialias"), WAYS)
@pytest.mark.parametrize(("source", "target"), [(7, 7), (7, 19), (19, 7), (5, 1), (1, 5)])
def test_constants_and_symmetry_survive(kernel: str, antialias: bool, source: int, target: int) -> None:
    matrix = resampling_matrix(source, target, kernel, antialias=antialias)
    assert matrix.shape == (target, source)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-6)
    if source == target:
        np.testing.assert_allclose(matrix, np.eye(source), atol=1e-6)


def test_known_values() -> None:
    ramp = np.arange(4, dtype=np.float32)
    np.testing.assert_allclose(resampling_matrix(4, 8, "bilinear")[:3] @ ramp, [0, 0.25, 0.75], atol=1e-6)
    # Keys' cubic half way between samples: (a, 4 - a, 4 - a, a) / 8 for a = -0.75.
    half = resampling_matrix(8, 4, "bicubic")[1]
    np.testing.assert_allclose(half[1:5], np.array([-0.75, 4.75, 4.75, -0.75]) / 8, atol=1e-6)
    # Averaging over two samples: a triangle of twice the width.
    np.testing.assert_allclose(
        resampling_matrix(8, 4, "bilinear", antialias=True)[1, 1:5], [0.125, 0.375, 0.375, 0.125], atol=1e-6
    )
    np.testing.assert_allclose(
        resampling_matrix(3, 5, "bilinear", align_corners=True) @ ramp[:3], [0, 0.5, 1, 1.5, 2], atol=1e-6
    )


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(UsageError, match="lanczos"):
        resampling_matrix(4, 2, "lanczos")
