"""The originals' tables of recipes, row by row, as a dry run shows them."""

import pytest

from videogen_cli.output import Output
from videogen_cli.runners.plan import describe, make_plan
from videogen_cli.runners.requests import TrainRequest

# preset, stage: frames, accumulation, scales of the image and the video reward
ROWS = {
    ("vc2", "1"): (8, 16, 1.0, 0.0),
    ("vc2", "2"): (8, 16, 0.0, 2.0),
    ("vc2", "all"): (16, 8, 1.0, 2.0),
    ("ms", "all"): (16, 8, 2.0, 3.0),
}
FACTORS = {"vc2": 117_142_176, "ms": 58_497_696}  # of the published unet_lora.pt


def dry_run(preset, stage, *overrides):
    request = TrainRequest(model="t2v-turbo", preset=preset, stage=stage, overrides=list(overrides), dry_run=True)
    return describe(make_plan(request, Output()), request, "train")


@pytest.mark.parametrize(("preset", "stage"), ROWS)
def test_row(preset, stage):
    frames, accumulation, image, video = ROWS[preset, stage]
    shown = dry_run(preset, stage)
    config, estimate = shown["config"], shown["estimate"]
    train, distill = config["train"], config["distill"]
    assert (config["data"]["num_frames"], train["accumulation"]) == (frames, accumulation)
    assert (distill["image_reward_scale"], distill["video_reward_scale"]) == (image, video)
    assert (train["learning_rate"], train["schedule"], train["clip_norm"]) == (1e-5, "constant", 1.0)
    assert (train["warmup_steps"], train["warmup_from_zero"], train["max_steps"]) == (500, True, 10_000)
    assert (train["batch_size"], train["beta1"], train["beta2"], train["epsilon"]) == (1, 0.9, 0.999, 1e-8)
    assert (distill["loss"], distill["huber_c"], distill["w_min"], distill["w_max"]) == ("huber", 0.001, 5.0, 15.0)
    assert (distill["solver_steps"], distill["topk"], distill["timestep_scaling"]) == (50, 20, 10.0)
    assert (distill["image_reward_frames"], distill["vae_encode_batch"]) == (5, 8)
    assert (config["lora"]["rank"], config["lora"]["alpha"]) == ({"vc2": 64, "ms": 32}[preset], 1.0)
    assert (config["lora"]["dropout"], distill["dropout"]) == (0.1, 0.1) and not config["lora"]["zero_projection"]
    assert config["data"]["drop_caption"] == 0 and config["weights"]["lora"] == ""
    assert estimate["trained_params"] == FACTORS[preset]
    rewards = {name for name, scale in (("image_reward", image), ("video_reward", video)) if scale}
    assert set(estimate["params_by_component"]) == {"unet", "text", "vae", *rewards}


def test_a_reward_that_is_off_is_not_loaded():
    assert (
        "image_reward" not in dry_run("vc2", "all", "distill.image_reward_scale=0")["estimate"]["params_by_component"]
    )


def test_the_factors_of_another_stage_can_be_given():
    assert dry_run("vc2", "2", "weights.lora=stage-1/lora.safetensors")["config"]["weights"]["lora"]
