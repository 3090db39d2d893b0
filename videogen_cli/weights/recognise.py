"""Tell what a checkpoint is by its keys, so that a wrong file is called by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from videogen_cli.weights.checkpoint import Checkpoint


class Kind(NamedTuple):
    """A published kind of checkpoint: its title, the word ``convert --type`` has for it (if any), and its marks.

    Every mark must be part of some key; of the kinds that fit, the first is taken.
    """

    title: str
    type: str
    marks: tuple[str, ...]


_INTERNVIDEO2_CLIP = "InternVideo2-CLIP, another model than InternVideo2-stage2_1b-224p-f4.pt"
_KINDS = (
    Kind("VideoCrafter2 (UNet, autoencoder and text tower)", "vc2", ("model.diffusion_model.", ".temopral_conv.")),
    Kind("InternVideo2 stage 2", "internvid", ("vision_encoder.", "text_encoder.bert.")),
    Kind(_INTERNVIDEO2_CLIP, "", ("vision_encoder.clip_projector.",)),
    Kind(_INTERNVIDEO2_CLIP, "", ("vision_align.",)),
    Kind("ViCLIP", "", ("vision_encoder.transformer.", "text_encoder.transformer.")),
    Kind("InternVideo2's video tower alone", "", ("clip_projector.cross_attn.", "patch_embed.proj.")),
    Kind("Stable Diffusion", "sd", ("model.diffusion_model.", "first_stage_model.")),
    Kind("a full OpenCLIP model (CLIP ViT-H-14 or HPS v2.1)", "hps", ("visual.transformer.", "token_embedding")),
    Kind("LoRA factors", "lora", (".lora_up", ".lora_down")),
    Kind("VideoComposer's UNet", "videocomposer", ("input_blocks.", "pre_image")),
    Kind(
        "a UNet with lvdm names (a merged T2V-Turbo, or VideoCrafter2's UNet alone)", "", ("input_blocks.", "init_attn")
    ),
    Kind("ModelScope's text-to-video UNet, diffusers names", "ms", ("down_blocks.", "temp_convs")),
    Kind("Latte's transformer", "latte-t2v", ("temporal_transformer_blocks.", "adaln_single")),
    Kind("a T5 text encoder", "t5", ("encoder.block.", "SelfAttention")),
    Kind("a CLIP text encoder, transformers names", "", ("text_model.encoder.layers.",)),
    Kind("an image autoencoder, diffusers names", "", ("encoder.down_blocks.", "decoder.up_blocks.")),
    Kind("an image autoencoder, latent-diffusion names", "", ("encoder.down.", "decoder.up.")),
    Kind("an OpenCLIP text tower", "", ("transformer.resblocks.", "token_embedding")),
)


def recognise(checkpoint: Checkpoint) -> Kind | None:
    """Return what a checkpoint looks like, or None."""
    tensors = checkpoint.tensors
    if checkpoint.is_list and len(tensors) > 1 and len(tensors) % 2 == 0:
        return Kind("a list of LoRA factors", "lora", ())
    return next((kind for kind in _KINDS if all(_some_has(mark, tensors) for mark in kind.marks)), None)


def _some_has(mark: str, names: Iterable[str]) -> bool:
    return any(mark in name for name in names)
