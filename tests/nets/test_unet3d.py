"""The UNet against outputs of the original classes."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from networks import ATOL, golden_network, run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.module import build, initialise

TINY = {
    "model_channels": 32,
    "channel_mult": [1, 2, 1],
    "num_res_blocks": 1,
    "attention_resolutions": [1],
    "num_head_channels": 8,
    "context_dim": 24,
}
SMALL = UNet3DParams(
    model_channels=16, channel_mult=[1, 2], num_res_blocks=1, attention_resolutions=[], num_head_channels=8,
    context_dim=12, init_attention_heads=2, norm_groups=4,
)  # fmt: skip


def teacher_weights(golden_path):
    return golden_path("t2v-turbo/vc2-unet-teacher") / "weights.ckpt"


def test_videocrafter2(mode, golden, golden_path):
    _, given, expected = golden("t2v-turbo/vc2-unet-teacher")
    unet = golden_network(UNet3D, UNet3DParams(**TINY), teacher_weights(golden_path), "model.diffusion_model.")
    eps = run(unet, given["x"], given["timesteps"], given["context"], np.full(2, given["fps"]))
    np.testing.assert_allclose(eps, expected["eps"], rtol=0, atol=ATOL)


def test_guidance_and_motion_conditions(pynative, golden, golden_path):
    _, given, expected = golden("t2v-turbo/vc2-unet-motion")
    params = UNet3DParams(**TINY, time_cond_proj_dim=256, motion_cond_proj_dim=256)
    more = {
        f"{name}.weight": given[f"{name}_weight"] for name in ("time_cond_proj", "motion_cond_proj", "combine_proj")
    }
    unet = golden_network(UNet3D, params, teacher_weights(golden_path), "model.diffusion_model.", **more)
    common = [given[name] for name in ("x", "timesteps", "context", "fps", "timestep_cond")]
    np.testing.assert_allclose(run(unet, *common, given["motion_cond"]), expected["eps_motion"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(run(unet, *common), expected["eps_time"], rtol=0, atol=ATOL)


def test_motion_text_and_conv1d_projections(pynative, golden, golden_path):
    """DEMO's network is this one with a block more per attention; only the names of lists differ in its file."""
    _, given, expected = golden("demo/unet")
    params = UNet3DParams(
        model_channels=32, channel_mult=[1, 2], num_res_blocks=1, attention_resolutions=[1], num_head_channels=16,
        context_dim=32, init_attention_heads=1, temporal_projection="conv1d", motion_attention=True,
        fps_condition=False,
    )  # fmt: skip
    unet = golden_network(UNet3D, params, golden_path("demo/unet") / "demo.pth")
    eps = run(unet, given["x"], given["t"], given["y"], None, None, None, given["temporal_y"])
    np.testing.assert_allclose(eps, expected["eps"], rtol=0, atol=ATOL)


class MeanSquare(Cell):
    """A loss that reaches every parameter."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def construct(self, latents, timesteps, context, fps):
        error = self.unet(latents, timesteps, context, fps) - 1.0
        return (error * error).mean()


def test_gradients_reach_every_parameter_and_agree_between_modes():
    unet = build(UNet3D, SMALL)
    initialise(unet, seed=0)
    draws = np.random.default_rng(0)
    for value in unet.get_parameters():  # zero-initialised layers would hide what is before them
        value.set_data(ms.Tensor(0.2 * draws.standard_normal(value.shape), ms.float32))
    shapes = ((2, 4, 3, 4, 4), (2,), (2, 5, 12), (2,))
    inputs = [ms.Tensor(draws.uniform(0, 2, shape), ms.float32) for shape in shapes]
    loss = MeanSquare(unet)
    parameters = list(unet.trainable_params())
    step = ms.value_and_grad(loss, None, parameters)
    results = [call(*inputs) for call in (step, ms.jit(step))]
    (eager, eager_grads), (compiled, compiled_grads) = results
    np.testing.assert_allclose(compiled.asnumpy(), eager.asnumpy(), rtol=1e-5)
    for value, a, b in zip(parameters, eager_grads, compiled_grads, strict=True):
        assert np.abs(a.asnumpy()).max() > 0, value.name
        np.testing.assert_allclose(b.asnumpy(), a.asnumpy(), rtol=1e-3, atol=1e-5, err_msg=value.name)


def test_every_frame_and_sample_stays_in_its_place(pynative):
    """A sample's output does not depend on its neighbours in the batch."""
    unet = build(UNet3D, SMALL)
    initialise(unet, seed=1)
    draws = np.random.default_rng(1)
    for value in unet.get_parameters():
        value.set_data(ms.Tensor(0.2 * draws.standard_normal(value.shape), ms.float32))
    x, context = draws.standard_normal((2, 4, 3, 4, 6)), draws.standard_normal((2, 5, 12))
    t, fps = np.array([10.0, 700.0]), np.array([8.0, 24.0])
    both = run(unet, x, t, context, fps)
    for i in range(2):
        one = run(unet, x[i : i + 1], t[i : i + 1], context[i : i + 1], fps[i : i + 1])
        np.testing.assert_allclose(both[i : i + 1], one, rtol=1e-4, atol=1e-5)


def random_network(params):
    unet = build(UNet3D, params)
    draws = np.random.default_rng(2)
    for value in unet.get_parameters():
        value.set_data(ms.Tensor(0.2 * draws.standard_normal(value.shape), ms.float32))
    return unet, draws


def test_lone_frames_pass_by_what_is_temporal(pynative):
    """ModelScope's copy in T2V-Turbo, but for the first convolutions over frames in the middle."""
    unet, draws = random_network(replace(SMALL, single_frames="spatial", fps_condition=False))
    inputs = [draws.standard_normal((1, 4, 1, 4, 4)), np.ones(1), draws.standard_normal((1, 5, 12))]
    before = run(unet, *inputs)
    for name, value in unet.parameters_and_names():
        temporal = "temporal_conv" in name or name.startswith(("init_attn", "middle_block.2"))
        if temporal and not name.startswith("middle_block.0"):
            value.set_data(value * 3.0)
    np.testing.assert_array_equal(run(unet, *inputs), before)
    for name, value in unet.parameters_and_names():
        if name.startswith("middle_block.0.temporal_conv"):
            value.set_data(value * 3.0)
    assert np.abs(run(unet, *inputs) - before).max() > 1e-3


def test_odd_sizes_come_back(pynative):
    unet, draws = random_network(replace(SMALL, channel_mult=[1, 2, 2]))
    eps = run(unet, draws.standard_normal((1, 4, 2, 5, 7)), np.ones(1), draws.standard_normal((1, 5, 12)), np.ones(1))
    assert eps.shape == (1, 4, 2, 5, 7)
    assert np.isfinite(eps).all()


def test_a_fresh_unet_predicts_zero(pynative):
    unet = build(UNet3D, SMALL)
    initialise(unet, seed=0)
    eps = run(unet, np.ones((1, 4, 2, 4, 4)), np.ones(1), np.ones((1, 5, 12)), np.ones(1))
    assert eps.shape == (1, 4, 2, 4, 4)
    assert not eps.any()


def test_impossible_params_are_refused_before_anything_is_built():
    with pytest.raises(UsageError, match="channel_mult"):
        build(UNet3D, UNet3DParams(channel_mult=[]))
