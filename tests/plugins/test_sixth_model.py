"""A model that vgen knows nothing of, found by its entry point, does everything that a built-in one does."""

import json
from pathlib import Path

import numpy as np
import pytest
from vgen_process import PLUGINS, run_vgen

RED = ("--prompt", "a red wall", "--format", "npy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train the plugin's one stage; return its checkpoint folder."""
    folder = tmp_path_factory.mktemp("flat-colour")
    done = run_vgen(
        "train", "flat-colour", "--stage", "paint", "--preset", "tiny", "--output-dir", str(folder), "--json"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["steps"] == 200 and summary["final_loss"] < 0.01
    return Path(summary["checkpoint"])


def test_the_plugin_is_short():
    assert len((PLUGINS / "flat_colour.py").read_text().splitlines()) < 150


def test_it_is_listed_beside_the_built_in_models():
    listed = [json.loads(line) for line in run_vgen("ls", "--json").stdout.splitlines()]
    models = {entry["model"]: entry for entry in listed}
    assert {"flat-colour", "t2v-turbo"} <= models.keys()
    assert models["flat-colour"]["presets"] == {"tiny": "one frame size, a colour a prompt"}
    assert models["flat-colour"]["stages"] == ["paint"]


def test_it_is_shown_with_the_source_of_every_value():
    done = run_vgen("show", "flat-colour", "--preset", "tiny", "--stage", "paint", "painter.hidden=3", "--json")
    shown = json.loads(done.stdout)
    assert shown["components"] == {"painter": 3 * 4 + 3 * 3}
    assert shown["sources"]["painter.hidden"] == "command line"
    assert shown["sources"]["sample.height"] == "preset tiny"
    assert shown["sources"]["train.max_steps"] == "preset tiny, stage paint"
    assert shown["sources"]["train.from_scratch"] == "stage paint"


def test_its_dry_run_needs_no_weights_and_checks_what_a_run_would():
    done = run_vgen("infer", "flat-colour", *RED, "--dry-run", "--json")
    planned = json.loads(done.stdout)
    assert planned["estimate"]["params"] == 56 and planned["files"]["missing"] == ["painter"]
    refused = run_vgen("infer", "flat-colour", *RED, "--width", "8", "--dry-run")
    assert refused.returncode == 2 and "square" in refused.stderr


def test_without_weights_it_says_so(tmp_path):
    done = run_vgen("infer", "flat-colour", *RED, "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 4 and "weights.painter" in done.stderr


def test_it_is_trained_and_makes_videos_of_what_it_learned(trained, tmp_path):
    weights = f"weights.painter={trained / 'painter.safetensors'}"
    done = run_vgen("infer", "flat-colour", *RED, weights, "--output-dir", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    frames = np.load(tmp_path / record["file"])
    assert frames.shape == (2, 16, 16, 3)
    assert abs(frames.reshape(-1, 3).mean(0) - [255, 0, 0]).max() < 26
