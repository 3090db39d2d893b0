"""OpenCLIP as published: its hyper-parameters (model config JSON) and key names, for ``nets.clip.OpenCLIP``.

Source: mlfoundations/open_clip 2.24.0, ``open_clip/model.py`` (CLIPVisionCfg, CLIPTextCfg, CLIP); the MindSpore names
are those of ``open_clip_vit_h_14-9bb07a10.ckpt`` (mindspore-lab/mindone).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.clip import CLIPTextParams, CLIPVisionParams, OpenCLIPParams
from videogen_cli.originals import only_ours, required
from videogen_cli.weights.keymap import Rule, ignore, rename

# Switch -> the values under which the network is ours.
_VISION_SWITCHES: dict[str, Any] = {
    "ls_init_value": None,
    "patch_dropout": (0, 0.0),  # acts in training only, and so could be allowed; no published model has it
    "input_patchnorm": False,
    "global_average_pool": False,
    "attentional_pool": False,
    "timm_model_name": None,
    "no_ln_pre": False,
    "pool_type": "tok",
    "final_ln_after_pool": False,
    "pos_embed_type": "learnable",
}
_TEXT_SWITCHES: dict[str, Any] = {
    "ls_init_value": None,
    "hf_model_name": None,
    "embed_cls": False,
    "pool_type": "argmax",
    "no_causal_mask": False,
    "proj_bias": False,
}


def openclip_params(config: Mapping[str, Any], skip_last: int = 0) -> OpenCLIPParams:
    """Return the params of a config with ``embed_dim``, ``vision_cfg``, ``text_cfg`` and ``quick_gelu``.

    Args:
        config: the original's; keys that say nothing about the network are left alone.
        skip_last: blocks at the end of the text tower that its states do without.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    vision, text = _section(config, "vision_cfg"), _section(config, "text_cfg")
    only_ours(vision, _VISION_SWITCHES, "vision_cfg")
    only_ours(text, _TEXT_SWITCHES, "text_cfg")
    size, patch = (_square(vision, key, default) for key, default in (("image_size", 224), ("patch_size", 16)))
    width, head_width = vision.get("width", 768), vision.get("head_width", 64)
    layers = vision.get("layers", 12)
    if not isinstance(layers, int):
        raise DataError("residual networks are not supported, only transformers", where="vision_cfg.layers")
    if width % head_width:
        raise DataError(f"{head_width} does not divide a width of {width}", where="vision_cfg.head_width")
    embed_dim = required(config, "embed_dim")
    common: dict[str, Any] = {
        "activation": "quick_gelu" if config.get("quick_gelu") else "gelu",
        "embed_dim": embed_dim,
    }
    return OpenCLIPParams(
        text=CLIPTextParams(
            vocab_size=text.get("vocab_size", 49408),
            context_length=text.get("context_length", 77),
            width=text.get("width", 512),
            heads=text.get("heads", 8),
            layers=text.get("layers", 12),
            mlp_width=int(text.get("width", 512) * text.get("mlp_ratio", 4.0)),
            skip_last=skip_last,
            **common,
        ),
        vision=CLIPVisionParams(
            image_size=size,
            patch_size=patch,
            width=width,
            heads=width // head_width,
            layers=layers,
            mlp_width=int(width * vision.get("mlp_ratio", 4.0)),
            **common,
        ),
    )


def openclip_rules(visual: str, text: str) -> tuple[Rule, ...]:
    """Return the rules that put the image tower's keys behind ``visual`` and all others behind ``text``."""
    return (
        ignore("attn_mask", "causal mask, computed"),
        rename("visual.{*}", f"{visual}{{*}}"),
        rename("{*}", f"{text}{{*}}"),
    )


def openclip_mindspore_rules(visual: str, text: str) -> tuple[Rule, ...]:
    """Return the same for MindSpore's names, of norms, the token table and the joint query-key-value layer."""
    return (
        *_mindspore_tower("visual.", visual, ("ln_pre", "ln_post")),
        rename("visual.{*}", f"{visual}{{*}}"),
        *_mindspore_tower("", text, ("ln_final",)),
        rename("token_embedding.embedding_table", f"{text}token_embedding.weight"),
        rename("{*}", f"{text}{{*}}"),
    )


def _mindspore_tower(theirs: str, ours: str, norms: tuple[str, ...]) -> list[Rule]:
    block = "transformer.resblocks.{}."
    rules = [
        rename(f"{theirs}{block}attn.in_proj.{kind}", f"{ours}{block}attn.in_proj_{kind}")
        for kind in ("weight", "bias")
    ]
    for norm in (*norms, f"{block}ln_1", f"{block}ln_2"):
        rules += [
            rename(f"{theirs}{norm}.gamma", f"{ours}{norm}.weight"),
            rename(f"{theirs}{norm}.beta", f"{ours}{norm}.bias"),
        ]
    return rules


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = required(config, key)
    if not isinstance(section, Mapping):
        raise DataError("must be an object of hyper-parameters", where=key)
    return section


def _square(section: Mapping[str, Any], key: str, default: int) -> int:
    value = section.get(key, default)
    sides = {int(side) for side in value} if isinstance(value, (list, tuple)) else {int(value)}
    if len(sides) != 1:
        raise DataError(f"{list(value)} is not square, which is not supported", where=f"vision_cfg.{key}")
    return sides.pop()
