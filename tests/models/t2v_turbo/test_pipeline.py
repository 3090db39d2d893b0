"""What the sampler asks of the networks, and how many frames are decoded at a time; networks are recorded, not run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from videogen_cli.config import SampleConfig
from videogen_cli.diffusion.lcm import guidance_scale_embedding
from videogen_cli.models.t2v_turbo import FewStepDiffusionConfig, MotionGuidanceConfig, T2VTurboConfig, pipeline
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams, decoder_numbers


@pytest.fixture(autouse=True)
def no_networks(monkeypatch):
    monkeypatch.setattr(pipeline, "load_attr", lambda reference: lambda cell: cell)


class Recorded(T2VTurboPipeline):
    """Networks that return zeros of the right shape."""

    def __init__(self, config):
        super().__init__(config, dict.fromkeys(("text", "unet", "vae"), SimpleNamespace()))
        self.calls = []

    def _run(self, component, *arrays):
        self.calls.append((component, arrays))
        if component == "text":
            return np.zeros((len(arrays[0]), 77, 1024), np.float32)
        if component == "vae":
            return np.repeat(np.repeat(arrays[0][:, :3], 8, 2), 8, 3)
        return np.zeros_like(arrays[0])

    def of(self, component):
        return [arrays for name, arrays in self.calls if name == component]


def recorded(unet=None, motion=None, diffusion=None, **sample):
    config = T2VTurboConfig(
        unet=UNet3DParams(**{"time_cond_proj_dim": 256, **(unet or {})}),
        motion_guidance=MotionGuidanceConfig(**(motion or {})),
        diffusion=FewStepDiffusionConfig(**(diffusion or {})),
        sample=SampleConfig(**{"sampler": "lcm", "num_frames": 4, "height": 64, "width": 64, **sample}),
    )
    return Recorded(config)


def test_a_student_is_called_once_a_step_and_told_scale_and_rate():
    made = recorded(guidance_scale=9.0, fps=12, num_inference_steps=8)
    made.sample(["a cat", "a dog"], [0, 1])
    assert len(made.of("text")) == 1 and len(made.of("unet")) == 8
    for latents, timesteps, context, fps, guidance in made.of("unet"):
        assert latents.shape == (2, 4, 4, 8, 8) and context.shape == (2, 77, 1024)
        assert timesteps[0] == timesteps[1] and fps.tolist() == [12, 12]
        assert np.array_equal(guidance, guidance_scale_embedding(np.full(2, 9, np.float32), 256))
    assert [int(call[1][0]) for call in made.of("unet")] == [999, 879, 759, 639, 519, 399, 279, 159]


def test_motion_guidance_is_told_at_the_noisy_timesteps_only():
    made = recorded({"motion_cond_proj_dim": 256}, {"scale": 0.05, "share": 0.5}, {"origin_steps": 200})
    made.sample(["a cat"], [0])
    told = {int(call[1][0]): call[5] for call in made.of("unet")}
    for timestep, scale in ((999, 0.05), (749, 0.05), (499, 0.0), (249, 0.0)):
        assert np.array_equal(told[timestep], guidance_scale_embedding(np.array([scale], np.float32), 256))


def test_a_teacher_is_called_with_both_prompts_at_once_and_the_text_tower_for_one_shape():
    made = recorded({"time_cond_proj_dim": 0}, sampler="ddim", num_inference_steps=2, negative_prompt="blurred")
    made.sample(["a cat", "a dog"], [0, 1])
    assert {call[0].shape for call in made.of("text")} == {(2, 77)}
    assert [call[0].shape[0] for call in made.of("unet")] == [4, 4]


@pytest.mark.parametrize(("free", "expected"), [(64 << 30, 16), (16 << 30, 4), (1 << 30, 1)])
def test_published_frames_are_decoded_as_memory_allows(monkeypatch, free, expected):
    monkeypatch.setattr(pipeline, "activation_bytes", lambda device: free // 4)
    assert recorded(num_frames=16, height=320, width=512).decode_batch == expected
    assert recorded(num_frames=16, height=320, width=512, decode_batch=3).decode_batch == 3


def test_frames_come_back_in_order_from_batches_of_one_shape():
    made = recorded(num_frames=5, decode_batch=2)
    latents = np.random.default_rng(0).standard_normal((2, 4, 5, 8, 8)).astype(np.float32)
    video = made.decode_float(latents)
    assert video.shape == (2, 3, 5, 64, 64)
    assert np.allclose(video[:, :, :, ::8, ::8] * np.float32(0.18215), latents[:, :3], atol=1e-6)
    assert {call[0].shape for call in made.of("vae")} == {(2, 4, 8, 8)} and len(made.of("vae")) == 5


def test_the_estimate_of_a_frames_activations_is_above_what_was_measured():
    measured = 704 * 320 * 512  # numbers, the growth of peak memory per frame at the published size
    assert measured < decoder_numbers(AutoencoderKLParams(), 320, 512) < 2 * measured
