"""ModelScope's UNet becomes DEMO's start point and comes back; published names find their place."""

import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.models.demo.weights import DEMO_KEYS, MODELSCOPE_KEYS, MOTION_KEYS, VAE_KEYS
from videogen_cli.weights.tensor import from_array

LAYER = "transformer_blocks.0.attn1.to_q.weight"
BASE = {
    "time_embed.0.weight": (3, 2),
    "input_blocks.0.1.proj_in.weight": (4, 4, 1),
    "input_blocks.1.0.temopral_conv.conv1.2.weight": (2, 2, 3, 1, 1),
    "input_blocks.1.1.proj_in.weight": (4, 4),
    f"input_blocks.1.1.{LAYER}": (4, 4),
    "input_blocks.1.2.proj_in.weight": (4, 4, 1),
    "input_blocks.2.op.weight": (2, 2, 3, 3),
    "output_blocks.0.0.in_layers.0.weight": (2,),
    "output_blocks.0.1.conv.weight": (2, 2, 3, 3),
    "middle_block.1.proj_in.weight": (4, 4),
    "middle_block.2.proj_in.weight": (4, 4, 1),
    "middle_block.3.in_layers.0.weight": (2,),
}
DEMO = {  # our name -> the base's key
    "time_embed.0.weight": "time_embed.0.weight",
    "init_attn.0.proj_in.weight": "input_blocks.0.1.proj_in.weight",
    "input_blocks.1.0.temporal_conv.conv1.2.weight": "input_blocks.1.0.temopral_conv.conv1.2.weight",
    "input_blocks.1.1.proj_in.weight": "input_blocks.1.1.proj_in.weight",
    f"input_blocks.1.1.{LAYER}": f"input_blocks.1.1.{LAYER}",
    "input_blocks.1.2.proj_in.weight": "input_blocks.1.1.proj_in.weight",
    f"input_blocks.1.2.{LAYER}": f"input_blocks.1.1.{LAYER}",
    "input_blocks.1.3.proj_in.weight": "input_blocks.1.2.proj_in.weight",
    "input_blocks.2.0.op.weight": "input_blocks.2.op.weight",
    "output_blocks.0.0.in_layers.0.weight": "output_blocks.0.0.in_layers.0.weight",
    "output_blocks.0.1.conv.weight": "output_blocks.0.1.conv.weight",
    "middle_block.1.proj_in.weight": "middle_block.1.proj_in.weight",
    "middle_block.2.proj_in.weight": "middle_block.1.proj_in.weight",
    "middle_block.3.proj_in.weight": "middle_block.2.proj_in.weight",
    "middle_block.4.in_layers.0.weight": "middle_block.3.in_layers.0.weight",
}


@pytest.fixture
def base():
    draws = np.random.default_rng(0)
    return {name: from_array(draws.standard_normal(shape).astype(np.float32)) for name, shape in BASE.items()}


def test_motion_blocks_start_as_copies_of_the_spatial_ones(base):
    targets = {f"unet.{ours}": BASE[theirs] for ours, theirs in DEMO.items()}
    account = MODELSCOPE_KEYS.account(base, targets)
    assert account.ok
    assert account.keys_used == len(BASE)
    assert {name: sources[0] for name, sources in account.used.items()} == {f"unet.{k}": v for k, v in DEMO.items()}
    back = MODELSCOPE_KEYS.export(account.tensors).tensors
    assert set(back) == set(BASE)
    assert all(np.array_equal(back[name].numpy(), base[name].numpy()) for name in BASE)


def test_the_base_unet_takes_its_own_keys(base):
    targets = {
        f"unet.{DEMO_KEYS.resolve(name).targets[0].removeprefix('unet.')}": shape for name, shape in BASE.items()
    }
    account = MODELSCOPE_KEYS.account(base, targets)
    assert account.ok
    assert len(account.used) == len(BASE)


def test_trained_motion_blocks_are_not_dropped(base):
    account = MODELSCOPE_KEYS.account(base, {f"unet.{ours}": BASE[theirs] for ours, theirs in DEMO.items()})
    account.tensors["unet.input_blocks.1.2.proj_in.weight"] = from_array(np.zeros((4, 4), np.float32))
    with pytest.raises(WeightsError, match="was trained"):
        MODELSCOPE_KEYS.export(account.tensors)


def test_a_missing_spatial_key_misses_both(base):
    del base["middle_block.1.proj_in.weight"]
    account = MODELSCOPE_KEYS.account(base, {f"unet.{ours}": BASE[theirs] for ours, theirs in DEMO.items()})
    assert account.missing == ["unet.middle_block.1.proj_in.weight"]
    assert "unet.middle_block.2.proj_in.weight" not in account.used


@pytest.mark.parametrize(
    ("keys", "theirs", "ours"),
    [
        (VAE_KEYS, "first_stage_model.encoder.conv_in.bias", "vae.encoder.conv_in.bias"),
        (VAE_KEYS, "model.diffusion_model.out.2.bias", None),
        (MOTION_KEYS, "module.ln_final.bias", "motion.ln_final.bias"),
        (MOTION_KEYS, "visual.proj", None),
        (DEMO_KEYS, "input_blocks.3.op.bias", "unet.input_blocks.3.0.op.bias"),
    ],
)
def test_published_names(keys, theirs, ours):
    assert keys.resolve(theirs).targets == ([ours] if ours else [])
