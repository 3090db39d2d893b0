"""ModelScope's text-to-video-ms-1.7b, T2V-Turbo's other teacher: its diffusers folder's sizes and keys.

Sources: ali-vilab/text-to-video-ms-1.7b; huggingface/diffusers (UNet3DConditionModel, AutoencoderKL);
Ji4chenLi/t2v-turbo model_scope/unet_3d_condition.py, which adds the guidance-scale projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videogen_cli.errors import DataError
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.hugging_face import clip_text_params
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.originals import only_ours
from videogen_cli.weights.keymap import Account, KeyMap
from videogen_cli.weights.keys.autoencoder import DiffusersKeys
from videogen_cli.weights.keys.clip import hugging_face_text
from videogen_cli.weights.keys.diffusers_unet import diffusers_unet_rules, layout_of_keys, layout_of_names
from videogen_cli.weights.latent_autoencoder import diffusers_params
from videogen_cli.weights.tensor import LazyTensor

UNET_CLASS = "UNet3DConditionModel"
_VAE_CLASS, _TEXT_CLASS = "AutoencoderKL", "CLIPTextModel"
# Switch -> the one value our networks have.
_UNET_SWITCHES = {
    "act_fn": "silu",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "norm_num_groups": 32,  # upstream's temporal layers have 32 whatever it says
    "num_attention_heads": None,
}
_VAE_SWITCHES = {"use_quant_conv": True, "shift_factor": None}


def published_unet() -> UNet3DParams:
    """Return the published teacher's UNet."""
    return UNet3DParams(fps_condition=False, init_projection="linear", single_frames="spatial")


def published_text() -> CLIPTextParams:
    """Return the published text tower, whose file lacks the block that is never run."""
    return CLIPTextParams(layers=23, skip_last=0, embed_dim=512, projection="none")


def describes(config: Mapping[str, Any]) -> bool:
    """Tell whether hyper-parameters are those of ModelScope's networks, or of one of them, or of its LoRA factors."""
    unet = config.get("unet", config)
    return (
        "block_out_channels" in unet
        or _TEXT_CLASS in (config.get("architectures") or ())
        or config.get("replace_modules") == [UNET_CLASS]
    )


def component_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by component (``unet``, ``vae``, ``text``) for whatever ``config`` describes.

    ``config`` is the ``config.json`` of one network, or has one in each of the sections ``unet``, ``vae`` and
    ``text_encoder``.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    sections = {name: config[name] for name in ("unet", "vae", "text_encoder") if name in config}
    if not sections:
        kinds = {UNET_CLASS: "unet", _VAE_CLASS: "vae"}
        kind = kinds.get(config.get("_class_name", UNET_CLASS if "replace_modules" in config else ""), "text_encoder")
        sections = {kind: config}
    found: dict[str, Any] = {}
    if unet := sections.get("unet"):
        guidance = unet.get("time_cond_proj_dim") or config.get("time_cond_proj_dim")
        found["unet"] = unet_params({**unet, "time_cond_proj_dim": guidance})
    if vae := sections.get("vae"):
        only_ours(vae, _VAE_SWITCHES, "vae")
        found["vae"] = diffusers_params(vae)
    if text := sections.get("text_encoder"):
        found["text"] = clip_text_params({"architectures": [_TEXT_CLASS], **text})
    return found


