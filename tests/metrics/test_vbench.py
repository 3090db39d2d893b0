"""Folders for VBench: read back by the rules of its own loader."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from videogen_cli.data.generated import Candidate
from videogen_cli.data.video import read_video, write_video
from videogen_cli.errors import DataError, UsageError
from videogen_cli.metrics.vbench import NAME_BYTES, export, file_names, fits

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def prompt_of(name):
    """Return what VBench takes for the prompt of a file (vbench/utils.py, get_prompt_from_filename)."""
    return re.sub(r"-\d+$", "", Path(name).stem)


@pytest.fixture
def videos(tmp_path):
    def make(*prompts, format="mp4"):
        return [
            Candidate(write_video(tmp_path / "in" / f"{i}.{format}", np.roll(FRAMES, i, 1), 8), prompt)
            for i, prompt in enumerate(prompts)
        ]

    return make


def test_names_are_prompts_and_counts(videos, tmp_path):
    given = videos("a cat.", "a dog-7", "a cat.", "A 3D model of a 1800s house.", "a cat.")
    assert export(given, tmp_path / "out") is None
    names = ["a cat.-0.mp4", "a dog-7-0.mp4", "a cat.-1.mp4", "A 3D model of a 1800s house.-0.mp4", "a cat.-2.mp4"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    for video, name in zip(given, names, strict=True):
        assert prompt_of(name) == video.prompt
        assert (tmp_path / "out" / name).read_bytes() == video.file.read_bytes()


@pytest.mark.parametrize("format", ["npy", "gif", "png"])
def test_other_formats_are_encoded(videos, tmp_path, format):
    (given,) = videos("a cat" + "t" * 240, format=format)
    given = Candidate(given.file, given.prompt, frames=4, fps=4)
    export([given], tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    clip = read_video(written)
    assert written.suffix == ".mp4" and clip.fps == 4 and clip.frames.shape == FRAMES.shape
    assert prompt_of(written) == given.prompt


def test_prompts_that_are_no_names_go_into_a_file_for_all(videos, tmp_path):
    prompts = ["a/b", "a cat", "x" * 10_000, "two\nlines", "", "a/b", "prompt 0"]
    listing = export(videos(*prompts), tmp_path / "out")
    assert listing == tmp_path / "out.prompts.json"
    found = json.loads(listing.read_text())
    assert sorted(found) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert sorted(found.values()) == sorted(prompts)
    assert found["a cat-0.mp4"] == "a cat" and found["prompt 0-0.mp4"] == "prompt 0"


def test_no_two_names_are_alike():
    prompts = ["a/", "prompt 0", "_prompt 0", "a/", "a", "a-0", "a", "a/"]
    names = file_names(prompts)
    assert len(set(names)) == len(prompts)
    assert names[0] == "__prompt 0-0.mp4" and names[7] == "__prompt 0-2.mp4"


def test_the_longest_name_that_fits():
    room = NAME_BYTES - len("-0000.mp4")
    assert fits("x" * room) and not fits("x" * (room + 1)) and not fits("é" * (room // 2 + 1))


def test_what_is_there_stays(videos, tmp_path):
    (tmp_path / "out").mkdir()
    export(videos("a"), tmp_path / "out")
    with pytest.raises(UsageError, match="is there already"):
        export(videos("b"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-0.mp4"]


def test_a_failure_leaves_nothing(videos, tmp_path):
    given = videos("a", "b", format="npy")
    given[1].file.write_bytes(b"broken")
    with pytest.raises(DataError):
        export(given, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
