"""The latent video UNet under diffusers' names (``UNet3DConditionModel``), and its modules in diffusers' order.

Source: huggingface/diffusers models/unets/unet_3d_condition.py and unet_3d_blocks.py. Ours numbers the stages between
skip connections through all levels; theirs counts levels, and blocks of each kind within a level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from videogen_cli.weights.keymap import Rule, rename
from videogen_cli.weights.lora import Layer

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TRANSFORMER = re.compile(r"\.transformer_blocks\.(\d+)\.(attn1|attn2|ff)\.")


@dataclass(frozen=True)
class UNetLayout:
    """How many residual blocks a level has on the way down, and which levels attend, finest first."""

    layers: int
    attends: tuple[bool, ...]


class Block(NamedTuple):
    """One block's name in diffusers and here."""

    theirs: str
    ours: str
    is_resnet: bool = False


def layout_of_keys(keys: Iterable[str], source: str = "") -> UNetLayout:
    """Return the layout of a file whose UNet's keys begin with ``source``."""
    pattern = re.compile(re.escape(source) + r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.")
    found = {(int(m[1]), m[2], int(m[3])) for key in keys if (m := pattern.match(key))}
    attends = [(level, "attentions", 0) in found for level in range(1 + max((f[0] for f in found), default=0))]
    return UNetLayout(1 + max((f[2] for f in found), default=0), tuple(attends))


def layout_of_names(names: Iterable[str], target: str = "") -> UNetLayout:
    """Return the layout of our UNet, whose parameters (or layers) are called ``<target>*``."""
    blocks = re.compile(re.escape(target) + r"input_blocks\.(\d+)\.(\d+)\.(op)?")
    found = {(int(m[1]), int(m[2]), bool(m[3])) for name in names if (m := blocks.match(name))}
    down = sorted(index for index, _, is_downsampling in found if is_downsampling)
    layers = down[0] - 1 if down else max((index for index, _, _ in found), default=0)
    firsts = (1 + level * (layers + 1) for level in range(len(down) + 1))
    return UNetLayout(layers, tuple((first, 1, False) in found for first in firsts))


def blocks(layout: UNetLayout) -> list[Block]:
    """Return all blocks in the order in which diffusers registers them: the middle comes last but for the output."""
    n = layout.layers
    found = [
        Block("conv_in", "input_blocks.0.0"),
        Block("time_embedding.linear_1", "time_embed.0"),
        Block("time_embedding.cond_proj", "time_cond_proj"),
        Block("time_embedding.linear_2", "time_embed.2"),
        Block("transformer_in", "init_attn.0"),
    ]
    for level, attends in enumerate(layout.attends):
        stages = [f"input_blocks.{1 + level * (n + 1) + index}" for index in range(n)]
        found += _level(f"down_blocks.{level}", stages, attends)
        if level < len(layout.attends) - 1:
            found.append(
                Block(f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{(level + 1) * (n + 1)}.0.op")
            )
    for level, attends in enumerate(reversed(layout.attends)):
        stages = [f"output_blocks.{level * (n + 1) + index}" for index in range(n + 1)]
        found += _level(f"up_blocks.{level}", stages, attends)
        if level < len(layout.attends) - 1:
            place = 3 if attends else 1  # behind the residual block and the two transformers
            found.append(Block(f"up_blocks.{level}.upsamplers.0.conv", f"{stages[-1]}.{place}.conv"))
    middle = [("resnets.0", "0"), ("resnets.1", "3"), ("temp_convs.0", "0.temporal_conv")]
    middle += [("temp_convs.1", "3.temporal_conv"), ("attentions.0", "1"), ("temp_attentions.0", "2")]
    found += [Block(f"mid_block.{old}", f"middle_block.{new}", old.startswith("resnets")) for old, new in middle]
    return [*found, Block("conv_norm_out", "out.0"), Block("conv_out", "out.2")]


def _level(theirs: str, stages: Sequence[str], attends: bool) -> list[Block]:
    """Return the blocks of one level, by kind."""
    kinds = [("resnets", "0"), ("temp_convs", "0.temporal_conv")]
    kinds += [("attentions", "1"), ("temp_attentions", "2")] if attends else []
    return [
        Block(f"{theirs}.{kind}.{index}", f"{stage}.{place}", kind == "resnets")
        for kind, place in kinds
        for index, stage in enumerate(stages)
    ]


def diffusers_unet_rules(layout: UNetLayout, source: str = "") -> tuple[Rule, ...]:
    """Return the rules from ``<source>*`` to ``unet.*``, the names of ``nets.unet3d.UNet3D``."""
    rules = []
    for block in blocks(layout):
        parts = _RESNET.items() if block.is_resnet else (("", ""),)
        for old, new in parts:
            names = ".".join(filter(None, (block.theirs, old))), ".".join(filter(None, (block.ours, new)))
            rules.append(rename(f"{source}{names[0]}.{{*}}", f"unet.{names[1]}.{{*}}"))
    return tuple(rules)


def in_diffusers_order(layers: Sequence[Layer], *, feed_forward_last: bool = True) -> list[Layer]:
    """Return our UNet's adapted layers in the order of diffusers' modules, in which its LoRA files list them.

    Args:
        layers: in our order.
        feed_forward_last: transformer blocks register it after both attentions (diffusers from 0.19 on), or between
            them (before).
    """
    places = {block.ours: place for place, block in enumerate(blocks(layout_of_names(layer.name for layer in layers)))}
    parts = ("attn1", "attn2", "ff") if feed_forward_last else ("attn1", "ff", "attn2")

    def order(layer: Layer) -> tuple[int, int, int, int]:
        owner = layer.name
        while owner not in places and owner:
            owner = owner.rpartition(".")[0]
        inside = _TRANSFORMER.search(layer.name)
        section = 1 if inside else 2 if layer.name.endswith("proj_out") else 0
        depth, part = (int(inside[1]), parts.index(inside[2])) if inside else (0, 0)
        return places.get(owner, -1), section, depth, part

    return sorted(layers, key=order)