def unet_params(config: Mapping[str, Any]) -> UNet3DParams:
    """Return the UNet's params; a key that is absent has diffusers' default.

    Raises:
        DataError: a value asks for a network we do not have.
    """
    only_ours(config, _UNET_SWITCHES, "unet")
    channels = list(config.get("block_out_channels", (320, 640, 1280, 1280)))
    uneven = any(width % channels[0] for width in channels)
    head_dim = config.get("attention_head_dim", 64)
    if not isinstance(head_dim, int):
        raise DataError("must be one number: the first transformer has no level", where="unet.attention_head_dim")
    return UNet3DParams(
        in_channels=config.get("in_channels", 4),
        out_channels=config.get("out_channels", 4),
        model_channels=channels[0],
        channel_mult=[max(1, width // channels[0]) for width in channels],
        level_channels=channels if uneven else [],
        num_res_blocks=config.get("layers_per_block", 2),
        attention_resolutions=_attended(config, len(channels)),
        num_head_channels=head_dim,
        context_dim=config.get("cross_attention_dim", 1024),
        init_projection="linear",
        fps_condition=False,
        time_cond_proj_dim=config.get("time_cond_proj_dim") or 0,
        norm_eps=config.get("norm_eps", 1e-5),
        single_frames="spatial",
    )


def _attended(config: Mapping[str, Any], levels: int) -> list[int]:
    """Return the downsampling factors of the levels with attention."""
    down = config.get("down_block_types", ["CrossAttnDownBlock3D"] * (levels - 1) + ["DownBlock3D"])
    up = config.get("up_block_types", ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * (levels - 1))
    known = {"CrossAttnDownBlock3D": True, "DownBlock3D": False, "CrossAttnUpBlock3D": True, "UpBlock3D": False}
    for where, kinds in (("unet.down_block_types", down), ("unet.up_block_types", up)):
        if len(kinds) != levels or not set(kinds) <= set(known):
            raise DataError(f"needs one of {', '.join(known)} for each of {levels} levels", where=where)
    attends = [known[kind] for kind in down]
    if [known[kind] for kind in reversed(up)] != attends:
        raise DataError("attends at other levels than down_block_types", where="unet.up_block_types")
    return [2**level for level in reversed(range(levels)) if attends[level]]


def latent_scale(config: Mapping[str, Any]) -> float:
    """Return what latents are multiplied by."""
    return config.get("vae", config).get("scaling_factor", 0.18215)


# Component -> its folder, and how keys in its file begin.
_PARTS = {
    "unet": ("unet.", ("conv_in.", "down_blocks.")),
    "vae": ("vae.", ("encoder.", "decoder.")),
    "text": ("text_encoder.", ("text_model.",)),
}

_STUDENTS = ("unet.time_cond_proj.weight",)  # no teacher has it


@dataclass(frozen=True)
class ModelScopeKeys(KeyMap):
    """Keys of the whole folder (``<folder>.<key>``), or of one component's file."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params with the published sizes where they would be VideoCrafter2's, which nobody asked for."""
        others = {"unet": (UNet3DParams(), published_unet()), "text": (CLIPTextParams(), published_text())}
        chosen = {name: ours for name, (vc2, ours) in others.items() if params.get(name) == vc2}
        return {**params, **chosen}

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Any]) -> Account:
        """See :meth:`KeyMap.account`; a file of one component is asked for nothing else."""
        in_folder = any(key.startswith(folder) for key in tensors for folder, _ in _PARTS.values())
        if not in_folder:
            alone = [part for part, (_, starts) in _PARTS.items() if any(key.startswith(starts) for key in tensors)]
            targets = {name: shape for name, shape in targets.items() if name.partition(".")[0] in alone}
        layout = layout_of_keys(tensors, _PARTS["unet"][0] if in_folder else "")
        return _keys(diffusers_unet_rules(layout, _PARTS["unet"][0] * in_folder), in_folder).account(tensors, targets)

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`; one component gets the names it has in its own file."""
        in_folder = len({name.partition(".")[0] for name in tensors}) > 1
        layout = layout_of_names(tensors, "unet.")
        rules = diffusers_unet_rules(layout, _PARTS["unet"][0] * in_folder)
        return _keys(rules, in_folder).export(tensors, found)


def _keys(unet_rules: tuple[Any, ...], in_folder: bool) -> DiffusersKeys:
    """Return the map for the folder, or for one file."""
    text = hugging_face_text(_PARTS["text"][0] * in_folder)
    return DiffusersKeys((*unet_rules, *text), optional=_STUDENTS, source=_PARTS["vae"][0] * in_folder)


MODELSCOPE_KEYS = ModelScopeKeys(())
