"""``vgen infer`` on a student from published files: prompts, seeds, batches, records, and latents kept for later."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vgen_process import run_vgen

from tests.conftest import find_golden, read_golden
from tests.models.t2v_turbo.worlds import World
from videogen_cli.errors import DataError
from videogen_cli.output import Output
from videogen_cli.registry import resolve_config, spec
from videogen_cli.runners import infer

PROMPTS = "id,prompt,note\nfirst,a red circle,x\n,a blue square,y\n"
KEYS = {"file", "prompt", "seed", "frames", "fps", "height", "width", "steps", "seconds", "config_hash", "weights"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World("vc2", tmp_path_factory.mktemp("vc2"), find_golden, read_golden)


def command(world, *arguments):
    done = run_vgen("infer", "t2v-turbo", "--preset", "vc2", "-c", str(world.config_file), *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def made(world):
    (world.folder / "prompts.csv").write_text(PROMPTS)
    options = ("--num-videos", "2", "--seed", "5", "--save-latents", "--format", "npy", "sample.batch_size=3")
    prompts = ("--prompts-file", str(world.folder / "prompts.csv"))
    return command(world, *prompts, *options, "--output-dir", str(world.folder / "made"))


def test_each_prompt_gets_its_videos_each_with_its_own_seed(world, made):
    assert [record["file"] for record in made] == [
        "first-0.npy",
        "first-1.npy",
        "0001-a-blue-square-0.npy",
        "0001-a-blue-square-1.npy",
    ]
    assert [record["seed"] for record in made] == [5, 6, 7, 8]
    assert [record["prompt"] for record in made] == ["a red circle"] * 2 + ["a blue square"] * 2
    frames, height, width = (world.outputs["video"].shape[axis] for axis in (2, 3, 4))
    for record in made:
        assert set(record) >= KEYS and record["steps"] == 4 and record["fps"] == int(world.inputs["fps"])
        assert np.load(world.folder / "made" / record["file"]).shape == (frames, height, width, 3)
        assert {"unet", "vae", "text", "lora", "time_cond_proj"} == set(record["weights"])
    listed = (world.folder / "made" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == made


def test_a_video_is_that_of_its_seed_in_whatever_batch_it_was_made(world, made):
    again = command(
        world, "--prompt", "a blue square", "--seed", "8", "--save-latents", "--output-dir", f"{world.folder}/one"
    )
    one, first = (
        np.load(world.folder / "one" / again[0]["latents"]),
        np.load(world.folder / "made" / made[3]["latents"]),
    )
    assert np.allclose(one, first, **world.record["tolerance"])
    other = np.load(world.folder / "made" / made[2]["latents"])
    assert np.abs(one - other).max() > 0.1


def test_kept_latents_decode_to_the_same_frames_in_other_batches(world, made):
    folder, again = world.folder / "made", world.folder / "again"
    options = ("--format", "npy", "sample.decode_batch=2", "weights.unet=gone", "--output-dir", str(again))
    records = command(world, "--from-latents", str(folder), *options)
    assert [(record["file"], record["seed"]) for record in records] == [(r["file"], r["seed"]) for r in made]
    for record in records:
        first, second = (np.load(place / record["file"]).astype(int) for place in (folder, again))
        assert np.abs(first - second).max() <= 1
        assert set(record["weights"]) == {"vae"}, "nothing else is loaded, or missed"


@pytest.mark.parametrize("line", ["no json", "[1]", '{"latents": "a.npy"}', '{"latents": 1, "file": "a.mp4"}'])
def test_a_list_of_latents_that_cannot_be_read_is_named(tmp_path, line):
    (tmp_path / "results.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=r"results.jsonl, line 2: .*--save-latents"):
        infer._saved_latents(tmp_path)


def test_latents_of_another_model_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((8, 3, 8, 12), np.float32))
    with pytest.raises(DataError, match=r"\(8, 3, 8, 12\)"):
        infer._read_latents(tmp_path / "a.npy", (4, 3, 8, 12))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (12, 200, 90)])
def test_a_video_of_one_colour_is_warned_of_and_written(tmp_path, colour, capsys):
    config = resolve_config(spec("t2v-turbo"), preset="tiny").config
    frames = np.broadcast_to(np.array(colour, np.uint8), (2, 32, 32, 3))
    writer = infer.ResultWriter(tmp_path, config, {}, Output())
    writer.write(infer.Job("plain", "a red circle", 0), frames, 0.1)
    assert "the whole video has one colour" in capsys.readouterr().err
    half = np.concatenate([frames[:, :, :16], 255 - frames[:, :, 16:]], 2)
    writer.write(infer.Job("halves", "a red circle", 0), half, 0.1)
    assert "one colour" not in capsys.readouterr().err
    assert len(writer.records) == 2
