import numpy as np
import pytest

from videogen_cli.data import masks

KINDS = [masks.irregular_mask, masks.rectangle_mask, masks.half_mask]


@pytest.mark.parametrize("draw", KINDS)
def test_masks_follow_their_seed(draw):
    first, again, other = (draw(np.random.RandomState(seed)) for seed in (3, 3, 8))
    assert first.shape == (512, 512)
    assert set(np.unique(first)) == {0, 1}
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_boxes_keep_off_the_edges():
    for seed in range(20):
        mask = masks.rectangle_mask(np.random.RandomState(seed), 300, 200)
        assert mask.shape == (200, 300)
        assert not mask[:10].any() and not mask[-9:].any() and not mask[:, :10].any() and not mask[:, -9:].any()


def test_halves_are_all_four():
    found = {masks.half_mask(np.random.RandomState(seed), 4, 6).tobytes() for seed in range(30)}
    assert len(found) == 4
    assert all(np.frombuffer(mask, np.float32).mean() == 0.5 for mask in found)


def test_kinds_come_in_their_shares(monkeypatch):
    drawn = []
    shares = [(below, lambda rng, kind=kind: drawn.append(kind) or np.zeros((2, 2))) for kind, (below, _) in
              enumerate(masks._SHARES)]  # fmt: skip
    monkeypatch.setattr(masks, "_SHARES", shares)
    rng = np.random.RandomState(0)
    for _ in range(2000):
        assert masks.random_mask(rng, 3).shape == (3, 3)
    np.testing.assert_allclose(np.bincount(drawn) / 2000, [0.7, 0.2, 0.1], atol=0.03)


def test_nearest_takes_the_pixel_before():
    np.testing.assert_array_equal(masks.resize_nearest(np.arange(25).reshape(5, 5), 3)[0], [0, 1, 3])


def test_holes_are_grey_and_marked():
    frames, holes = np.full((1, 2, 3, 2, 2), 0.75), np.zeros((1, 2, 1, 2, 2))
    holes[..., 0, 0] = 1
    condition = masks.masked_frames(frames, holes)
    assert condition.shape == (1, 4, 2, 2, 2)
    np.testing.assert_array_equal(condition[0, :, 0, 0, 0], [0, 0, 0, 0])
    np.testing.assert_array_equal(condition[0, :, 1, 0, 1], [0.5, 0.5, 0.5, 1])
