"""The video autoencoder's checkpoints: the published one with or without its training loss, and inflated images'.

Upstream: PKU-YuanGroup/Open-Sora-Plan v1.0.0 ``CausalVAEModel``; its ``loss`` is a module of the same state dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from videogen_cli.nets.params.autoencoder_loss import AutoencoderLossParams, autoencoder_loss_params
from videogen_cli.nets.params.lpips import lpips_params
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.params.vae3d import CausalVAEParams, causal_vae_params
from videogen_cli.weights.inflation import InflatedKeys
from videogen_cli.weights.keymap import Rule, ignore, rename
from videogen_cli.weights.keys.autoencoder import mindspore_norms
from videogen_cli.weights.keys.lpips import trunk_sizes
from videogen_cli.weights.latent_autoencoder import autoencoder_params, diffusers_params
from videogen_cli.weights.parts import PartedKeys
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.variants import Variants

_LOSS = "loss."
_DISCRIMINATOR = "loss.discriminator.main."


@dataclass(frozen=True)
class CausalVAEKeys(PartedKeys):
    """The published keys, which are ours; networks of the loss have the sizes they have in the file."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params with the loss networks' sizes, and without a discriminator where the file has none."""
        if "loss" in params and any(key.startswith(_LOSS) for key in tensors):
            params = {**params, "loss": _loss_sizes(params["loss"], tensors)}
        return params


def _causal_vae_keys(*variant: Rule) -> CausalVAEKeys:
    """Return the map; the rules of a ``variant`` go before that of the published names."""
    return CausalVAEKeys(
        (
            ignore("loss.discriminator.{*}.num_batches_tracked", "count of batches, which a fixed momentum needs not"),
            ignore("loss.perceptual_loss.scaling_layer.{*}", "constants of the input's scale, built in"),
            rename("loss.{*}", "loss.{*}"),
            *variant,
            rename("{*}", "vae.{*}"),
        ),
        strip=("module.",),
        # a file of the loss alone has the last layer too, by which it weighs its parts
        parts=("loss.", "vae."),
        needed=("vae.decoder.conv_out.",),
    )


# mindone's convert_vae.py writes the published names, those of norms excepted
CAUSAL_VAE_KEYS = Variants({"upstream": _causal_vae_keys(), "mindspore": _causal_vae_keys(*mindspore_norms("vae."))})
INFLATED_KEYS = InflatedKeys()


def vae_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``vae`` and ``loss`` for the original's config, or one with the section ``vae``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    config = config.get("vae", config)
    sizes = config if "conv_out" not in config else {**config, **_of_last_layer(config["conv_out"]["in"])}
    return {"vae": causal_vae_params(sizes), "loss": autoencoder_loss_params(config)}


def _of_last_layer(channels: int) -> dict[str, Any]:
    """Return the sizes of the smallest autoencoder with such a last layer, which a loss is recorded with."""
    blocks = {"encoder_resnet_blocks": ["ResnetBlock3D"], "decoder_resnet_blocks": ["ResnetBlock3D"]}
    names = ("encoder_spatial_downsample", "encoder_temporal_downsample")
    others = ("decoder_spatial_upsample", "decoder_temporal_upsample")
    resamplers = {name: [""] for name in (*names, *others)}
    return {"hidden_size": channels, "hidden_size_mult": [1], "norm_groups": channels, **blocks, **resamplers}


def inflated_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``vae`` for its own config, or for that of the image autoencoder it starts from.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    if not ("ddconfig" in config or "block_out_channels" in config):
        return {"vae": vae_params(config)["vae"]}
    image = image_params(config)
    levels = len(image.channel_mult)
    halved = ["TimeDownsample2x"] * 2 + [""] * levels
    spatial = ["SpatialUpsample2x"] * (levels - 1)
    params = CausalVAEParams(
        hidden_size=image.base_channels,
        hidden_size_mult=image.channel_mult,
        num_res_blocks=image.num_res_blocks,
        z_channels=image.z_channels,
        embed_dim=image.embed_dim,
        norm_groups=image.norm_groups,
        encoder_resnet_blocks=["ResnetBlock3D"] * levels,
        encoder_spatial_downsample=["SpatialDownsample2x"] * (levels - 1) + [""],
        encoder_temporal_downsample=halved[:levels],
        decoder_resnet_blocks=["ResnetBlock3D"] * levels,
        decoder_spatial_upsample=["", *spatial],
        decoder_temporal_upsample=["TimeUpsample2x" if word else "" for word in halved[:levels][::-1]],
    )
    return {"vae": params}


def image_params(config: Mapping[str, Any]) -> AutoencoderKLParams:
    """Return an image autoencoder's params for latent diffusion's hyper-parameters or diffusers'.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    if "ddconfig" in config:
        return autoencoder_params(config["ddconfig"], config.get("embed_dim", config["ddconfig"].get("z_channels")))
    return diffusers_params(config)


def perceptual_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``lpips``."""
    return {"lpips": lpips_params(config)}


def _loss_sizes(params: AutoencoderLossParams, tensors: Mapping[str, LazyTensor]) -> AutoencoderLossParams:
    """Read sizes from the shapes of the loss networks' layers."""
    trunk = {key: tensor for key, tensor in tensors.items() if key.startswith("loss.perceptual_loss.")}
    perceptual = trunk_sizes(trunk, params.perceptual, "loss.perceptual_loss.")
    first = tensors.get(f"{_DISCRIMINATOR}0.weight")
    if first is None:
        return replace(params, perceptual=perceptual, adversarial=False)
    last = max(int(key.removeprefix(_DISCRIMINATOR).split(".")[0]) for key in tensors if key.startswith(_DISCRIMINATOR))
    discriminator = replace(
        params.discriminator,
        in_channels=first.shape[1],
        base_channels=first.shape[0],
        num_layers=(last - 2) // 3,
        video=len(first.shape) == 5,
    )
    return replace(params, perceptual=perceptual, discriminator=discriminator, adversarial=True)
