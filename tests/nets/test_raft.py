import numpy as np
import pytest
from networks import run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.raft import RAFTParams
from videogen_cli.nets.raft import RAFT
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.module import build, initialise

SMALL = {
    "feature_widths": [8, 8, 8, 12, 6],
    "context_widths": [8, 8, 8, 12, 10],
    "correlation_levels": 2,
    "correlation_radius": 1,
    "flow_convs": [6, 4],
    "motion_channels": 8,
    "hidden_channels": 6,
    "flow_head_channels": 8,
    "updates": 2,
}


def network(**changes):
    cell = build(RAFT, RAFTParams(**{**SMALL, **changes}))
    initialise(cell, seed=0)
    return cell


class VideoFlow(Cell):
    """The flow of a video as a graph of its own."""

    def __init__(self, raft):
        super().__init__()
        self.raft = raft

    def construct(self, frames):
        return self.raft.video_flow(frames)


def sample(volume, x, y):
    """Interpolate ``volume`` (h w) at one point; zero outside."""
    left, top = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < volume.shape[0] and 0 <= column < volume.shape[1]:
                total += volume[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total


def test_correlations_interpolate_a_window_with_x_slowest(pynative):
    draws = np.random.default_rng(0)
    n, h, w, radius = 2, 3, 4, 1
    levels = [draws.standard_normal((n * h * w, *size)).astype(np.float32) for size in ((6, 5), (3, 2))]
    place = draws.uniform(-1, 5, (n, 2, h, w)).astype(np.float32)
    cell = network(correlation_radius=radius)
    found = run(lambda a, b, p: cell.correlations((a, b), p), *levels, place)
    assert found.shape == (n, 18, h, w)
    for b, row, column in [(0, 0, 0), (1, 2, 3), (0, 1, 2)]:
        query = (b * h + row) * w + column
        expected = [
            sample(volume[query], place[b, 0, row, column] / 2**level + i, place[b, 1, row, column] / 2**level + j)
            for level, volume in enumerate(levels)
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        np.testing.assert_allclose(found[b, :, row, column], expected, rtol=0, atol=1e-5)


def test_a_video_is_its_pairs(mode):
    cell = network(updates=1) if mode == "graph" else network(correlation_convs=[8, 6], recurrent_kernels=[3, 5])
    frames = np.random.default_rng(1).uniform(-1, 1, (2, 3, 3, 32, 40)).astype(np.float32)
    flow = run(VideoFlow(cell), frames)
    assert flow.shape == (2, 2, 2, 32, 40)
    if mode == "pynative":
        pair = run(cell, frames[:, 1], frames[:, 2])
        np.testing.assert_allclose(flow[:, 1], pair, rtol=0, atol=1e-4)
        assert np.abs(pair).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"feature_widths": [8, 8, 8, 12]}, "feature_widths"),
        ({"context_widths": [8, 12, 8, 12, 10]}, "context_widths"),
        ({"correlation_convs": []}, "correlation_convs"),
        ({"recurrent_kernels": [2]}, "recurrent_kernels"),
        ({"motion_channels": 2}, "motion_channels"),
        ({"hidden_channels": 10}, "context_widths"),
        ({"updates": 0}, "updates"),
    ],
)
def test_sizes_of_no_network_are_refused(changes, where):
    with pytest.raises(UsageError) as error:
        RAFTParams(**{**SMALL, **changes}).check()
    assert error.value.where == f"raft.{where}"
