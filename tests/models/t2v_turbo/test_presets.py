"""Presets named as the originals' recipes have the originals' settings, row by row (shown by dry runs)."""

from __future__ import annotations

import json

import pytest
from vgen_process import run_vgen

from videogen_cli.config import get_dotted
from videogen_cli.errors import UsageError
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline, sampling_timesteps
from videogen_cli.registry import resolve_config, spec

# Ji4chenLi/t2v-turbo app.py, app_ms.py, predict.py, its pipelines' defaults; the MindSpore port's predict_t2v.py.
COMMON = {
    "sample.sampler": "lcm",
    "sample.guidance_scale": 7.5,
    "sample.num_frames": 16,
    "sample.fps": 8,
    "sample.batch_size": 1,
    "sample.num_videos": 1,
    "sample.negative_prompt": "",
    "unet.time_cond_proj_dim": 256,
    "diffusion.beta_schedule": "scaled_linear",
    "diffusion.beta_start": 0.00085,
    "diffusion.beta_end": 0.012,
    "diffusion.train_timesteps": 1000,
    "diffusion.prediction_type": "epsilon",
    "diffusion.latent_scale": 0.18215,
    "tokenizer": "openclip",
}
LARGE = {**COMMON, "sample.height": 320, "sample.width": 512, "unet.fps_condition": True}
V1 = {"sample.num_inference_steps": 4, "diffusion.origin_steps": 50, "unet.motion_cond_proj_dim": 0}
V2 = {**LARGE, "sample.num_inference_steps": 16, "diffusion.origin_steps": 200}
ORIGINALS = {
    "vc2": {**LARGE, **V1, "weights.lora": "hub:t2v-turbo/vc2-lora", "weights.unet": "hub:t2v-turbo/vc2"},
    "vc2-merged": {**LARGE, **V1, "weights.lora": None, "weights.unet": "hub:t2v-turbo/vc2-merged"},
    "ms": {
        **COMMON,
        **V1,
        "sample.height": 256,
        "sample.width": 256,
        "unet.fps_condition": False,
        "weights.lora": "hub:t2v-turbo/ms-lora",
        "weights.unet": "hub:t2v-turbo/ms",
    },
    "v2": {
        **V2,
        "unet.motion_cond_proj_dim": 256,
        "motion_guidance.scale": 0.05,
        "motion_guidance.share": 0.5,
        "weights.unet": "hub:t2v-turbo/v2",
    },
    "v2-no-mg": {**V2, "unet.motion_cond_proj_dim": 0, "weights.unet": "hub:t2v-turbo/v2-no-mg"},
}
SIZES = {"vc2": 1_413_366_340, "vc2-merged": 1_413_366_340, "ms": 1_411_315_780, "v2": 1_413_653_060}


def configured(preset, **overrides):
    return resolve_config(spec("t2v-turbo"), target="cpu", preset=preset, overrides=overrides).config


@pytest.mark.parametrize("preset", ORIGINALS)
def test_a_dry_run_shows_the_originals_settings(preset):
    done = run_vgen("infer", "t2v-turbo", "--preset", preset, "--prompt", "a cat", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    rows = {}
    for key in ORIGINALS[preset]:
        value = planned["config"]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        rows[key] = value
    assert rows == ORIGINALS[preset]
    if preset in SIZES:
        assert planned["estimate"]["params_by_component"]["unet"] == SIZES[preset]


@pytest.mark.parametrize("stage", ["distill", "1", "2", "all"])
def test_students_are_told_the_frame_rate_of_the_originals_training(stage):
    assert resolve_config(spec("t2v-turbo"), target="cpu", preset="vc2", stage=stage).config.sample.fps == 16


@pytest.mark.parametrize("preset", ["vc2", "ms"])
def test_one_to_sixteen_steps(preset):
    for steps in range(1, 17):
        chosen = sampling_timesteps(configured(preset, sample={"num_inference_steps": steps}))
        assert len(chosen) == steps and chosen[0] == 999 and chosen == sorted(set(chosen), reverse=True)
    assert sampling_timesteps(configured(preset)) == [999, 759, 519, 279]


def test_more_steps_than_the_student_knows_are_refused():
    with pytest.raises(UsageError, match=r"num_inference_steps: cannot sample in 51 steps\n.*use 1 to 50"):
        T2VTurboPipeline.check(configured("vc2", sample={"num_inference_steps": 51}))
    T2VTurboPipeline.check(configured("vc2", sample={"num_inference_steps": 51}, diffusion={"origin_steps": 200}))


@pytest.mark.parametrize(
    ("where", "value"), [("sample.decode_batch", -1), ("motion_guidance.share", 1.5), ("sample.height", 100)]
)
def test_settings_that_cannot_work_are_refused(where, value):
    section, key = where.split(".")
    with pytest.raises(UsageError) as caught:
        T2VTurboPipeline.check(configured("vc2", **{section: {key: value}}))
    assert caught.value.where == where and get_dotted(configured("vc2"), where) != value


def test_factors_are_shown_and_missed_like_any_weights(tmp_path):
    given = ("weights.lora=gone.pt", f"weights.time_cond_proj={tmp_path}")
    done = run_vgen("infer", "t2v-turbo", "--preset", "vc2", "--prompt", "a cat", *given, "--dry-run", "--json")
    assert json.loads(done.stdout)["files"]["missing"] == ["lora"]
    shown = json.loads(run_vgen("show", "t2v-turbo", "--preset", "vc2", "--json").stdout)
    assert set(shown["adapters"]) == {"lora"}
    text = run_vgen("show", "t2v-turbo", "--preset", "vc2").stdout
    assert "weights.lora, for the unet" in text and "weights.time_cond_proj" in text
