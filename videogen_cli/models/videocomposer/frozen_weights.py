"""Checkpoints of the networks that VideoComposer uses and never trains: what every key becomes.

Names: Stable Diffusion 2.1 (CompVis/latent-diffusion); open_clip; ali-vilab/videocomposer artist/models/midas.py and
tools/annotator/sketch; mindspore-lab/mindone examples/videocomposer for the MindSpore files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from videogen_cli.nets.params.midas import STAGES
from videogen_cli.weights.keymap import Account, KeyMap, Rule, Shape, ignore, rename
from videogen_cli.weights.keys.openclip import openclip_mindspore_rules, openclip_rules
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.variants import Variants

_SCHEDULE = "buffer of the noise schedule, computed from the config"
_NORM = {"gamma": "weight", "beta": "bias"}  # MindSpore's names

SD_KEYS = KeyMap(
    (
        ignore("first_stage_model.loss.{*}", "loss network kept by training"),
        rename("first_stage_model.{*}", "vae.{*}"),
        ignore("model.{*}", "the diffusion UNet, which VideoComposer has its own of"),
        ignore("model_ema.{*}", "moving average kept by training"),
        ignore("cond_stage_model.{*}", "the text tower, which is read from OpenCLIP's file"),
        *(ignore(name, _SCHEDULE) for name in ("betas", "alphas_cumprod", "alphas_cumprod_prev", "logvar")),
        *(ignore(f"{word}_{{*}}", _SCHEDULE) for word in ("sqrt", "log", "posterior")),
        ignore("scale_factor", "scale of the latents, given by the config"),
        ignore("{*}", "no part of the autoencoder, which is all that VideoComposer reads of the file"),
    )
)

_TOWERS = ("clip.visual.", "clip.text.")

OPENCLIP_KEYS = Variants(
    {"open_clip": KeyMap(openclip_rules(*_TOWERS)), "mindspore": KeyMap(openclip_mindspore_rules(*_TOWERS))}
)


class GroupedMiDaSKeys(KeyMap):
    """MiDaS's keys in the MindSpore port, which puts the blocks of each stage into a list of their own."""

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`."""
        return self.fitted(targets).account(tensors, targets)

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`."""
        return self.fitted(tensors).export(tensors, found)

    def fitted(self, names: Iterable[str]) -> KeyMap:
        """Return the map for a network that has parameters of these names."""
        blocks = [int(match[1]) for name in names if (match := re.match(r"midas\.blocks\.(\d+)\.", name))]
        each = max((max(blocks, default=0) + 1) // STAGES, 1)
        rules: list[Rule] = []
        for block in range(each * STAGES):
            theirs, ours = f"blocks.{block // each}.{block % each}", f"midas.blocks.{block}"
            rules += [rename(f"{theirs}.norm{{}}.{old}", f"{ours}.norm{{}}.{new}") for old, new in _NORM.items()]
            rules.append(rename(f"{theirs}.{{*}}", f"{ours}.{{*}}"))
        return KeyMap((*rules, *self.rules))


MIDAS_KEYS = Variants(
    {
        "torch": KeyMap((rename("{*}", "midas.{*}"),)),
        "mindspore": GroupedMiDaSKeys(
            (
                *(rename(name, f"midas.{name}") for name in ("cls_embedding", "pos_embedding", "fc{}.0.{*}")),
                # transposed convolutions are as they were, all others have a cell around them
                *(rename(f"{name}.{{*}}", f"midas.{name}.{{*}}") for name in ("conv1.1", "conv2.1", "head.4")),
                *(
                    rename(f"{name}.conv.{{*}}", f"midas.{name}.{{*}}")
                    for name in (
                        "patch_embedding",
                        "conv{}.{}",
                        "fusion{}.layer{}.residual.{}",
                        "fusion{}.conv_out",
                        "head.{}",
                    )
                ),
            )
        ),
        "mindspore-flat": KeyMap(
            (
                *(rename(f"blocks.{{}}.norm{{}}.{o}", f"midas.blocks.{{}}.norm{{}}.{n}") for o, n in _NORM.items()),
                rename("{*}", "midas.{*}"),
            )
        ),
    }
)


class PiDiNetKeys(Variants):
    """PiDiNet's keys; its kernels may be those of plain convolutions already, as in the MindSpore port's file."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params of a network whose kernels are as the file has them."""
        widest = max((size for tensor in tensors.values() for size in tensor.shape[2:]), default=0)
        if widest < 5:  # only converted kernels, of differences along the radius, have 5x5 taps
            return params
        return {**params, "pidinet": replace(params["pidinet"], converted=True)}


PIDINET_KEYS = PiDiNetKeys(
    {
        "torch": KeyMap((rename("module.{*}", "pidinet.{*}"),)),  # DataParallel's wrapper
        "plain": KeyMap((rename("{*}", "pidinet.{*}"),)),
    }
)

SKETCH_KEYS = KeyMap((rename("{*}", "sketch.{*}"),))
