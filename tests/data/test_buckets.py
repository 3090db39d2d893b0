"""Sizes by aspect ratio, and which clips go together."""

from __future__ import annotations

import pytest

from videogen_cli.data import buckets
from videogen_cli.errors import UsageError


def test_sizes_have_the_resolutions_pixels_in_multiples_of_16():
    for side in (256, 512, 768):
        table = buckets.sizes(f"{side}px")
        assert len(table) == 13
        for ratio, (height, width) in table.items():
            across, down = map(int, ratio.split(":"))
            assert height % 16 == width % 16 == 0
            assert table[f"{down}:{across}"] == (width, height)
            assert 0.8 * side**2 < height * width <= side**2
    assert buckets.target_size("768px", 1080, 1920) == (576, 1024)
    assert buckets.target_size("256px", 1000, 100) == (384, 160)


def test_resolutions_are_named_by_their_side():
    with pytest.raises(UsageError, match="'0px' is not a resolution"):
        buckets.sizes("0px")


def test_a_clip_goes_to_the_longest_bucket_it_fills():
    grouped = buckets.Buckets({1: 4, 8: 2, 32: 1})
    assert grouped.bucket(20, 32, 57) == (8, "16:9")
    assert grouped.bucket(32, 57, 32) == (32, "9:16")
    assert grouped.batch_size(grouped.bucket(1, 32, 32)) == 4
    with pytest.raises(UsageError, match="shorter than all of"):
        buckets.Buckets({8: 1}).bucket(7, 32, 32)
