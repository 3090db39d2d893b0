"""What students learn from, and what a run leaves: pure batches, shared weights, rewards, files of factors."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False, mode="pynative"))

from mindspore import Tensor  # noqa: E402

from videogen_cli.models.t2v_turbo.distill_networks import is_factor  # noqa: E402
from videogen_cli.models.t2v_turbo.distill_objective import DistillObjective, unusual_captions  # noqa: E402
from videogen_cli.models.t2v_turbo.student import open_factors  # noqa: E402
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS  # noqa: E402
from videogen_cli.nets.unet3d import UNet3D  # noqa: E402
from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.train.metrics import read  # noqa: E402
from videogen_cli.train.objective import StageContext  # noqa: E402
from videogen_cli.train.trainer import Trainer  # noqa: E402
from videogen_cli.weights.lora import DOWN, UP, open_lora_file  # noqa: E402

SMALL = {
    "unet": {"model_channels": 20, "channel_mult": [1], "norm_groups": 4, "attention_resolutions": [1]},
    "lora": {"rank": 4, "zero_projection": False},
    "train": {"batch_size": 3},
    "data": {"num_clips": 6, "num_frames": 4, "height": 32, "width": 32},
    "sample": {"num_frames": 4, "height": 32, "width": 32},
}
SMALL["image_reward"] = {"vision": {"image_size": 32}}
SMALL["video_reward"] = {"video": {"image_size": 32, "tubelet_size": 1, "num_frames": 2, "origin_num_frames": 2}}
SMALL["distill"] = {"image_reward_samples": 2, "video_reward_samples": 2, "image_reward_frames": 3}
OFF = {"image_reward_scale": 0.0, "video_reward_scale": 0.0}


def merged(*layers):
    """Merge nested settings, later ones over earlier ones."""
    values = {}
    for layer in layers:
        for key, value in layer.items():
            values[key] = merged(values.get(key, {}), value) if isinstance(value, dict) else value
    return values


def objective(stage="distill", world=1, adapters=None, **overrides):
    model = spec("t2v-turbo")
    config = resolve_config(model, preset="tiny", stage=stage, overrides=merged(SMALL, overrides)).config
    cells = {}
    for component in map(model.component, model.stage(stage).components(config)):
        cells[component.name] = module.build(load_attr(component.build), getattr(config, component.name))
        module.initialise(cells[component.name], 0)
    digests = {"unet": "unet.safetensors@0123456789ab"}
    made = DistillObjective(StageContext(config, cells, digests, Output(), world=world, adapters=adapters or {}))
    made.name = stage
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def call(stage, batch):
    return [float(value.asnumpy()) for value in stage.loss(*map(Tensor, batch))]


def test_batches_are_pure_and_go_down_the_solvers_steps():
    stage = objective(distill={"solver_steps": 8, "topk": 125, "w_min": 1.0, "w_max": 3.0})
    batch = stage.batch(5, 0, 0)
    for first, second in zip(batch, stage.batch(5, 0, 0), strict=True):
        assert np.array_equal(first, second)
    moments, posterior, noise, start, end, coefficients, w, guidance, ids, fps, draws = batch
    assert not np.array_equal(noise, stage.batch(6, 0, 0)[2]) and not np.array_equal(noise, stage.batch(5, 1, 0)[2])
    assert moments.shape == (3, 8, 4, 4, 4) and posterior.shape == noise.shape == (3, 4, 4, 4, 4)
    assert set(start % 125) == {124} and np.array_equal(end, np.maximum(start - 125, 0))
    assert coefficients.shape == (3, 10) and guidance.shape == (3, 256) and ids.shape == (3, 16) and set(fps) == {8.0}
    assert (w >= 1).all() and (w < 3).all() and draws.shape == (2, 5)


def test_student_and_teacher_hold_the_frozen_weights_once():
    stage = objective()
    student = dict(stage.networks.student.parameters_and_names())
    teacher = dict(stage.networks.teacher.parameters_and_names())
    assert all(teacher[name] is student[name] for name in teacher)
    own = set(student) - set(teacher)
    assert {name for name in own if not is_factor(name)} == {"time_cond_proj.weight"}
    trained = stage.trainable["lora"]
    assert {name for name in student if trained.keep(name)} == {name for name in own if is_factor(name)}


def test_a_student_that_has_learnt_nothing_answers_like_its_teacher():
    stage = objective()
    projection = stage.networks.student.time_cond_proj.weight
    projection.set_data(Tensor(np.zeros(projection.shape, np.float32)))
    batch = stage.batch(0, 0, 0)
    rng = np.random.default_rng(0)
    noisy, context_ = rng.standard_normal((3, 4, 4, 4, 4)), rng.standard_normal((3, 16, 64))
    given = [Tensor(part.astype(np.float32)) for part in (noisy, batch[3], context_, batch[9])]
    teacher = stage.networks.teacher(*given).asnumpy()
    student = stage.networks.student(*given, Tensor(batch[7])).asnumpy()
    np.testing.assert_allclose(student, teacher, atol=1e-5)


def test_unusual_captions_are_counted_once():
    tokenizer = objective().pipeline.tokenizer
    words = "a red circle moving right " * 400
    assert unusual_captions(["a red circle", ""], tokenizer) == "of 2 captions, 1 empty"
    found = unusual_captions([words, "a red circle", " ", words], tokenizer)
    assert found == "of 4 captions, 1 empty and 2 cut after 14 words and parts of words"
    assert unusual_captions(["a red circle moving right"], tokenizer) is None


def test_two_ranks_see_what_one_sees_in_two_micro_batches():
    alone, ranks = objective(train={"accumulation": 2}), objective(world=2)
    for rank in range(2):
        for one, other in zip(alone.batch(3, rank, 0), ranks.batch(3, 0, rank), strict=True):
            assert np.array_equal(one, other)


def test_pixels_are_encoded_in_the_step_as_they_are_before_training():
    """Moments and pixels of the same clips give the same loss."""
    before, within = objective(), objective(distill={"cache_latents": False, "vae_encode_batch": 5})
    cached, pixels = before.batch(2, 0, 0), within.batch(2, 0, 0)
    assert pixels[0].shape == (3, 4, 3, 32, 32)
    pixels = (np.stack([before.dataset.item(i, 0).frames for i in before.sample_ids(2, 0, 0)]), *pixels[1:])
    np.testing.assert_allclose(call(within, pixels), call(before, cached), rtol=1e-4)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_rewards_are_scores_of_what_the_student_predicts(kind):
    on = {f"{kind}_reward_scale": 3.0, f"{kind}_reward_samples": 2}
    stage, without = objective("all", distill={**OFF, **on}), objective()
    assert stage.scalar_names == ("distillation", f"{kind}_reward")
    batch = stage.batch(1, 0, 0)
    loss, distillation, score = call(stage, batch)
    assert distillation == pytest.approx(call(without, batch[:11])[1], rel=1e-5)
    assert loss == pytest.approx(distillation - 3 * score, rel=1e-5) and -1 < score < 1 and abs(score) > 1e-3
    samples, frames, *texts = batch[11:]
    assert len(set(samples)) == 2 and len(texts[-1]) == 2
    if kind == "image":
        assert len(set(frames)) == 3
    else:
        assert list(np.diff(frames)) == [2] and len(texts) == 3


def test_frames_may_come_twice_as_in_the_port():
    stage = objective("1", distill={"image_reward_repeats": True, "image_reward_frames": 6})
    assert stage.batch(0, 0, 0)[12].shape == (6,)
    with pytest.raises(UsageError, match="image_reward_frames: must be from 1 to the 4 frames"):
        objective("1", distill={"image_reward_frames": 6})


def test_rewards_alone_leave_the_teacher_out():
    stage = objective("1", distill={"loss": "none", "image_reward_frames": 2})
    loss, score = call(stage, stage.batch(0, 0, 0))
    assert stage.scalar_names == ("image_reward",) and loss == pytest.approx(-score, rel=1e-5)
    with pytest.raises(UsageError, match="nothing to learn from"):
        objective(distill={"loss": "none"})


def run(stage, folder, **settings):
    plain = {"checkpoint_every": 100, "tensorboard": False, "log_every": 1, "max_steps": 2, "learning_rate": 1e-3}
    config = replace(stage.config.train, **{"validate_every": 0, "preview_every": 0, **plain, **settings})
    about = {**asdict(stage.config), "stage": stage.name}
    trainer = Trainer(stage, config, seed=0, dtype="fp32", output_dir=folder, output=Output(), run_config=about)
    return trainer


def test_a_resumed_run_ends_like_an_uninterrupted_one_and_leaves_factors(tmp_path):
    small = {"init_attention": False, "temporal_attention": False, "attention_resolutions": []}
    settings = {"unet": small, "distill": {"dropout": 0.1}, "lora": {"dropout": 0.1, "merged": False}}
    whole = run(objective(**settings), tmp_path / "whole").run().checkpoint
    run(objective(**settings), tmp_path / "parts", max_steps=1).run()
    parts = run(objective(**settings), tmp_path / "parts").run("auto").checkpoint
    for name in ("lora", "ema-lora", "optimizer"):
        assert (whole / f"{name}.safetensors").read_bytes() == (parts / f"{name}.safetensors").read_bytes()
    with pytest.raises(UsageError, match=r"lora.rank: 4 then, 3 now") as refused:
        run(objective(lora={"rank": 3}), tmp_path / "parts").run("auto")
    assert refused.value.code == 2


def test_factors_read_back_in_every_form(tmp_path):
    stage = objective(lora={"rank": 3})
    path = run(stage, tmp_path, max_steps=1).run().checkpoint / "lora.safetensors"
    about = open_lora_file(path).metadata
    assert (about["rank"], about["alpha"], about["base"]) == ("3", "1.0", "0123456789ab")
    lora = open_factors(path, UNet3D(stage.config.unet))
    factors = {
        name + suffix: part
        for name, pair in lora.factors.items()
        for suffix, part in zip((UP, DOWN), pair, strict=True)
    }
    listed = LORA_KEYS.export(factors).tensors
    assert list(listed) == [str(index) for index in range(len(factors))], "the published form has no names"
    again = LORA_KEYS.account(listed, LORA_KEYS.targets({"unet": UNet3D(stage.config.unet)})).tensors
    assert {name: tensor.numpy().tolist() for name, tensor in again.items()} == {
        name: tensor.numpy().tolist() for name, tensor in factors.items()
    }
    began = objective("2", lora={"rank": 3}, adapters={"lora": path}, distill=OFF).networks.student
    for name, value in stage.networks.student.parameters_and_names():
        if is_factor(name):
            assert np.array_equal(dict(began.parameters_and_names())[name].asnumpy(), value.asnumpy()), name
    with pytest.raises(UsageError, match="holds factors of rank 3"):
        objective(lora={"rank": 4}, adapters={"lora": path})


def test_a_reward_that_is_not_a_number_skips_the_step_and_names_the_samples(tmp_path):
    stage = objective("1", distill={"image_reward_frames": 2})
    scorer = stage.context.cells["image_reward"].visual.proj
    scorer.set_data(Tensor(np.full(scorer.shape, np.nan, np.float32)))
    summary = run(stage, tmp_path, max_steps=2).run()
    lines = [line for line in read(tmp_path / "metrics.jsonl") if line["kind"] == "skipped"]
    assert summary.skipped == 2 and lines[0]["samples"] == stage.sample_ids(0, 0, 0)
    factors = [value.asnumpy() for name, value in stage.networks.student.parameters_and_names() if is_factor(name)]
    assert all(np.isfinite(factor).all() for factor in factors)
