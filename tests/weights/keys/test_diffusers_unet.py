"""diffusers' names of the UNet, in any layout, and the order of its modules."""

from __future__ import annotations

import json

import pytest

from videogen_cli.weights.keymap import KeyMap
from videogen_cli.weights.keys.diffusers_unet import (
    UNetLayout,
    blocks,
    diffusers_unet_rules,
    in_diffusers_order,
    layout_of_keys,
    layout_of_names,
)
from videogen_cli.weights.lora import Layer

LAYOUTS = [
    UNetLayout(2, (True, True, True, False)),
    UNetLayout(1, (True, False, False)),
    UNetLayout(3, (False, True)),
    UNetLayout(1, (True,)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read_from_either_sides_names(layout):
    found = blocks(layout)
    assert layout_of_keys((f"unet.{block.theirs}.conv1.weight" for block in found), "unet.") == layout
    assert layout_of_names((f"unet.{block.ours}.norm.weight" for block in found), "unet.") == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_has_a_way_there_and_back(layout):
    keys = KeyMap(diffusers_unet_rules(layout))
    for block in blocks(layout):
        part = "norm1" if block.is_resnet else "inside"
        name = f"{block.theirs}.{part}.weight"
        match = keys.resolve(name)
        assert match is not None
        assert match.targets[0].startswith(f"unet.{block.ours}.")
        assert keys.source_name(match.targets[0]) == name


def test_upsampling_follows_whatever_is_in_its_stage():
    named = {block.theirs: block.ours for block in blocks(UNetLayout(2, (True, False, True)))}
    assert named["up_blocks.0.upsamplers.0.conv"] == "output_blocks.2.3.conv"
    assert named["up_blocks.1.upsamplers.0.conv"] == "output_blocks.5.1.conv"
    assert named["down_blocks.1.downsamplers.0.conv"] == "input_blocks.6.0.op"
    assert named["down_blocks.2.temp_attentions.1"] == "input_blocks.8.2"


def test_modules_are_in_the_recorded_order(golden_path):
    config = json.loads((golden_path("t2v-turbo/ms-lora-merged") / "case.json").read_text())["config"]
    keys = KeyMap(diffusers_unet_rules(layout_of_keys(f"{name}." for name in config["module_order"])))
    ours = []
    for name in config["module_order"]:
        match = keys.resolve(f"{name}.weight")
        assert match is not None, name
        ours.append(match.targets[0].removeprefix("unet.").removesuffix(".weight"))
    registered = sorted(ours, key=lambda name: (".proj_out" in name, ".attn2." in name, ".ff." in name))
    layers = [Layer(name, (1, 1)) for name in registered]
    assert [layer.name for layer in in_diffusers_order(layers)] == ours


def test_older_versions_put_the_feed_forward_layers_between_the_attentions():
    names = ["init_attn.0.transformer_blocks.0." + part for part in ("attn1.to_q", "attn2.to_q", "ff.net.2")]
    layers = [Layer(name, (1, 1)) for name in (*names, "init_attn.0.proj_in", "init_attn.0.proj_out", "time_embed.0")]
    first, second, last = names
    outer = ["time_embed.0", "init_attn.0.proj_in"], ["init_attn.0.proj_out"]
    newer = [layer.name for layer in in_diffusers_order(layers)]
    older = [layer.name for layer in in_diffusers_order(layers, feed_forward_last=False)]
    assert newer == [*outer[0], first, second, last, *outer[1]]
    assert older == [*outer[0], first, last, second, *outer[1]]
