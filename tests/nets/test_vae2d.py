import numpy as np
import pytest
from networks import ATOL, golden_network, run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.vae2d import AutoencoderKL
from videogen_cli.runtime.cells import shapes
from videogen_cli.runtime.module import build, initialise

PARAMS = AutoencoderKLParams(base_channels=32, channel_mult=[1, 1], num_res_blocks=1)


@pytest.fixture
def vae(golden_path):
    return golden_network(
        AutoencoderKL, PARAMS, golden_path("t2v-turbo/vc2-vae") / "weights.ckpt", "first_stage_model."
    )


def test_encode(mode, vae, golden):
    _, given, expected = golden("t2v-turbo/vc2-vae")
    for index, name in enumerate(("mean", "logvar")):
        got = run(lambda images, index=index: vae.encode(images)[index], given["pixels"])
        np.testing.assert_allclose(got, expected[name], rtol=0, atol=ATOL)


def test_decode(mode, vae, golden):
    config, given, expected = golden("t2v-turbo/vc2-vae")
    latents = given["z"][0].transpose(1, 0, 2, 3) / config["scale_factor"]
    frames = run(vae.decode, latents).transpose(1, 0, 2, 3)[None]
    np.testing.assert_allclose(frames, expected["frames"], rtol=0, atol=ATOL)


def test_reconstruction_is_the_decoded_mean(pynative, vae, golden):
    _, given, expected = golden("t2v-turbo/vc2-vae")
    np.testing.assert_allclose(run(vae, given["pixels"]), run(vae.decode, expected["mean"]), atol=1e-4)


def test_logvar_is_clamped(pynative, vae, golden):
    _, given, _ = golden("t2v-turbo/vc2-vae")
    vae.quant_conv.bias.set_data(vae.quant_conv.bias + 1000)
    logvar = run(lambda images: vae.encode(images)[1], given["pixels"])
    assert (logvar == 20).all()


def test_attention_at_any_level(pynative):
    params = AutoencoderKLParams(
        base_channels=4, channel_mult=[1, 2], num_res_blocks=1, norm_groups=2, attention_levels=[1]
    )
    network = build(AutoencoderKL, params)
    initialise(network, seed=0)
    attended = {name.rpartition(".attn.")[0] for name in shapes(network) if ".attn." in name}
    assert attended == {"encoder.down.1", "decoder.up.1"}
    assert "decoder.up.1.attn.1.proj_out.weight" in shapes(network)
    images = np.random.default_rng(0).standard_normal((1, 3, 4, 6))
    before = run(network, images)
    for name, value in network.parameters_and_names():
        if ".attn." in name:
            value.set_data(value * 3)
    assert np.abs(run(network, images) - before).max() > 1e-4


def test_a_level_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="no level 4"):
        AutoencoderKLParams(attention_levels=[4]).check()
