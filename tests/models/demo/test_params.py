import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.demo import DemoConfig
from videogen_cli.models.demo.params import component_params
from videogen_cli.registry import resolve_config, spec

UNET = {
    "type": "UNetSD_T2V_DEMO",
    "in_dim": 4,
    "dim": 320,
    "y_dim": 1024,
    "context_dim": 1024,
    "out_dim": 4,
    "dim_mult": [1, 2, 4, 4],
    "num_heads": 8,
    "head_dim": 64,
    "num_res_blocks": 2,
    "dropout": 0.1,
    "temporal_attention": True,
    "use_checkpoint": True,
    "use_fps_condition": False,
}
CLIP = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}
RAFT = {
    "feature_encoder_layers": [32, 32, 64, 96, 128],
    "context_encoder_layers": [32, 32, 64, 96, 160],
    "recurrent_block_kernel_size": [3],
    "recurrent_block_padding": [1],
    "num_flow_updates": 12,
}


def test_the_published_config_is_our_default():
    params, default = component_params({"unet": UNET, "raft": RAFT}), DemoConfig()
    assert params == {"unet": default.unet, "raft": default.raft}
    towers = component_params(CLIP)
    assert (towers["text"].skip_last, towers["text"].layers, towers["visual"].width) == (1, 24, 1280)
    assert towers["text"] == towers["motion"]


def test_the_base_model_has_no_motion_blocks_and_scales_name_levels():
    base = component_params({**UNET, "type": "UNetSD_T2VBase", "attn_scales": [0.25, 0.3], "num_heads": None})["unet"]
    assert not base.motion_attention
    assert base.attention_resolutions == [4]
    assert base.init_attention_heads == 10


def test_where_the_text_is_read():
    assert component_params({**CLIP, "layer": "last"})["text"].skip_last == 0
    assert "visual" not in component_params({key: CLIP[key] for key in ("embed_dim", "text_cfg")})


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({**UNET, "use_image_dataset": True}, "use_image_dataset"),
        ({key: value for key, value in UNET.items() if key != "head_dim"}, "head_dim"),
        ({**CLIP, "layer": "third"}, "layer"),
        ({"vae": {"embed_dim": 4}}, "ddconfig"),
        ({**RAFT, "recurrent_block_kernel_size": [[1, 5], [5, 1]]}, "recurrent_block_kernel_size"),
        ({**RAFT, "recurrent_block_padding": [0]}, "recurrent_block_padding"),
        ({**RAFT, "use_mask_predictor": True}, "use_mask_predictor"),
    ],
)
def test_networks_we_do_not_have_are_refused(config, where):
    with pytest.raises(DataError) as error:
        component_params(config)
    assert where in str(error.value.where)


def test_presets_resolve():
    config = resolve_config(spec("demo"), target="cpu", preset="demo").config
    assert (config.sample.num_inference_steps, config.train.schedule, config.train.cycle.decay_steps) == (
        50,
        "one_cycle",
        10000,
    )
    assert not resolve_config(spec("demo"), target="cpu", preset="modelscope").config.unet.motion_attention
