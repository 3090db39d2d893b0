"""ModelScope's sizes and keys, as T2V-Turbo's second teacher."""

from __future__ import annotations

import json

import pytest

from videogen_cli.errors import DataError, WeightsError
from videogen_cli.models.t2v_turbo import modelscope
from videogen_cli.models.t2v_turbo.params import component_params
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.weights.lora import Layer
from videogen_cli.weights.readers import open_manifest
from videogen_cli.weights.tensor import LazyTensor

UNET = {"_class_name": "UNet3DConditionModel", "block_out_channels": [32, 64], "layers_per_block": 1}
TYPES = {
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
}


def tensor(*shape):
    return LazyTensor(shape, "float32", lambda: pytest.fail("was read"))


def test_the_published_config_gives_the_published_network(manifest_path):
    config = open_manifest(manifest_path("t2v-turbo/text-to-video-ms-1.7b-unet.json")).config
    assert config is not None
    assert component_params(config) == {"unet": modelscope.published_unet()}


def test_the_preset_has_the_published_networks():
    from videogen_cli.registry import resolve_config, spec

    config = resolve_config(spec("t2v-turbo"), target="cpu", preset="ms").config
    assert config.unet == LORA_KEYS.prepare({"unet": modelscope.published_unet()}, {})["unet"]
    assert config.text == modelscope.published_text()


def test_sections_and_single_configs_are_told_apart():
    vae = {"_class_name": "AutoencoderKL", "block_out_channels": [32, 64], "latent_channels": 3}
    text = {"architectures": ["CLIPTextModel"], "hidden_size": 16, "num_attention_heads": 2}
    whole = component_params({"unet": {**UNET, **TYPES}, "vae": vae, "text_encoder": text})
    assert set(whole) == {"unet", "vae", "text"}
    assert component_params(vae) == {"vae": whole["vae"]}
    assert component_params(text) == {"text": whole["text"]}
    assert whole["unet"].attention_resolutions == [1]
    assert (whole["vae"].embed_dim, whole["text"].skip_last) == (3, 0)


def test_widths_need_not_be_multiples():
    params = modelscope.unet_params({**UNET, **TYPES, "block_out_channels": [64, 96]})
    assert params.widths == [64, 96]
    params.check()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"act_fn": "gelu"}, "unet.act_fn"),
        ({"downsample_padding": 0}, "unet.downsample_padding"),
        ({"mid_block_scale_factor": 2}, "unet.mid_block_scale_factor"),
        ({"norm_num_groups": 16}, "unet.norm_num_groups"),
        ({"attention_head_dim": [8, 16]}, "unet.attention_head_dim"),
        ({"down_block_types": ["DownBlock3D", "DownBlock2D"]}, "unet.down_block_types"),
        ({"up_block_types": ["CrossAttnUpBlock3D", "UpBlock3D"]}, "unet.up_block_types"),
    ],
)
def test_other_networks_are_refused_by_name(change, where):
    with pytest.raises(DataError) as caught:
        modelscope.unet_params({**UNET, **TYPES, **change})
    assert caught.value.where == where


def test_autoencoders_that_attend_are_refused_by_name():
    with pytest.raises(DataError) as caught:
        modelscope.component_params({"vae": {"down_block_types": ["AttnDownEncoderBlock2D"]}})
    assert caught.value.where == "vae.down_block_types"


def test_one_networks_file_is_asked_for_nothing_else():
    targets = {"unet.input_blocks.0.0.weight": (32, 4, 3, 3), "vae.encoder.conv_in.weight": (8, 3, 3, 3)}
    account = modelscope.MODELSCOPE_KEYS.account({"conv_in.weight": tensor(32, 4, 3, 3)}, targets)
    assert account.ok
    assert list(account.used) == ["unet.input_blocks.0.0.weight"]


def test_a_folder_must_be_whole():
    targets = {"unet.input_blocks.0.0.weight": (32, 4, 3, 3), "vae.encoder.conv_in.weight": (8, 3, 3, 3)}
    account = modelscope.MODELSCOPE_KEYS.account({"unet.conv_in.weight": tensor(32, 4, 3, 3)}, targets)
    assert account.missing == ["vae.encoder.conv_in.weight"]


def test_sizes_nobody_gave_are_the_published_ones():
    assert LORA_KEYS.prepare({"unet": UNet3DParams()}, {})["unet"].fps_condition
    factors = {"0": tensor(320, 4, 1, 1), "1": tensor(4, 4, 3, 3)}
    student = LORA_KEYS.prepare({"unet": UNet3DParams()}, factors)["unet"]
    assert not student.fps_condition
    assert student.time_cond_proj_dim == 256
    chosen = modelscope.MODELSCOPE_KEYS.prepare({"unet": UNet3DParams()}, {})
    assert chosen == {"unet": modelscope.published_unet()}


def factors_in(order):
    shapes = {"input_blocks.0.0": (8, 4, 3, 3), "proj_in": (6, 8), "attn1.to_q": (6, 6), "attn2.to_q": (6, 6)}
    shapes |= {"ff.net.2": (6, 24), "proj_out": (8, 6)}
    pairs = [factor for name in order for factor in Layer(name, shapes[name]).factor_shapes(2)]
    return {str(index): tensor(*shape) for index, shape in enumerate(pairs)}, shapes


@pytest.mark.parametrize("older", [False, True])
def test_shapes_tell_in_which_order_diffusers_listed_its_modules(older):
    parts = ["attn1.to_q", "ff.net.2", "attn2.to_q"] if older else ["attn1.to_q", "attn2.to_q", "ff.net.2"]
    tensors, shapes = factors_in(["input_blocks.0.0", "proj_in", *parts, "proj_out"])
    inside = "init_attn.0."
    ours = ["proj_in", "attn1.to_q", "ff.net.2", "attn2.to_q", "proj_out"]  # as our blocks register them
    prefix = {name: inside + ("transformer_blocks.0." if "." in name else "") for name in ours}
    layers = [Layer("input_blocks.0.0", shapes["input_blocks.0.0"])]
    layers += [Layer(prefix[name] + name, shapes[name]) for name in ours]
    account = LORA_KEYS.account(tensors, {"unet": layers})
    names = [name.removesuffix(".lora_up") for name in account.used if name.endswith(".lora_up")]
    assert names[2:5] == [inside + "transformer_blocks.0." + part for part in parts]
    with pytest.raises(WeightsError, match="item 0"):
        LORA_KEYS.account({**tensors, "0": tensor(9, 2, 1, 1)}, {"unet": layers})


def test_the_folder_says_its_sizes(golden_path):
    from videogen_cli.weights.readers import open_checkpoint

    folder = golden_path("t2v-turbo/ms-folder")
    config = json.loads((folder / "case.json").read_text())["config"]
    assert open_checkpoint(folder / "text-to-video-ms").config == config
