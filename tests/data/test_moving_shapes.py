import json
import re
import threading
from itertools import product

import numpy as np
import pytest

from videogen_cli.data import moving_shapes as world
from videogen_cli.data.tables import read_rows
from videogen_cli.data.video import read_video
from videogen_cli.errors import UsageError


def test_the_held_out_rule_by_hand():
    colours, shapes, directions = list(world.COLOURS), list(world.SHAPES), list(world.DIRECTIONS)
    assert colours == ["red", "green", "blue", "yellow", "magenta", "cyan", "white"]
    assert shapes == ["circle", "square", "triangle"] and directions == ["left", "right", "up", "down"]
    expected = [
        world.Combination(colours[c], shapes[s], directions[d])
        for c, s, d in product(range(7), range(3), range(4))
        if (c + 2 * s + 3 * d) % 7 == 0
    ]
    assert expected == world.HELD_OUT and len(world.HELD_OUT) == 12 and len(world.TRAINED) == 72
    assert world.Combination("red", "circle", "left") in world.HELD_OUT
    assert not set(world.TRAINED) & set(world.HELD_OUT)


@pytest.mark.parametrize("held_out", [False, True])
def test_clips_are_what_the_design_says(held_out):
    seen = set()
    for index in range(144):
        clip = world.clip(5, index, held_out=held_out)
        seen.add(clip.combination)
        assert clip.frames.shape == (8, 64, 64, 3) and clip.combination.held_out == held_out
        lit = clip.frames.max(axis=-1)
        assert lit.max() == 255
        pure = clip.frames[lit == 255]
        assert np.array_equal(np.unique(pure, axis=0), [world.COLOURS[clip.combination.colour]])
        assert not lit[:, [0, -1]].any() and not lit[:, :, [0, -1]].any()  # wholly visible
        areas = lit.sum(axis=(1, 2)) / 255
        assert areas.std() < 0.02 * areas.mean()
        centres = np.array([(lit[f].sum(0) @ np.arange(64), lit[f].sum(1) @ np.arange(64)) for f in range(8)])
        centres /= lit.sum(axis=(1, 2))[:, None]
        way = centres[-1] - centres[0]
        along = way @ world.DIRECTIONS[clip.combination.direction]
        assert along >= 0.4 * 64 and abs(np.abs(way).sum() - along) < 0.1
        assert np.abs(np.diff(centres, axis=0) - way / 7).max() < 0.15  # straight, at constant speed
        width = (lit[0].max(axis=0) > 127).sum()
        assert 15 <= width <= 25
    assert seen == set(world.HELD_OUT if held_out else world.TRAINED)


def test_clips_depend_on_seed_and_index_only():
    first = world.clip(1, 9)
    assert np.array_equal(first.frames, world.clip(1, 9).frames) and first.caption == world.clip(1, 9).caption
    assert not np.array_equal(first.frames, world.clip(2, 9).frames)
    assert not np.array_equal(first.frames, world.clip(1, 9 + 72).frames)
    long = world.clip(1, 9, num_frames=16, size=128).frames
    assert long.shape == (16, 128, 128, 3)
    assert np.abs(long[0, ::2, ::2].astype(int) - first.frames[0]).mean() < 2


def test_prompts():
    shown = world.Combination("cyan", "triangle", "up")
    assert world.prompt(shown) == "a cyan triangle moving up"
    for paraphrase in range(len(world.PARAPHRASES)):
        assert {"cyan", "triangle", "up"} <= set(re.findall(r"\w+", world.prompt(shown, paraphrase)))
    assert len({world.clip(0, 72 * i).caption for i in range(100)}) == len(world.PARAPHRASES)


def test_files_hold_the_clips_with_their_colours(tmp_path):
    path = world.write_dataset(tmp_path / "set", 0, 30)
    rows, bad = read_rows(path)
    assert len(rows) == 30 and bad == []
    for index, row in enumerate(rows):
        clip, decoded = world.clip(0, index), read_video(row.video)
        assert row.caption == clip.caption and decoded.fps == pytest.approx(8)
        difference = np.abs(decoded.frames.astype(int) - clip.frames)
        assert difference.max() < 64 and difference.mean() < 1.0
        full = clip.frames.max(axis=-1) == 255
        assert np.abs(decoded.frames[full].mean(0) - world.COLOURS[clip.combination.colour]).max() < 3


def test_an_interrupted_set_is_finished_and_a_complete_one_kept(tmp_path):
    class Stop(Exception):
        pass

    def stop(done):
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        world.write_dataset(tmp_path, 0, 40, progress=stop)
    assert not (tmp_path / "captions.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    assert 5 <= len(kept) < 40
    path = world.write_dataset(tmp_path, 0, 40)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    before = path.stat().st_mtime_ns
    assert world.write_dataset(tmp_path, 0, 40).stat().st_mtime_ns == before
    (tmp_path / "clips" / "000007.mp4").write_bytes(b"")
    world.write_dataset(tmp_path, 0, 40)
    assert read_video(tmp_path / "clips" / "000007.mp4").total == 8


def test_a_folder_with_another_set_is_not_touched(tmp_path):
    world.write_dataset(tmp_path, 0, 3)
    with pytest.raises(UsageError, match="other settings"):
        world.write_dataset(tmp_path, 1, 3)
    assert json.loads((tmp_path / "dataset.json").read_text())["seed"] == 0


def test_several_may_ask_for_the_same_set(cache_folder):
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(world.ensure_dataset(20, 2, 0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1 and len(read_rows(paths[0])[0]) == 20
