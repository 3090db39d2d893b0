import json
import subprocess
import sys

import pytest

FULL_UNET = 1_413_366_340  # VideoCrafter2's UNet with the embedding of the guidance scale


def test_a_dry_run_plans_the_full_model_in_seconds_without_weights(vgen):
    done = vgen("infer", "t2v-turbo", "--preset", "vc2", "--prompt", "a cat", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert planned["model"] == "t2v-turbo" and planned["verb"] == "infer" and planned["preset"] == "vc2"
    assert planned["estimate"]["params_by_component"]["unet"] == FULL_UNET
    assert planned["config"]["sample"]["height"] == 320
    assert planned["device"]["target"] == "cpu" and planned["device"]["env"]
    assert planned["parallel"] == {"processes": 1, "zero_stage": 0, "sequence_parallel": 1}


def test_later_layers_win(vgen, tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 1\nsample: {fps: 1, num_frames: 4, guidance_scale: 1.0}\n")
    command = ("infer", "t2v-turbo", "--preset", "tiny", "-c", "mine.yaml", "sample.fps=2", "sample.num_frames=5")
    done = vgen(*command, "--num-frames", "6", "--prompt", "x", "--dry-run", "--json")
    config = json.loads(done.stdout)["config"]
    sample = config["sample"]
    assert (config["seed"], sample["guidance_scale"], sample["fps"], sample["num_frames"]) == (1, 1.0, 2, 6)


def test_the_default_preset_is_named_first(vgen):
    done = vgen("infer", "t2v-turbo", "--prompt", "x", "--dry-run")
    assert done.stderr.splitlines()[0].startswith("no preset named and no NPU here: using 'tiny'")
    assert "preset" in done.stdout and "tiny" in done.stdout


def test_training_keeps_weights_gradients_and_moments(vgen):
    done = vgen("train", "t2v-turbo", "--stage", "vae", "--preset", "tiny", "--dry-run", "--json")
    estimate = json.loads(done.stdout)["estimate"]
    assert list(estimate["params_by_component"]) == ["vae"]
    assert estimate["memory_bytes"] >= 4 * 4 * estimate["trained_params"]


def test_half_precision_narrows_what_is_sampled_with_and_not_the_masters_of_training(vgen):
    half = ("--preset", "vc2", "--dry-run", "--json", "device.target=ascend", "device.dtype=fp16")
    sampling, training = (
        json.loads(vgen(*words, *half).stdout)["estimate"]
        for words in (("infer", "t2v-turbo", "--prompt", "x"), ("train", "t2v-turbo", "--stage", "distill"))
    )
    assert sampling["weights_bytes"] == 2 * sampling["params"]
    assert training["weights_bytes"] == 4 * training["params"]


@pytest.mark.parametrize("verb", ["infer --prompt x --dry-run", "train --stage vae --dry-run", "show", "ls"])
def test_planning_never_imports_mindspore(verb):
    name, *rest = verb.split()
    arguments = [name, *(["t2v-turbo", "--preset", "tiny"] if name != "ls" else []), *rest]
    code = (
        "import sys; from videogen_cli.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit as end: sys.exit(end.code or int('mindspore' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_show_prints_is_a_config_file(vgen, tmp_path):
    shown = vgen("show", "t2v-turbo", "--preset", "tiny")
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    again = vgen("show", "t2v-turbo", "-c", "mine.yaml", "--json")
    first = vgen("show", "t2v-turbo", "--preset", "tiny", "--json")
    assert json.loads(again.stdout)["config"] == json.loads(first.stdout)["config"]
