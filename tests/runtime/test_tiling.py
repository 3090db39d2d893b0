"""Tiles of a picture join to what the whole gives, and fade into one another."""

from __future__ import annotations

import numpy as np

from videogen_cli.runtime.tiling import Tiling, tiled


def test_a_local_function_gives_the_same_in_tiles() -> None:
    pixels = np.random.default_rng(0).standard_normal((2, 3, 37, 29))
    halved = Tiling(sample_size=16, latent_size=8).encode(lambda x: x[..., ::2, ::2], pixels)
    assert np.allclose(halved, pixels[..., ::2, ::2])
    doubled = Tiling(sample_size=16, latent_size=8).decode(lambda x: x.repeat(2, -1).repeat(2, -2), pixels)
    assert np.allclose(doubled, pixels.repeat(2, -1).repeat(2, -2))


def test_small_pictures_are_not_cut() -> None:
    calls = []
    Tiling(sample_size=16, latent_size=8).encode(lambda x: calls.append(x.shape) or x, np.zeros((1, 16, 12)))
    assert calls == [(1, 16, 12)]


def test_results_fade_linearly() -> None:
    marks = iter([0.0, 4.0])
    joined = tiled(lambda x: np.full_like(x, next(marks)), np.zeros((1, 6)), size=6, step=4, blend=2, keep=4)
    assert joined.tolist() == [[0, 0, 0, 0, 0, 2]]  # none of the second, then half
