"""Rewards and distillation: geometry, options, graphs, and key maps of what the golden cases do not reach."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ROOTS

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.diffusion.ddim_solver import DDIMSolver  # noqa: E402
from videogen_cli.diffusion.schedules import NoiseSchedule  # noqa: E402
from videogen_cli.errors import DataError, UsageError, WeightsError  # noqa: E402
from videogen_cli.models.t2v_turbo import reward_weights, rewards  # noqa: E402
from videogen_cli.models.t2v_turbo.distillation import DistillationLoss, DistillationPlan  # noqa: E402
from videogen_cli.nets.clip import OpenCLIP  # noqa: E402
from videogen_cli.nets.internvideo2 import InternVideo2  # noqa: E402
from videogen_cli.nets.params.bert import BertParams  # noqa: E402
from videogen_cli.nets.params.clip import CLIPTextParams, CLIPVisionParams, OpenCLIPParams  # noqa: E402
from videogen_cli.nets.params.internvideo2 import InternVideo2Params, VideoTowerParams  # noqa: E402
from videogen_cli.output import Output  # noqa: E402
from videogen_cli.runners.convert import ConvertRequest, run  # noqa: E402
from videogen_cli.runtime.module import build, initialise  # noqa: E402
from videogen_cli.weights.keys.openclip import openclip_params  # noqa: E402
from videogen_cli.weights.writer import save_safetensors  # noqa: E402

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 28, "layers": 1, "width": 16, "head_width": 8, "patch_size": 14},
    "text_cfg": {"vocab_size": 50, "context_length": 10, "width": 16, "heads": 2, "layers": 2},
}
CLIP = OpenCLIPParams(
    CLIPTextParams(50, 10, 16, 2, 2, embed_dim=8, skip_last=0), CLIPVisionParams(28, 14, 16, 2, 1, embed_dim=8)
)
VIDEO = InternVideo2Params(
    VideoTowerParams(28, 14, 1, 4, 2, 16, 1, 2, 32, pool_heads=2, pool_width=8), BertParams(50, 16, 1, 2, 32), 8, 6
)


def tensor(*shape: int, high: int = 0) -> ms.Tensor:
    draws = np.random.default_rng(3)
    return ms.Tensor(draws.integers(1, high, shape, np.int32) if high else draws.random(shape, np.float32))


@pytest.fixture
def graph():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=before)


def decoder() -> rewards.FrameDecoder:
    from videogen_cli.nets.layers import Conv2d
    from videogen_cli.runtime import functional as F

    class Blocks(Conv2d):
        def decode(self, codes):
            return F.upsample_nearest(self.convolve(codes), 4)

    vae = Blocks(4, 3, 1)
    initialise(vae, 0)
    return rewards.FrameDecoder(vae, std=2.0)


def test_rewards_reach_the_latents_of_chosen_frames_in_a_graph(graph):
    clip, video = build(OpenCLIP, CLIP), build(InternVideo2, VIDEO)
    initialise(clip, 1)
    initialise(video, 2)
    image_loss = rewards.ImageRewardLoss(decoder(), rewards.ImageScore(clip, 28), 2.0)
    video_loss = rewards.VideoRewardLoss(decoder(), rewards.VideoScore(video, 28), 0.5)
    latents, ids = tensor(1, 4, 8, 5, 9), tensor(1, 10, high=50)
    frames = ms.Tensor(np.array([1, 6], np.int32))
    (loss, score), slope = ms.value_and_grad(image_loss, 0, has_aux=True)(latents, frames, ids)
    assert float(loss) == pytest.approx(-2 * float(score), rel=1e-5)
    moved = np.abs(slope.asnumpy()).sum((0, 1, 3, 4)) > 0
    assert np.flatnonzero(moved).tolist() == [1, 6]

    index = rewards.spread_frames(8, 4, 1)
    corner, keep = ms.Tensor(np.array([0, 7], np.int32)), ms.Tensor(np.array([[1, 1, 1, 0, 0, 0]], np.int32))
    differentiate = ms.value_and_grad(video_loss, 0, has_aux=True)
    (loss, score), slope = differentiate(latents, ms.Tensor(index), corner, tensor(1, 6, high=50), keep)
    assert float(loss) == pytest.approx(-0.5 * float(score), rel=1e-5)
    assert np.flatnonzero(np.abs(slope.asnumpy()).sum((0, 1, 3, 4)) > 0).tolist() == index.tolist() == [1, 3, 5, 7]


def test_margins_are_black_and_crops_are_windows():
    fitted = rewards.FitSquare(28)(tensor(1, 3, 20, 40)).asnumpy()
    black = -np.array(rewards.CLIP_MEAN) / np.array(rewards.CLIP_STD)
    np.testing.assert_allclose(fitted[0, :, [0, 6, 21, 27], 5], np.tile(black, (4, 1)), atol=1e-5)
    assert np.abs(fitted[0, :, 7, 5] - black).max() > 0.1
    assert rewards.crop_room(20, 40, 28) == (1, 29)
    assert rewards.crop_room(28, 40, 28) == (1, 1)
    images, crop = tensor(1, 3, 20, 40), rewards.CropSquare(28)
    left, right = (crop(images, ms.Tensor(np.array([0, column], np.int32))).asnumpy() for column in (3, 10))
    np.testing.assert_allclose(left[..., 7:], right[..., :-7], atol=1e-5)


def test_frames_are_spread_or_refused():
    assert rewards.spread_frames(17, 8, 1).tolist() == [1, 3, 5, 7, 9, 11, 13, 15]
    assert rewards.frame_stride(8, 8) == 1
    with pytest.raises(UsageError, match="fewer than the 8"):
        rewards.spread_frames(7, 8, 0)


def test_positions_are_kept_or_interpolated_over_time():
    video = build(InternVideo2, VIDEO)
    initialise(video, 2)
    tower = video.vision_encoder
    stored, used = tower.pos_embed.asnumpy()[0], tower.positions().asnumpy()[0]
    np.testing.assert_array_equal(used[0], stored[0])
    np.testing.assert_allclose(used[5:9], 0.75 * stored[1:5] + 0.25 * stored[5:9], atol=1e-6)
    assert tower(tensor(2, 1, 3, 28, 28)).shape == (2, 8)  # a single image has positions of its own


def test_the_plan_ends_at_nothing():
    schedule = NoiseSchedule.create()
    plan = DistillationPlan(schedule, DDIMSolver(schedule, 50), topk=20)
    start, end = plan.timesteps(np.array([0, 49]))
    assert (start.tolist(), end.tolist()) == ([19, 999], [0, 979])
    rows = plan.coefficients(np.array([0, 49]))
    np.testing.assert_allclose(rows[0, 4:6], [1, 0])  # at timestep 0 the student returns its input
    np.testing.assert_allclose(rows[:, 2] ** 2 + rows[:, 3] ** 2, 1, atol=1e-6)
    with pytest.raises(UsageError, match="deterministic"):
        DistillationPlan(schedule, DDIMSolver(schedule, 50, eta=1.0))
    with pytest.raises(UsageError, match="'hubert' is not one of"):
        DistillationLoss(None, None, loss="hubert")


def test_no_gradient_passes_the_teacher_or_the_target(graph):
    from videogen_cli.runtime.cells import ONES, Cell, parameter

    class Noise(Cell):
        """A UNet that sees noise everywhere, more of it the higher the guidance."""

        def __init__(self):
            super().__init__()
            self.weight = parameter((1,), ONES)

        def construct(self, noisy, timesteps, context, fps, guidance=None):
            out = noisy * self.weight + context.mean()
            return out if guidance is None else out + guidance.mean()

    student, teacher = Noise(), Noise()
    for cell in (student, teacher):
        initialise(cell, 0)
    schedule = NoiseSchedule.create()
    plan = DistillationPlan(schedule, DDIMSolver(schedule, 50))
    index = np.array([3, 40])
    start, end = plan.timesteps(index)
    x, w, states = tensor(2, 4, 2, 3, 3), ms.Tensor(np.array([5.0, 9.0], np.float32)), tensor(2, 5, 6)
    rows = plan.coefficients(index)
    times = [ms.Tensor(steps.astype(np.float32)) for steps in (start, end)]
    loss = DistillationLoss(student, teacher, "l2")
    inputs = (x, *times, ms.Tensor(rows), w, tensor(2, 8), states, 0 * states, w)
    compute = ms.value_and_grad(loss, None, [student.weight, teacher.weight], has_aux=True)
    (value, predicted, step, target), (slope, teachers) = compute(*inputs)

    def clean(noisy, eps, at):
        c_skip, c_out, alpha, sigma = (part.reshape(2, 1, 1, 1, 1) for part in rows[:, at : at + 4].T)
        return c_skip * noisy + c_out * (noisy - sigma * eps) / alpha

    noisy, context, told = x.asnumpy(), states.asnumpy().mean(), tensor(2, 8).asnumpy().mean()
    eps = noisy + context * (1 + w.asnumpy().reshape(2, 1, 1, 1, 1))
    alpha, sigma, signal, direction = (rows[:, k].reshape(2, 1, 1, 1, 1) for k in (2, 3, 8, 9))
    lower = signal * (noisy - sigma * eps) / alpha + direction * eps
    expected, aim = clean(noisy, noisy + context + told, 0), clean(lower, lower + context + told, 4)
    for ours, theirs in ((predicted, expected), (step, lower), (target, aim)):
        np.testing.assert_allclose(ours.asnumpy(), theirs, rtol=1e-4, atol=1e-4)
    assert float(value) == pytest.approx(((expected - aim) ** 2).mean(), rel=1e-4)
    c_out, alpha, sigma = (rows[:, k].reshape(2, 1, 1, 1, 1) for k in (1, 2, 3))
    expected_slope = (2 * (expected - aim) * -c_out * sigma / alpha * noisy).mean()
    assert float(slope.asnumpy()[0]) == pytest.approx(expected_slope, rel=1e-3)
    assert float(teachers.asnumpy()[0]) == 0


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("vision_cfg", "global_average_pool", True),
        ("vision_cfg", "layers", [3, 4, 6, 3]),
        ("vision_cfg", "image_size", [28, 56]),
        ("text_cfg", "hf_model_name", "roberta"),
    ],
)
def test_other_clips_are_refused_by_name(section, key, value):
    with pytest.raises(DataError) as caught:
        openclip_params({**CONFIG, section: {**CONFIG[section], key: value}})
    assert caught.value.where == f"{section}.{key}"


def test_options_of_the_originals_are_read():
    assert openclip_params(CONFIG).vision == CLIPVisionParams(28, 14, 16, 2, 1, embed_dim=8, mlp_width=64)
    assert openclip_params({**CONFIG, "quick_gelu": True}).text.activation == "quick_gelu"
    config = {"vision_encoder": {"embed_dim": 16, "depth": 1, "num_heads": 2}, "bert": {}, "embed_dim": 8}
    with pytest.raises(DataError, match="missing"):
        reward_weights.video_reward_params(config)


@pytest.mark.parametrize(
    ("kind", "name", "used", "ignored"),
    [
        ("hps", "HPS_v2.1_compressed.pt.json", 686, 0),
        ("openclip", "open_clip-ViT-H-14.json", 686, 0),
        ("internvid", "InternVideo2-stage2_1b-224p-f4.pt.json", 852, 171),
    ],
)
def test_published_files_are_accounted_for(kind, name, used, ignored):
    path = next((p for root in ROOTS if (p := root.parent / "manifests" / "t2v-turbo" / name).is_file()), None)
    if path is None:
        pytest.skip(f"manifest {name} is not here")
    account = run(ConvertRequest(kind, path, check=True, model="t2v-turbo"), Output())["account"]
    assert account["ok"]
    assert (account["used"], sum(account["ignored"].values())) == (used, ignored)


def test_openclip_files_are_not_taken_for_preferences(golden_path):
    folder = golden_path("t2v-turbo/openclip-full")
    source, params = folder / "open_clip_pytorch_model.bin", folder / "case.json"
    with pytest.raises(WeightsError, match="as OpenCLIP's own file does") as caught:
        run(ConvertRequest("hps", source, check=True, model="t2v-turbo", params=params), Output())
    assert "--type openclip" in (caught.value.hint or "")


def test_the_wrong_internvideo_is_called_by_its_name(tmp_path):
    source = tmp_path / "clip.safetensors"
    save_safetensors(source, {"vision_encoder.clip_projector.norm1_q.weight": np.zeros(3, np.float32)}, {})
    with pytest.raises(WeightsError) as caught:
        run(ConvertRequest("internvid", source, check=True, model="t2v-turbo"), Output())
    assert "InternVideo2-CLIP" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "case"),
    [("hps", "hps-score"), ("openclip", "openclip-full"), ("internvid", "internvideo2-score")],
)
def test_exports_have_the_names_and_bytes_they_came_with(kind, case, golden_path, tmp_path):
    from videogen_cli.weights import open_checkpoint

    folder = golden_path(f"t2v-turbo/{case}")
    source = folder / json.loads((folder / "case.json").read_text())["weights"]
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    run(ConvertRequest(kind, source, ours, model="t2v-turbo", params=folder / "case.json"), Output())
    run(ConvertRequest(kind, ours, back, model="t2v-turbo", export=True), Output())
    first, last = open_checkpoint(source).tensors, open_checkpoint(back).tensors
    assert last
    for name, found in last.items():
        assert found.dtype == first[name].dtype
        assert found.numpy().tobytes() == first[name].numpy().tobytes()
