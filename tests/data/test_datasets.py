import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from videogen_cli.config import DataConfig
from videogen_cli.data import moving_shapes, video
from videogen_cli.data.datasets import ClipDataset, fit
from videogen_cli.data.tables import find_csv, read_rows
from videogen_cli.errors import DataError


def numbered_clip(count=12, size=(48, 64), offset=0):
    """Frames whose grey level is their number times 10."""
    return np.stack([np.full((*size, 3), offset + 10 * number, np.uint8) for number in range(count)])


@pytest.fixture
def table(tmp_path):
    """A data set of five good clips."""
    folder = tmp_path / "set"
    rows = [("video", "caption")]
    for index in range(5):
        video.write_video(folder / "clips" / f"{index}.mp4", numbered_clip(12 + index))
        rows.append((f"clips/{index}" + (".mp4" if index % 2 else ""), f"clip, number {index}"))
    with open(folder / "set.csv", "w", newline="", encoding="utf-8-sig") as handle:
        csv.writer(handle, quoting=csv.QUOTE_ALL).writerows(rows)
    return folder / "set.csv"


def config(path, **changes):
    base = DataConfig(path=str(path), num_clips=0, num_frames=4, height=48, width=64, frame_stride=2)
    return replace(base, **changes)


def add(table, *lines):
    with open(table, "a", encoding="utf-8") as handle:
        handle.writelines(line + "\n" for line in lines)


def test_samples_are_what_their_rows_say(table):
    clips = ClipDataset(config(table), seed=0)
    assert len(clips) == 5 and clips.bad == []
    sample = clips.item(3, 0)
    assert sample.caption == clips.caption(3) == "clip, number 3" and sample.index == 3
    assert sample.frames.shape == (4, 3, 48, 64) and sample.frames.dtype == np.float32
    levels = (sample.frames[:, 0, 24, 32] + 1) * 127.5
    assert np.diff(levels) == pytest.approx([20, 20, 20], abs=2.5)


def test_workers_and_memory_change_nothing(table):
    keys = [(index, epoch) for epoch in range(3) for index in range(5)]
    plain = ClipDataset(config(table), seed=1, cache_mb=0)
    cached = ClipDataset(config(table, workers=4), seed=1)
    for index, epoch in keys:
        assert np.array_equal(plain.item(index, epoch).frames, cached.item(index, epoch).frames)
    together = cached.items([4, 0, 2, 2], 7)
    assert [sample.index for sample in together] == [4, 0, 2, 2]
    for sample in together:
        assert np.array_equal(sample.frames, plain.item(sample.index, 7).frames)


def test_starts_vary_with_the_epoch_and_the_seed(table):
    clips, others = ClipDataset(config(table), seed=0), ClipDataset(config(table), seed=1)
    starts = {float(clips.item(4, epoch).frames[0, 0, 0, 0]) for epoch in range(20)}
    assert len(starts) > 3
    assert any(not np.array_equal(clips.item(4, e).frames, others.item(4, e).frames) for e in range(5))


def test_bad_rows_are_listed_with_reasons_and_leave_the_others_alone(table):
    (table.parent / "page.mp4").write_text("<html>not found</html>")
    video.write_video(table.parent / "short.mp4", numbered_clip(3))
    add(table, "clips/none,a caption", "clips/1.mp4,", ",words", "page.mp4,words", "short.mp4,words")
    listing = table.parent / "bad" / "quarantine.jsonl"
    clips = ClipDataset(config(table, max_bad_fraction=0.5), seed=0, quarantine=listing)
    assert len(clips) == 5
    reasons = {row.line: row.reason for row in clips.bad}
    assert reasons.keys() == {7, 8, 9, 10, 11}
    expected = ["no such file", "no caption", "no video", "web page", "has 3 frames, 7 are needed"]
    for line, words in zip(range(7, 12), expected, strict=True):
        assert words in reasons[line]
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert {line["line"]: line["reason"] for line in lines} == reasons


