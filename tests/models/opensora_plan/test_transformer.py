"""LatteT2V's sizes, published keys, and the way back to its names."""

import numpy as np
import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.opensora_plan.params import component_params
from videogen_cli.models.opensora_plan.weights import LATTE_KEYS, PRETRAINED_KEYS
from videogen_cli.nets.latte import Latte
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.registry import resolve_config, spec
from videogen_cli.weights.readers import open_manifest
from videogen_cli.weights.tensor import from_array

CONFIG = {
    "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 1,
    "cross_attention_dim": 16, "attention_bias": True, "sample_size": [8, 8], "patch_size": 2,
    "activation_fn": "gelu-approximate", "norm_type": "ada_norm_single", "norm_elementwise_affine": False,
    "norm_eps": 1e-6, "caption_channels": 12, "video_length": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", ["17x256x256", "65x256x256", "65x512x512"])
def test_published_keys_and_presets(name, manifest_path):
    manifest = open_manifest(manifest_path(f"opensora-plan/latte_t2v_{name}.json.gz"))
    params = component_params(manifest.config)["transformer"]
    assert resolve_config(spec("opensora-plan"), preset=name, target="cpu").config.transformer == params
    account = LATTE_KEYS.account(manifest.tensors, LATTE_KEYS.targets({"transformer": Latte(params)}))
    assert account.ok and account.keys_used == 968 and not account.ignored


def test_the_pretrained_file_has_the_same_keys(manifest_path):
    manifest = open_manifest(manifest_path("opensora-plan/latte_t2v_pt.json.gz"))
    latte = Latte(LatteParams())
    assert PRETRAINED_KEYS.account(manifest.tensors, PRETRAINED_KEYS.targets({"transformer": latte})).ok


def test_export_gives_back_what_was_read():
    draw = np.random.default_rng(0)
    targets = LATTE_KEYS.targets({"transformer": Latte(component_params(CONFIG)["transformer"])})
    arrays = {n.removeprefix("transformer."): draw.standard_normal(s).astype(np.float32) for n, s in targets.items()}
    account = LATTE_KEYS.account({name: from_array(array) for name, array in arrays.items()}, targets)
    account.require_ok("test")
    back = LATTE_KEYS.export(account.tensors).tensors
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name].numpy(), array)


def test_wrappers_and_tables_of_positions_are_known():
    targets = LATTE_KEYS.targets({"transformer": Latte(component_params(CONFIG)["transformer"])})
    tensors = {
        f"module.{n.removeprefix('transformer.')}": from_array(np.zeros(s, np.float32)) for n, s in targets.items()
    }
    tensors["pos_embed.pos_embed"] = from_array(np.zeros((1, 16, 16), np.float32))
    account = LATTE_KEYS.account(tensors, targets)
    assert account.ok and list(account.ignored) == ["pos_embed.pos_embed"]


def test_absent_keys_have_the_defaults_of_the_original():
    few = {key: CONFIG[key] for key in ("in_channels", "patch_size", "sample_size", "caption_channels", "norm_type")}
    found = component_params({**few, "cross_attention_dim": 16 * 88})["transformer"]
    assert (found.num_attention_heads, found.attention_head_dim, found.num_layers) == (16, 88, 1)
    assert (found.out_channels, found.activation, found.attention_bias) == (4, "geglu", False)
    assert (found.norm_affine, found.norm_eps, found.video_length) == (True, 1e-5, 16)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("norm_type", "layer_norm"),
        ("activation_fn", "swish"),
        ("attention_type", "gated"),
        ("sample_size", [8, 16]),
        ("cross_attention_dim", 24),
        ("caption_channels", None),
        ("dropout", 0.1),
        ("only_cross_attention", True),
    ],
)
def test_other_networks_are_refused(key, value):
    with pytest.raises(DataError, match=key):
        component_params({**CONFIG, key: value})
