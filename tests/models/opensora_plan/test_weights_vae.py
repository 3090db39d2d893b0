"""The video autoencoder's checkpoints: with and without the loss, whole and from image autoencoders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from videogen_cli.errors import DataError, WeightsError
from videogen_cli.models.opensora_plan.weights_vae import CAUSAL_VAE_KEYS, INFLATED_KEYS, inflated_params, vae_params
from videogen_cli.nets.autoencoder_loss import AutoencoderLoss
from videogen_cli.nets.params.vae3d import CausalVAEParams
from videogen_cli.nets.vae3d import CausalVAE
from videogen_cli.weights.tensor import LazyTensor, from_array

SMALL = {
    "hidden_size": 4,
    "hidden_size_mult": [1, 2],
    "num_res_blocks": 1,
    "norm_groups": 2,
    "encoder_resnet_blocks": ["ResnetBlock3D"] * 2,
    "decoder_resnet_blocks": ["ResnetBlock3D"] * 2,
    "encoder_spatial_downsample": ["SpatialDownsample2x", ""],
    "encoder_temporal_downsample": ["TimeDownsample2x", ""],
    "decoder_spatial_upsample": ["", "SpatialUpsample2x"],
    "decoder_temporal_upsample": ["", "TimeUpsample2x"],
    "disc_ndf": 2,
    "vgg_channels": [1, 2, 2, 3, 3],
}


def cells(config: dict) -> dict:
    params = vae_params(config)
    return {"vae": CausalVAE(params["vae"]), "loss": AutoencoderLoss(params["loss"])}


def drawn(named: dict[str, tuple[int, ...]]) -> dict[str, LazyTensor]:
    draws = np.random.default_rng(0)
    return {name: from_array(draws.standard_normal(shape).astype(np.float32)) for name, shape in named.items()}


def listed(path: Path, *sections: str) -> dict[str, LazyTensor]:
    entries = json.loads(path.read_text())
    named = {key: value["shape"] for section in sections for key, value in entries[section].items()}
    return {key: from_array(np.broadcast_to(np.float32(0), shape)) for key, shape in named.items()}


def test_a_file_may_lack_the_loss_or_hold_it_alone() -> None:
    networks = cells(SMALL)
    targets = CAUSAL_VAE_KEYS.targets(networks)
    everything = CAUSAL_VAE_KEYS.export(drawn(targets)).tensors
    assert CAUSAL_VAE_KEYS.account(everything, targets).ok
    without = {name: tensor for name, tensor in everything.items() if not name.startswith("loss.")}
    assert CAUSAL_VAE_KEYS.account(without, targets).ok
    alone = {name: t for name, t in everything.items() if name.startswith(("loss.", "decoder.conv_out."))}
    assert CAUSAL_VAE_KEYS.account(alone, targets).ok
    del without["encoder.norm_out.bias"]
    assert CAUSAL_VAE_KEYS.account(without, targets).missing == ["vae.encoder.norm_out.bias"]
    del alone["decoder.conv_out.conv.bias"]
    assert CAUSAL_VAE_KEYS.account(alone, targets).missing == ["vae.decoder.conv_out.conv.bias"]


def test_mindspore_files_name_norms_otherwise() -> None:
    targets = CAUSAL_VAE_KEYS.targets({"vae": CausalVAE(vae_params(SMALL)["vae"])})
    published = CAUSAL_VAE_KEYS.export(drawn(targets)).tensors
    words, norm = {"weight": "gamma", "bias": "beta"}, re.compile(r"(norm\w*)\.(weight|bias)$")
    file = {norm.sub(lambda m: f"{m[1]}.{words[m[2]]}", key): tensor for key, tensor in published.items()}
    assert "decoder.norm_out.gamma" in file and "encoder.mid.attn_1.norm.beta" in file
    account = CAUSAL_VAE_KEYS.account(file, targets)
    assert account.ok
    assert set(CAUSAL_VAE_KEYS.export(account.tensors, account.metadata).tensors) == set(file)
    assert set(CAUSAL_VAE_KEYS.export(account.tensors).tensors) == set(published)


@pytest.mark.parametrize("name", ["LPIPSWithDiscriminator", "LPIPSWithDiscriminator3D", "SimpleLPIPS"])
def test_sizes_of_the_loss_are_read_from_the_file(name: str) -> None:
    config = {**SMALL, "loss_class": name, "disc_num_layers": 2}
    tensors = CAUSAL_VAE_KEYS.export(drawn(CAUSAL_VAE_KEYS.targets(cells(config)))).tensors
    wanted = vae_params(config)["loss"]
    found = CAUSAL_VAE_KEYS.prepare(vae_params({}), tensors)["loss"]
    assert found.perceptual == wanted.perceptual
    assert found.adversarial == wanted.adversarial
    assert not found.adversarial or found.discriminator == wanted.discriminator


def test_published_files(manifest_path: Callable[[str], Path]) -> None:
    path = manifest_path("opensora-plan/causal_vae_488.json")
    targets = CAUSAL_VAE_KEYS.targets(cells({}))
    assert CAUSAL_VAE_KEYS.account(listed(path, "tensors"), targets).ok
    both = CAUSAL_VAE_KEYS.account(listed(path, "tensors", "optional_tensors"), targets)
    assert both.ok
    assert not any(name.startswith("loss.discriminator.main.0") for name in both.ignored)


def test_the_published_map_of_names(manifest_path: Callable[[str], Path]) -> None:
    rows = json.loads(manifest_path("opensora-plan/inflate_key_map.json").read_text())["map"]
    targets = INFLATED_KEYS.targets({"vae": CausalVAE(CausalVAEParams())})
    linear = {row["diffusers"] for row in rows.values() if ".attentions." in row["diffusers"]}
    for layout in ("ldm", "diffusers"):
        named = {row[layout]: row.get("shape2d_ldm", row["shape3d"]) for row in rows.values()}
        named = {key: shape[:2] if key in linear else shape for key, shape in named.items()}
        tensors = {key: from_array(np.broadcast_to(np.float32(0), shape)) for key, shape in named.items()}
        account = INFLATED_KEYS.account(tensors, targets)
        assert account.ok
        assert {name: sources[0] for name, sources in account.used.items()} == {
            f"vae.{name}": row[layout] for name, row in rows.items()
        }


def test_inflated_kernels_see_the_last_frame_and_come_back() -> None:
    targets = INFLATED_KEYS.targets({"vae": cells(SMALL)["vae"]})
    flat = {name: shape if len(shape) < 5 else (*shape[:2], *shape[3:]) for name, shape in targets.items()}
    deeper = {key for key in targets if len(targets[f"{key.rpartition('.')[0]}.weight"]) == 5}
    image = {}
    for key, tensor in drawn(flat).items():
        module, _, kind = key.removeprefix("vae.").rpartition(".")
        image[f"{module.removesuffix('.conv')}.{kind}" if key in deeper else f"{module}.{kind}"] = tensor
    account = INFLATED_KEYS.account(image, targets)
    assert account.ok
    kernel = account.tensors["vae.encoder.conv_in.conv.weight"].numpy()
    assert np.array_equal(kernel[:, :, -1], image["encoder.conv_in.weight"].numpy())
    assert not kernel[:, :, :-1].any()
    back = INFLATED_KEYS.export(account.tensors, account.metadata).tensors
    assert {name: tensor.shape for name, tensor in back.items()} == {n: t.shape for n, t in image.items()}
    assert all(np.array_equal(back[name].numpy(), tensor.numpy()) for name, tensor in image.items())
    trained = {**account.tensors, "vae.encoder.conv_in.conv.weight": from_array(np.ones_like(kernel))}
    with pytest.raises(WeightsError, match="several frames"):
        INFLATED_KEYS.export(trained).tensors["encoder.conv_in.weight"].numpy()


def test_image_configs_give_the_video_sizes() -> None:
    diffusers = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
    ddconfig = {"in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_channels": 4}
    for config in (diffusers, {"ddconfig": ddconfig, "embed_dim": 4}):
        assert inflated_params(config)["vae"] == CausalVAEParams()


def test_the_constructor_defaults_are_not_the_published_ones() -> None:
    down = ["", "TimeDownsample2x", "TimeDownsample2x", ""]
    assert vae_params({})["vae"].encoder_temporal_downsample == down


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"double_z": False}, "vae.double_z"),
        ({"dropout": 0.1}, "vae.dropout"),
        ({"encoder_attention": "LinAttnBlock"}, "vae.encoder_attention"),
        ({"encoder_temporal_downsample": ["TimeDownsampleResAdv2x", "", "", ""]}, "vae.encoder_temporal_downsample"),
        ({"hidden_size_mult": [1, 2]}, "vae.encoder_resnet_blocks"),
        ({"loss_type": "somewhere.VQLPIPS"}, "vae.loss_type"),
        ({"use_actnorm": True}, "loss.use_actnorm"),
        ({"disc_loss": "wgan"}, "loss.disc_loss"),
    ],
)
def test_what_there_is_not_is_named(config: dict, where: str) -> None:
    with pytest.raises(DataError) as caught:
        vae_params(config)
    assert caught.value.where == where
