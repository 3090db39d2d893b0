"""The networks that VideoComposer uses and never trains: sizes, names, and every variant of their files."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import DataError, WeightsError
from videogen_cli.models.videocomposer import frozen_params, frozen_weights
from videogen_cli.nets.midas import MiDaS
from videogen_cli.nets.params.midas import MiDaSParams
from videogen_cli.nets.params.pidinet import PiDiNetParams
from videogen_cli.nets.pidinet import PiDiNet
from videogen_cli.registry import load_attr, spec
from videogen_cli.runtime.module import build
from videogen_cli.weights.readers import open_manifest
from videogen_cli.weights.tensor import from_array

FILES = {
    "midas_v3_dpt_large.pth.json.gz": "midas",
    "midas_v3_dpt_large-c8fd1049.ckpt.json.gz": "midas",
    "open_clip_pytorch_model.bin.json.gz": "openclip",
    "open_clip_vit_h_14-9bb07a10.ckpt.json.gz": "openclip",
    "sd_v2-1_base-7c8d09ce.ckpt.json.gz": "sd",
    "v2-1_512-ema-pruned.ckpt.json.gz": "sd",
    "sketch_simplification_gan.pth.json": "sketch",
    "sketch_simplification_gan-b928fdfa.ckpt.json": "sketch",
    "table5_pidinet.pth.json": "pidinet",
    "table5_pidinet-37904a63.ckpt.json": "pidinet",
}
MIDAS = MiDaSParams(image_size=32, width=4, heads=2, layers=8, neck_channels=[1, 2, 3, 4], fusion_channels=2)


@pytest.mark.parametrize("file", FILES)
def test_published_files_fit_the_defaults(manifest_path, file):
    model = spec("videocomposer")
    kind = next(kind for kind in model.checkpoints if kind.type == FILES[file])
    (name,) = kind.components
    key_map, tensors = load_attr(kind.key_map), open_manifest(manifest_path(f"videocomposer/{file}")).tensors
    params = key_map.prepare({name: getattr(model.config(), name)}, tensors)[name]
    cell = build(load_attr(model.component(name).build), params)
    account = key_map.account(tensors, key_map.targets({name: cell}))
    assert account.ok
    assert account.keys_used == len(tensors)
    assert set(key_map.export(account.tensors, account.metadata).tensors) == set(tensors)


@pytest.mark.parametrize("variant", frozen_weights.MIDAS_KEYS.maps)
def test_midas_there_and_back(variant):
    keys, draws = frozen_weights.MIDAS_KEYS, np.random.default_rng(0)
    ours = keys.targets({"midas": build(MiDaS, MIDAS)})
    weights = {name: from_array(draws.standard_normal(shape).astype(np.float32)) for name, shape in ours.items()}
    theirs = keys.export(weights, {"variant": variant}).tensors
    marks = {"torch": "blocks.7.norm1.weight", "mindspore": "blocks.3.1.norm1.gamma"}
    assert marks.get(variant, "blocks.7.norm1.gamma") in theirs
    assert ("conv1.0.conv.weight" in theirs) == (variant == "mindspore")
    assert "conv1.1.weight" in theirs
    account = keys.account(theirs, ours)
    assert account.ok
    assert account.metadata.get("variant", "torch") == variant
    assert all(np.array_equal(account.tensors[name].numpy(), weights[name].numpy()) for name in ours)


def test_converted_kernels_are_recognised_by_their_size():
    keys, params = frozen_weights.PIDINET_KEYS, PiDiNetParams(channels=2, dilation_channels=0)
    for converted in (False, True):
        made = PiDiNetParams(channels=2, dilation_channels=0, converted=converted)
        tensors = {
            name.removeprefix("pidinet."): from_array(np.zeros(shape, np.float32))
            for name, shape in keys.targets({"pidinet": build(PiDiNet, made)}).items()
        }
        assert keys.prepare({"pidinet": params}, tensors)["pidinet"].converted == converted


def test_the_rest_of_stable_diffusion_is_ignored_whatever_it_is():
    names = ["betas", "sqrt_recip_alphas_cumprod", "model.diffusion_model.out.2.bias", "cond_stage_model.x", "odd"]
    tensors = {name: from_array(np.zeros(1, np.float32)) for name in names}
    account = frozen_weights.SD_KEYS.account(tensors, {"vae.quant_conv.bias": (8,)})
    assert list(account.ignored) == names
    assert "no part of the autoencoder" in account.ignored["odd"]
    with pytest.raises(WeightsError, match="none of its 5 keys"):
        account.require_ok("a file without an autoencoder")


def test_sections_and_plain_configs_are_read_alike():
    edges = {"inplane": 8, "pdcs": "a16"}
    wanted = {"pidinet": PiDiNetParams(channels=8, dilation_channels=0, attention=False, operators="a16")}
    assert frozen_params.pidinet_params(edges) == frozen_params.pidinet_params({"pidinet": edges}) == wanted
    assert frozen_params.midas_params({"dim": 64})["midas"] == MiDaSParams(width=64)
    assert frozen_params.sketch_params({"width_divisor": 4, "mean": 0.5})["sketch"].width_divisor == 4


CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 28, "layers": 1, "width": 8, "head_width": 4, "patch_size": 14},
    "text_cfg": {"vocab_size": 50, "width": 8, "heads": 2, "layers": 2},
}


def test_text_is_read_before_the_last_block_unless_said():
    assert frozen_params.clip_params(CLIP)["clip"].text.skip_last == 1
    assert frozen_params.clip_params({**CLIP, "layer": "last"})["clip"].text.skip_last == 0


@pytest.mark.parametrize(
    ("function", "config", "where"),
    [
        ("clip_params", {**CLIP, "layer": "pooled"}, "layer"),
        ("pidinet_params", {"inplane": 8}, "pidinet.pdcs"),
        ("pidinet_params", {"inplane": 8, "pdcs": "carv5"}, "pidinet.pdcs"),
        ("vae_params", {"embed_dim": 4}, "ddconfig"),
        ("vae_params", {"ddconfig": {"tanh_out": True}}, "ddconfig.tanh_out"),
        ("vae_params", {"ddconfig": {"ch": 32}}, "ddconfig.in_channels"),
    ],
)
def test_what_we_do_not_have_is_named(function, config, where):
    with pytest.raises(DataError) as error:
        getattr(frozen_params, function)(config)
    assert error.value.where == where
