"""Hugging Face's text encoders: their configs, and their keys there and back."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DataError
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))

from videogen_cli.models.moviegen.weights_text import METACLIP_KEYS  # noqa: E402 (the device is started first)
from videogen_cli.nets.clip import CLIPText  # noqa: E402
from videogen_cli.nets.params.clip import CLIPTextParams  # noqa: E402
from videogen_cli.nets.params.hugging_face import clip_text_params, t5_params  # noqa: E402
from videogen_cli.nets.params.t5 import T5Params  # noqa: E402
from videogen_cli.nets.t5 import T5Encoder  # noqa: E402
from videogen_cli.runtime.module import build  # noqa: E402
from videogen_cli.weights.keys.t5 import t5_encoder_keys  # noqa: E402
from videogen_cli.weights.tensor import from_array  # noqa: E402

CLIP = CLIPTextParams(
    vocab_size=9, context_length=4, width=6, heads=2, layers=1, embed_dim=5, skip_last=0, mlp_width=7,
    activation="quick_gelu", projection="linear",
)  # fmt: skip
T5 = T5Params(vocab_size=9, width=6, head_dim=2, heads=2, mlp_width=7, layers=2)


def exported(key_map, targets, metadata=None):
    """Return a file of the original's names with numbers in it."""
    rng = np.random.default_rng(0)
    ours = {name: from_array(rng.standard_normal(shape).astype(np.float32)) for name, shape in targets.items()}
    return dict(key_map.export(ours, metadata).tensors)


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name].numpy(), b[name].numpy()) for name in a)


@pytest.mark.parametrize("extra", [(), ("vision_model.post_layernorm.bias", "visual_projection.weight", "logit_scale")])
def test_clip_there_and_back(extra):
    params = METACLIP_KEYS.prepare({"metaclip": CLIP}, {"text_projection.weight": None})
    targets = METACLIP_KEYS.targets({"metaclip": build(CLIPText, params["metaclip"])})
    file = exported(METACLIP_KEYS, targets)
    assert file["text_model.encoder.layers.0.self_attn.k_proj.bias"].shape == (6,)
    assert file["text_projection.weight"].shape == (5, 6)
    rest = {name: from_array(np.zeros(2, np.float32)) for name in (*extra, "text_model.embeddings.position_ids")}
    account = METACLIP_KEYS.account({**file, **rest}, targets)
    assert account.ok and set(account.ignored) == set(rest)
    q, k, v = (file[f"text_model.encoder.layers.0.self_attn.{part}_proj.weight"].numpy() for part in "qkv")
    joint = account.tensors["metaclip.transformer.resblocks.0.attn.in_proj_weight"].numpy()
    np.testing.assert_array_equal(joint, np.concatenate([q, k, v]))
    assert same(dict(METACLIP_KEYS.export(account.tensors, account.metadata).tensors), file)


def test_a_text_tower_alone_has_no_projection():
    params = METACLIP_KEYS.prepare({"metaclip": CLIP}, {})
    targets = METACLIP_KEYS.targets({"metaclip": build(CLIPText, params["metaclip"])})
    assert params["metaclip"].projection == "none"
    assert not [name for name in targets if "projection" in name or "logit_scale" in name]


@pytest.mark.parametrize("word", ["weight", "embedding_table"])
@pytest.mark.parametrize("tables", [("shared",), ("encoder.embed_tokens",), ("shared", "encoder.embed_tokens")])
def test_t5_there_and_back(word, tables):
    keys = t5_encoder_keys("text.")
    targets = keys.targets({"text": build(T5Encoder, T5)})
    file = exported(keys, targets, {"variant": "mindspore"} if word == "embedding_table" else None)
    table = file.pop(f"shared.{word}")
    file |= {f"{name}.{word}": table for name in tables}
    decoder = {"decoder.final_layer_norm.weight": table, "lm_head.weight": table}
    account = keys.account({**file, **decoder}, targets)
    assert account.ok and set(decoder) <= set(account.ignored)
    assert account.tensors["text.shared.weight"].numpy() is not None
    assert f"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.{word}" in file
    back = dict(keys.export(account.tensors, account.metadata).tensors)
    if tables == ("encoder.embed_tokens",):  # an encoder reads the table under either name
        back[f"encoder.embed_tokens.{word}"] = back.pop(f"shared.{word}")
    assert same(back, file)


def test_configs_say_which_network_it_is():
    t5 = t5_params({"d_model": 6, "d_kv": 2, "num_heads": 2, "d_ff": 7, "num_layers": 2, "vocab_size": 9,
                    "feed_forward_proj": "gated-gelu"})  # fmt: skip
    assert t5 == T5
    assert (t5_params({}).gated, t5_params({}).activation, t5_params({}).width) == (False, "relu", 512)
    assert t5_params({"feed_forward_proj": "gated-silu"}).activation == "silu"
    text = {"vocab_size": 9, "max_position_embeddings": 4, "hidden_size": 6, "num_attention_heads": 2,
            "num_hidden_layers": 1, "intermediate_size": 7, "projection_dim": 5}  # fmt: skip
    assert clip_text_params(text) == CLIP
    assert clip_text_params({"text_config": text, "projection_dim": 5}) == CLIP
    assert clip_text_params({**text, "architectures": ["CLIPTextModel"]}).projection == "none"


@pytest.mark.parametrize(
    ("function", "config", "where"),
    [
        (t5_params, {"feed_forward_proj": "gated-mish"}, "feed_forward_proj"),
        (t5_params, {"model_type": "umt5"}, "model_type"),
        (clip_text_params, {"hidden_act": "relu"}, "hidden_act"),
    ],
)
def test_configs_of_networks_we_do_not_have(function, config, where):
    with pytest.raises(DataError) as caught:
        function(config)
    assert caught.value.where == where