def test_too_many_bad_rows_stop_the_run(table):
    add(table, "clips/none,a caption")
    with pytest.raises(DataError, match=r"1 of 6 rows cannot be used, 5% are allowed \(line 7: no such file") as caught:
        ClipDataset(config(table), seed=0)
    assert caught.value.code == 3


def test_a_file_is_checked_again_when_it_changes(table, monkeypatch):
    calls = []
    real = video.check_video
    monkeypatch.setattr("videogen_cli.data.verdicts.check_video", lambda path, **k: calls.append(path) or real(path))
    ClipDataset(config(table), seed=0)
    ClipDataset(config(table), seed=0)
    assert len(calls) == 5
    (table.parent / "clips" / "2.mp4").write_bytes(b"")
    assert [row.reason for row in ClipDataset(config(table, max_bad_fraction=1.0), seed=0).bad] == [
        "is empty (zero bytes)"
    ]
    assert len(calls) == 6


def test_a_clip_that_breaks_during_the_run_is_an_error_not_another_clip(table):
    clips = ClipDataset(config(table), seed=0)
    (table.parent / "clips" / "2.mp4").unlink()
    with pytest.raises(DataError, match="no such file"):
        clips.item(2, 0)


def test_num_clips_and_root(table, tmp_path):
    moved = tmp_path / "elsewhere" / "moved.csv"
    moved.parent.mkdir()
    moved.write_bytes(table.read_bytes())
    clips = ClipDataset(config(moved, root=str(table.parent), num_clips=2), seed=0)
    assert [clips.caption(index) for index in range(len(clips))] == ["clip, number 0", "clip, number 1"]


def test_fingerprint_follows_what_is_read(table):
    before = ClipDataset(config(table), seed=0).fingerprint()
    assert before == ClipDataset(config(table), seed=0).fingerprint()
    assert before != ClipDataset(config(table, num_frames=3), seed=0).fingerprint()
    video.write_video(table.parent / "clips" / "0.mp4", numbered_clip(12, offset=9))
    assert before != ClipDataset(config(table), seed=0).fingerprint()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"vidoe,caption\na,b\n", "no column 'video'"),
        (b"video;caption\na;b\n", "no column 'video'"),
        (b"video,caption\n", "has no rows"),
        (b"", "no column 'video'"),
        (b"video,caption\n\xff\xfe,b\n", "not UTF-8"),
        (b'video,caption\n"' + b"x" * 200_000 + b'",b\n', "no CSV table"),
    ],
)
def test_tables_that_are_none(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_rows(tmp_path / "a.csv")


def test_the_table_of_a_folder(tmp_path):
    for count, words in enumerate(["no CSV", None, "2 CSV files"]):
        if words:
            with pytest.raises(DataError, match=words):
                find_csv(tmp_path)
        else:
            assert find_csv(tmp_path).name == "0.csv"
        (tmp_path / f"{count}.csv").touch()
    with pytest.raises(DataError, match="no such data set"):
        find_csv(tmp_path / "none")


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (20, 200), (33, 31)])
def test_fit_covers_the_frame_and_keeps_the_centre(size):
    frames = np.zeros((2, *size, 3), np.uint8)
    frames[:, size[0] // 2 - 4 : size[0] // 2 + 4, size[1] // 2 - 4 : size[1] // 2 + 4] = 255
    fitted = fit(frames, 32, 48)
    assert fitted.shape == (2, 32, 48, 3)
    ys, xs = np.nonzero(fitted[0, :, :, 0] > 128)
    assert ys.mean() == pytest.approx(15.5, abs=1.5) and xs.mean() == pytest.approx(23.5, abs=1.5)


def test_moving_shapes_when_no_path_is_given(cache_folder):
    clips = ClipDataset(DataConfig(num_clips=10, num_frames=4, height=64, width=64), seed=3)
    assert len(clips) == 10 and clips.caption(9) == moving_shapes.clip(3, 9).caption
    assert clips.item(0, 0).frames.max() > 0.99 and clips.item(0, 0).frames.min() == -1
    assert list(cache_folder.rglob("captions.csv"))
