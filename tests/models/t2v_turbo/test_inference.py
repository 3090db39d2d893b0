"""Published files to videos, as ``vgen infer`` goes: converted teachers, raw factors, and the originals' results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.models.t2v_turbo.students import VC2, listed_layers, made_factors, made_weights, network, write_list
from tests.models.t2v_turbo.worlds import World
from videogen_cli.config import DeviceConfig, SampleConfig
from videogen_cli.models.t2v_turbo import T2VTurboConfig
from videogen_cli.models.t2v_turbo.student import adapted
from videogen_cli.output import Output
from videogen_cli.registry import load_attr
from videogen_cli.runners.plan import make_plan
from videogen_cli.runners.requests import InferRequest
from videogen_cli.runners.session import open_session
from videogen_cli.runtime import context
from videogen_cli.weights.tensor import from_array

QUIET = Output(quiet=True)


@pytest.fixture(scope="module", params=["vc2", "ms"])
def world(request, tmp_path_factory):
    from tests.conftest import find_golden, read_golden

    yield World(request.param, tmp_path_factory.mktemp(request.param), find_golden, read_golden)
    context.start(DeviceConfig(threads=2, compile_cache=False))  # other tests expect graphs


@pytest.fixture(scope="module")
def session(world):
    """Open a session as ``vgen infer`` does; give its plan too."""
    return opened(world)


def opened(world, *overrides):
    request = InferRequest("t2v-turbo", preset=world.name, config_file=world.config_file, overrides=list(overrides))
    plan = make_plan(request, QUIET)
    load_attr(plan.spec.pipeline).check(plan.config)
    return plan, open_session(plan, QUIET, only=plan.spec.sampling_components)


def pipeline(session, **sample):
    plan, networks = session
    config = replace(plan.config, sample=replace(plan.config.sample, **sample))
    return load_attr(plan.spec.pipeline)(config, networks.cells)


def sampled(world, session):
    steps, sampler = [], pipeline(session)
    context = sampler.encode_tokens(world.inputs["tokens"])
    noise = lambda step: world.inputs[f"noise{step}"]  # noqa: E731
    sampler.sample_from(world.inputs["latents"], context, noise, lambda *event: steps.append(event[2]))
    return steps


def test_files_as_published_give_the_originals_videos(world, session):
    networks, tolerance = session[1], world.record["tolerance"]
    assert {"lora", "time_cond_proj"} <= set(networks.weights)
    assert set(networks.adapters) == {"lora", "time_cond_proj"}
    steps = sampled(world, session)
    assert [step.timestep for step in steps] == world.outputs["timesteps"].tolist()
    for index, step in enumerate(steps):
        assert np.allclose(step.denoised, world.outputs[f"step{index}.denoised"], **tolerance)
        assert np.allclose(step.latents, world.outputs[f"step{index}.prev_sample"], **tolerance)
    assert np.allclose(pipeline(session).decode_float(steps[-1].denoised), world.outputs["video"], **tolerance)


def test_a_video_depends_on_its_prompt_and_seed_only(world, session):
    sampler, tolerance = pipeline(session, num_inference_steps=2), world.record["tolerance"]
    prompts, seeds = ["a red circle", "a blue square", "", "a red circle"], [3, 1, 2, 3]
    together = sampler.sample(prompts, seeds)
    alone = [sampler.sample([prompt], [seed])[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert np.allclose(together, alone, **tolerance)
    assert np.allclose(together[0], together[3], **tolerance)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_frames_are_the_same_however_many_are_decoded_at_a_time(world, session):
    latents = world.outputs["step3.denoised"]
    together = pipeline(session).decode_float(latents)
    for size in (1, 2, 100):
        assert np.allclose(pipeline(session, decode_batch=size).decode_float(latents), together, atol=1e-5)


def test_guidance_steers_and_only_videocrafter2_is_told_the_frame_rate(world, session):
    def latents(**sample):
        return pipeline(session, num_inference_steps=1, **sample).sample(["a red circle"], [0])

    usual = latents()
    assert np.abs(latents(guidance_scale=15) - usual).max() > 1e-3
    assert (np.abs(latents(fps=28) - usual).max() > 1e-3) == (world.name == "vc2")


def test_half_precision_is_for_storage_on_a_cpu(world, session):
    notes = context.plan(DeviceConfig(target="cpu", dtype="fp16"))["notes"]
    assert any("CPU computes in fp32" in note for note in notes)
    whole, half = sampled(world, session), sampled(world, opened(world, "device.dtype=fp16"))
    assert np.array_equal(whole[-1].denoised, half[-1].denoised)


def test_weights_are_merged_before_they_are_cast(tmp_path):
    context.start(DeviceConfig(threads=2, compile_cache=False))
    from videogen_cli.runtime import module

    cell = network(VC2)
    layers, weights = listed_layers(cell), made_weights(cell)
    lora = write_list(tmp_path / "unet_lora.pt", [0.01 * factor for factor in made_factors(layers)])
    config = T2VTurboConfig(unet=VC2, sample=SampleConfig(sampler="lcm"))
    tensors = {name: from_array(value) for name, value in weights.items()}
    student = adapted(tensors, {"lora": lora}, cell, config, True, lambda _: None)
    module.load(cell, student, where="made up", writable=False, dtype="fp16")
    for name, value in cell.parameters_and_names():
        held = value.asnumpy()
        assert held.dtype == np.float16 and np.array_equal(held, student[name].numpy().astype(np.float16))
    name = f"{layers[0].name}.weight"
    product = (student[name].numpy() - weights[name]).astype(np.float16)
    later = weights[name].astype(np.float16) + product
    assert not np.array_equal(student[name].numpy().astype(np.float16), later), "rounding twice would show"
