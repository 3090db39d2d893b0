"""VideoComposer's checkpoints: what every key becomes.

Names: ali-vilab/videocomposer tools/videocomposer/unet_sd.py; mindspore-lab/mindone examples/videocomposer for the
MindSpore files.
"""

from __future__ import annotations

from videogen_cli.weights.keymap import KeyMap, Rule, rename
from videogen_cli.weights.keys.unet import vgen_unet_rules
from videogen_cli.weights.parts import PartedKeys
from videogen_cli.weights.variants import Variants

_LAYER = {"0.fn.to_qkv": "to_qkv", "0.fn.to_out.0": "to_out", "1.net.0.0": "widen", "1.net.2": "narrow"}


def _encoder(convolutions: str, layers: str, target: str, norm: dict[str, str]) -> list[Rule]:
    """Return the rules of one condition's encoder."""
    names = {"0": "conv1", "3": "conv2", "5": "conv3"}
    rules = [rename(f"{convolutions}.{old}.{{*}}", f"{target}.{new}.{{*}}") for old, new in names.items()]
    old, new = f"{layers}.layers.{{}}", f"{target}.layers.{{}}"
    rules += [rename(f"{old}.{part}.{{*}}", f"{new}.{name}.{{*}}") for part, name in _LAYER.items()]
    return rules + [rename(f"{old}.0.norm.{word}", f"{new}.norm.{ours}") for word, ours in norm.items()]


def _condition_rules(norm: dict[str, str]) -> list[Rule]:
    """Return the rules of everything that VideoComposer has and ModelScope's UNet has not."""
    target = "unet.conditions"
    return [
        rename("pre_image_condition.{*}", f"{target}.image.{{*}}"),
        rename("pre_image.0.{*}", "unet.fusion.{*}"),
        rename("fps_embedding.{*}", "unet.fps_embedding.{*}"),
        *_encoder("masked_embedding", "mask_embedding_after", f"{target}.masked", norm),
        *_encoder("{*}_embedding", "{*}_embedding_after", f"{target}.{{*}}", norm),
    ]


def _unet_keys(*, mindspore: bool = False, listed_downsampling: bool = False) -> KeyMap:
    norm = {"gamma": "weight", "beta": "bias"} if mindspore else {"weight": "weight", "bias": "bias"}
    unet = vgen_unet_rules(mindspore=mindspore, listed_downsampling=listed_downsampling)
    return PartedKeys(
        (*_condition_rules(norm), *unet),
        strip=("unet.",),  # the port's trainer puts it before every key
        parts=("unet.",),  # a file may hold the condition encoders alone
        needed=("unet.conditions.",),
    )


UNET_KEYS = Variants(
    {
        "torch": _unet_keys(),
        "mindspore-listed": _unet_keys(mindspore=True, listed_downsampling=True),  # non_ema_228000-7f157ec2.ckpt
        "mindspore": _unet_keys(mindspore=True),  # non_ema_228000-3bb2ee9a.ckpt
    }
)
