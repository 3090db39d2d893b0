"""Means with intervals, differences of pairs, the order of videos, and names of runs."""

import numpy as np
import pytest

from videogen_cli.metrics.comparison import Run, Video, differences, keyed, names_of, overall, summary
from videogen_cli.metrics.intervals import mean_interval
from videogen_cli.metrics.video_quality import Measure

UP, DOWN, NEITHER = Measure("up", "", ""), Measure("down", "", "", better=-1), Measure("neither", "", "", better=0)
SHARE = Measure("share", "", "", share=True)


def test_the_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert mean_interval(values) == (low, high)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = [low <= 1 <= high for low, high in (mean_interval(draw.exponential(1, 60), n) for n in range(200))]
    assert 0.88 <= np.mean(held) <= 0.98


def test_too_few_values_have_no_interval():
    assert mean_interval(np.array([1.0])) is None
    assert mean_interval(np.array([2.0, 2.0])) == (2, 2)


def test_many_values_are_resampled_in_bounded_memory():
    low, high = mean_interval(np.arange(9000.0))  # more than one draw of a chunk
    assert low < 4499.5 < high


def test_summary():
    found = summary([{"up": 1.0, "share": 1.0}, {"up": 3.0, "share": 0.0}, {"share": 1.0}], (UP, DOWN, SHARE))
    assert found.keys() == {"up", "share"}
    assert found["up"]["mean"] == 2 and found["up"]["videos"] == 2
    assert found["share"]["mean"] == pytest.approx(2 / 3)
    assert found["share"]["interval"] == pytest.approx([0.2077, 0.9385], abs=1e-3)  # Wilson's, 2 of 3


def runs():
    draw = np.random.default_rng(0)
    spread = draw.normal(0, 5, 40)
    first = [Video(f"{i}.mp4", f"p{i % 8}", i, scores={"up": spread[i]}) for i in range(40)]
    second = [
        Video(f"{i}.mp4", f"p{i % 8}", i, scores={"up": spread[i] + 0.5 + 0.1 * draw.normal()}) for i in range(40)
    ]
    return Run("a", "a", first), Run("b", "b", second)


def test_pairs_show_what_the_spread_hides():
    first, second = runs()
    means = [summary([v.scores for v in run.videos], (UP,))["up"] for run in (first, second)]
    assert means[0]["interval"][1] > means[1]["interval"][0]  # the runs alone cannot be told apart
    found = differences(second, first, (UP, DOWN))
    assert (found["run"], found["against"], found["pairs"]) == ("b", "a", 40) and found["scores"].keys() == {"up"}
    figure = found["scores"]["up"]
    assert figure["mean"] == pytest.approx(0.5, abs=0.05) and figure["clear"]
    assert 0 < figure["interval"][0] < figure["mean"] < figure["interval"][1]
    assert not differences(first, first, (UP,))["scores"]["up"]["clear"]


def test_pairs_are_of_one_prompt_and_one_seed_in_any_order():
    first, second = runs()
    expected = differences(second, first, (UP,))["scores"]["up"]["mean"]
    second.videos.reverse()
    del second.videos[:10]
    second.videos.append(Video("x", "p1", 999, scores={"up": 1e9}))
    found = differences(second, first, (UP,))
    assert found["pairs"] == 30 and found["scores"]["up"]["mean"] == pytest.approx(expected, abs=0.05)


def test_videos_without_seeds_pair_by_how_often_their_prompt_came():
    videos = [Video("a", "p"), Video("b", "p"), Video("c", "q"), Video("d", "p", 3)]
    assert list(keyed(videos)) == [("p", None, 0), ("p", None, 1), ("q", None, 0), ("p", 3, 0)]


def test_no_pairs_no_differences():
    found = differences(Run("b", "b", [Video("a", "q", 1, scores={"up": 1.0})]), runs()[0], (UP,))
    assert found["pairs"] == 0 and found["scores"] == {}


def test_the_order_goes_from_worst_to_best():
    videos = [
        Video(str(i), "", scores={"up": u, "down": d, "neither": n})
        for i, (u, d, n) in enumerate([(1, 3, 9), (2, 2, 5), (3, 1, 1)])
    ]
    assert overall(videos, (UP, DOWN, NEITHER)) == [0.5, 0.75, 1.0]
    videos[2].verdict = {"correct": False, "held_out": False, "reasons": ["x"]}
    videos[1].scores["constant"] = 1.0
    videos.append(Video("lost", "", error="is empty"))
    assert overall(videos, (UP, DOWN, NEITHER)) == [0.5, 0.25, 0.5, 0.0]


def test_ties_share_their_place():
    videos = [Video(str(i), "", scores={"up": float(u)}) for i, u in enumerate((1, 1, 1, 2))]
    assert overall(videos, (UP,)) == pytest.approx([0.5 + 1 / 6] * 3 + [1.0])
    assert overall([videos[0]], (UP,)) == [0.5]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/a/b/t4", "/a/b/t50"], ["t4", "t50"]),
        (["/a/x/out", "/a/y/out"], ["x/out", "y/out"]),
        (["/a/out", "/a/out"], ["out #1", "out #2"]),
        (["/a/out", "/b/out", "/b/out"], ["a/out", "b/out #1", "b/out #2"]),
        (["/"], ["/"]),
        (["out", "/x/out"], ["out", "x/out"]),
    ],
)
def test_runs_are_named_by_what_tells_them_apart(folders, names):
    assert names_of(folders) == names
