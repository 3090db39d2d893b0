"""The reward models of T2V-Turbo's training as published: hyper-parameters and key names.

HPSv2.1 (tgxs002/HPSv2) is OpenCLIP ViT-H-14 fine-tuned on human preferences; OpenCLIP's own file fits the same network.
InternVideo2 stage 2 (OpenGVLab) is a DeepSpeed checkpoint with pre-training heads and layers that scoring does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.nets.params.bert import BertParams
from videogen_cli.nets.params.internvideo2 import InternVideo2Params, VideoTowerParams
from videogen_cli.originals import only_ours, required
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import Account, KeyMap, Shape, ignore, rename
from videogen_cli.weights.keys.openclip import openclip_mindspore_rules, openclip_params, openclip_rules
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.variants import Variants

_TOWERS = ("image_reward.visual.", "image_reward.text.")
_WRAPPER = ("module.",)  # DataParallel's

OPENCLIP_KEYS = Variants(
    {
        "open_clip": KeyMap(openclip_rules(*_TOWERS), strip=_WRAPPER),
        "mindspore": KeyMap(openclip_mindspore_rules(*_TOWERS)),
    }
)


class PreferenceKeys(Variants):
    """HPSv2.1's files; OpenCLIP's have the same keys and shapes, and would score without a word of complaint."""

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file that may be HPSv2.1's.

        Raises:
            WeightsError: it cannot be read, or is laid out as OpenCLIP's own.
        """
        checkpoint = super().open(path, root)
        if checkpoint.container.startswith("torch") and not checkpoint.weights_root:
            what = "keeps its weights at the top level, as OpenCLIP's own file does; HPSv2.1 keeps them in 'state_dict'"
            hint = "Use --type openclip for OpenCLIP's weights, or for HPSv2.1's that were saved again without it."
            raise WeightsError(what, where=str(path), hint=hint)
        return checkpoint


HPS_KEYS = PreferenceKeys(OPENCLIP_KEYS.maps)


_BERT, _OURS = "text_encoder.bert.", "video_reward.text_encoder."
_LAYER = "encoder.layer.{}."
_HEAD = "head of pre-training, which scores do without"
_DISTILLED = "head that learned from a CLIP teacher"


class InternVideoKeys(KeyMap):
    """InternVideo2 stage 2's files, whose last text layers join text and video; a score needs none of them."""

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`; a layer we do not have is ignored if it attends to video, unexpected if not."""
        ours = {index for name in targets if (index := _layer_of(name, f"{_OURS}encoder.layer.")) is not None}
        fusing = {
            index
            for name in tensors
            if ".crossattention." in name and (index := _layer_of(name, f"{_BERT}encoder.layer.")) is not None
        }
        reason = "layer that joins text and video, which a cosine of both apart does without"
        extra = [ignore(f"{_BERT}encoder.layer.{index}.{{*}}", reason) for index in sorted(fusing - ours)]
        return KeyMap((*extra, *self.rules), self.strip, self.optional).account(tensors, targets)


def _layer_of(name: str, prefix: str) -> int | None:
    """Return the number that follows ``prefix`` in a name."""
    number = name.partition(prefix)[2].partition(".")[0]
    return int(number) if name.startswith(prefix) and number.isdigit() else None


INTERNVIDEO_KEYS = InternVideoKeys(
    (
        ignore("temp", "temperature of contrastive training"),
        ignore("itm_head.{*}", _HEAD),
        ignore("text_encoder.cls.{*}", _HEAD),
        ignore(f"{_BERT}embeddings.position_ids", "buffer of position numbers, computed"),
        ignore(f"{_BERT}pooler.{{*}}", _HEAD),
        ignore("vision_encoder.clip_decoder.{*}", _DISTILLED),
        ignore("vision_encoder.final_clip_decoder.{*}", _DISTILLED),
        ignore("vision_encoder.clip_pos_embed", _DISTILLED),
        ignore("vision_encoder.clip_img_pos_embed", _DISTILLED),
        *(
            rename(f"{_BERT}{_LAYER}attention.self.{part}.{{*}}", f"{_OURS}{_LAYER}attention.{part}.{{*}}")
            for part in ("query", "key", "value")
        ),
        rename(f"{_BERT}{{*}}", f"{_OURS}{{*}}"),
        rename("vision_encoder.{*}", "video_reward.vision_encoder.{*}"),
        rename("vision_proj.{*}", "video_reward.vision_proj.{*}"),
        rename("text_proj.{*}", "video_reward.text_proj.{*}"),
    ),
    strip=_WRAPPER,
)


def image_reward_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``image_reward`` for a config of OpenCLIP, or one with a section ``hps`` that holds it.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    return {"image_reward": openclip_params(config.get("hps", config))}


def video_reward_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of ``video_reward`` for a config of InternVideo2, or one whose section ``internvid`` holds it.

    The config has the sections ``vision_encoder`` (``PretrainInternVideo2``) and ``bert`` (``BertConfig``).

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    config = config.get("internvid", config)
    vision, bert = required(config, "vision_encoder"), required(config, "bert")
    options = {**config, **vision}  # the original's constructor takes both
    only_ours(options, {"sep_pos_embed": False, "in_chans": 3}, "vision_encoder")
    width, origin = required(vision, "embed_dim", "vision_encoder"), config.get("origin_num_frames", 4)
    video = VideoTowerParams(
        image_size=vision.get("img_size", 224),
        patch_size=vision.get("patch_size", 14),
        tubelet_size=options.get("tubelet_size", 1),
        num_frames=options.get("num_frames", 8),
        origin_num_frames=options.get("num_frames", 8) if origin is None else origin,
        width=width,
        depth=required(vision, "depth", "vision_encoder"),
        heads=required(vision, "num_heads", "vision_encoder"),
        mlp_width=int(width * vision.get("mlp_ratio", 48 / 11)),
        qkv_bias=options.get("qkv_bias", False),
        qk_norm=options.get("qk_normalization", True),
        layer_scale=bool(options.get("init_values", 1e-5)),
        image_positions=options.get("sep_image_video_pos_embed", True),
        pool_heads=vision.get("attn_pool_num_heads", 16),
        pool_width=vision.get("clip_embed_dim", 768),
    )
    text_length = config.get("max_txt_l", 40)
    return {"video_reward": InternVideo2Params(video, _bert_params(bert), required(config, "embed_dim"), text_length)}


def _bert_params(bert: Mapping[str, Any]) -> BertParams:
    """Return the params of the layers that see text alone."""
    only_ours(bert, {"position_embedding_type": "absolute", "hidden_act": ("gelu", "gelu_new")}, "bert")
    layers = required(bert, "num_hidden_layers", "bert")
    return BertParams(
        vocab_size=required(bert, "vocab_size", "bert"),
        width=required(bert, "hidden_size", "bert"),
        layers=min(layers, bert.get("fusion_layer", layers)),
        heads=required(bert, "num_attention_heads", "bert"),
        inner_width=required(bert, "intermediate_size", "bert"),
        activation=bert.get("hidden_act", "gelu"),
        max_positions=bert.get("max_position_embeddings", 512),
        token_types=bert.get("type_vocab_size", 2),
        norm_eps=bert.get("layer_norm_eps", 1e-12),
    )
