"""The model that ships with vgen does what a newcomer is promised."""

import json
import os
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest

from videogen_cli.data.video import read_video
from videogen_cli.metrics.adherence import judge, parse_prompt

PROMPTS = ("a red circle moving right", "a blue square moving up")


def vgen(*arguments, cache):
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "videogen_cli.cli.main", *map(str, arguments)]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    prompts = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    done = vgen("infer", "t2v-turbo", *prompts, "--save-latents", "--json", "--output-dir", folder, cache=folder)
    return folder, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_each_prompt_becomes_the_video_it_asks_for(videos):
    folder, records, stderr = videos
    assert "tiny" in stderr.splitlines()[0], "the first line says which model was chosen"
    assert [record["prompt"] for record in records] == list(PROMPTS)
    for record in records:
        clip = read_video(folder / record["file"])
        assert clip.frames.shape == (record["frames"], record["height"], record["width"], 3)
        wanted = parse_prompt(record["prompt"])
        assert judge(clip.frames).reasons(wanted) == []


def test_results_are_listed_beside_the_videos(videos):
    folder, records, _ = videos
    listed = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert listed == records
    keys = {"file", "prompt", "seed", "frames", "fps", "height", "width", "steps", "seconds", "config_hash", "weights"}
    assert keys <= set(records[0])


def test_saved_latents_decode_to_the_same_video(videos, tmp_path):
    folder, records, _ = videos
    vgen("infer", "t2v-turbo", "--from-latents", folder, "--format", "npy", "--output-dir", tmp_path, cache=folder)
    again = np.load((tmp_path / records[0]["file"]).with_suffix(".npy"))
    first = read_video(folder / records[0]["file"]).frames
    assert np.abs(again.astype(int) - first.astype(int)).mean() < 4, "the mp4 is a lossy copy"


def test_every_network_is_compiled_once(videos):
    folder, _, _ = videos
    compiled = [json.loads(ZipFile(path).read("graphs.json")) for path in folder.rglob("graphs/*.zip")]
    assert max(map(len, compiled)) == 3, "text tower, UNet, decoder"
