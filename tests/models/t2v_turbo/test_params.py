import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.t2v_turbo.params import component_params, unet_params
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams

VC2 = {
    "unet_config": {
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_head_channels": 64,
        "transformer_depth": 1,
        "context_dim": 1024,
        "use_linear": True,
        "temporal_conv": True,
        "temporal_attention": True,
        "use_relative_position": False,
        "addition_attention": True,
        "fps_cond": True,
    },
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
    },
    "embed_dim": 4,
    "text": {"embed_dim": 1024, "context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}


def test_the_published_config_is_our_default():
    expected = {"unet": UNet3DParams(), "vae": AutoencoderKLParams(), "text": CLIPTextParams()}
    assert component_params(VC2) == expected


def test_one_network_and_its_student():
    params = component_params({**VC2["unet_config"], "time_cond_proj_dim": 256, "motion_cond_proj_dim": None})
    assert params == {"unet": UNet3DParams(time_cond_proj_dim=256)}


def test_text_width_beside_a_video_width():
    config = {"text_cfg": VC2["text"], "text_embed_dim": 20, "embed_dim": 4, "layer": "last"}
    text = component_params(config)["text"]
    assert text.embed_dim == 20 and text.skip_last == 0


@pytest.mark.parametrize("key", ["use_linear", "use_relative_position", "num_head_channels"])
def test_absent_switches_have_upstreams_defaults_which_we_do_not_build(key):
    config = {name: value for name, value in VC2["unet_config"].items() if name != key}
    with pytest.raises(DataError, match=key):
        unet_params(config)


def test_missing_sizes_and_unknown_layers_are_named():
    with pytest.raises(DataError, match=r"unet\.in_channels"):
        component_params(
            {"model_channels": 32, "use_linear": True, "use_relative_position": False, "num_head_channels": 8}
        )
    with pytest.raises(DataError, match="layer"):
        component_params({"text": VC2["text"], "layer": "first"})
