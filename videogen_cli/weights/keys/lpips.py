"""Where the perceptual distance's weights come from: one file of everything, or heads and trunk apart.

Sources: PyPI ``lpips`` and CompVis/taming-transformers (``lin0.model.1``, trunk ``net.slice2.5``), torchvision and
mindspore-lab/mindcv (``features.5``), mindspore-lab/mindone ``mg/models/tae/lpips.py`` (``lins.0``, ``slice2.1``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videogen_cli.nets.lpips import VGG16_LAYERS
from videogen_cli.nets.params.lpips import LPIPSParams
from videogen_cli.weights.keymap import Rule, ignore, rename
from videogen_cli.weights.parts import PartedKeys
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.variants import Variants

_CONSTANT = "constants of the input's scale, built in"


def lpips_rules(head: str = "model.1") -> tuple[Rule, ...]:
    """Return the rules for the names of PyPI's and taming's files; ``head`` is model.0 when made without dropout."""
    return (
        ignore("scaling_layer.{*}", _CONSTANT),
        ignore("lins.{*}", "the heads once more, under their names in a list"),
        rename(f"lin{{}}.{head}.weight", "lpips.lin{}.model.1.weight"),
        rename("net.slice{}.{}.{*}", "lpips.net.slice{}.{}.{*}"),
    )


def mindone_lpips_rules(source: str = "") -> tuple[Rule, ...]:
    """Return the rules for MindONE's names, which number a stage's layers from its pooling."""
    heads = rename(f"{source}lins.{{}}.model.1.weight", "lpips.lin{}.model.1.weight")
    return heads, *_trunk(f"{source}net.slice{{stage}}.{{local}}.{{{{*}}}}")


def vgg16_rules() -> tuple[Rule, ...]:
    """Return the rules for an image classifier's file, of which the convolutions are used."""
    layers = _trunk("features.{layer}.{{*}}")
    return *layers, ignore("classifier.{*}", "the classifier behind the features")


def _trunk(pattern: str) -> tuple[Rule, ...]:
    """Return a rule per convolution; ``pattern`` is filled with its ``stage``, ``layer`` and number in the stage."""
    return tuple(
        rename(
            pattern.format(stage=stage, layer=layer, local=layer - max(layers[0] - 1, 0)),
            f"lpips.net.slice{stage}.{layer}.{{*}}",
        )
        for stage, layers in enumerate(VGG16_LAYERS, 1)
        for layer in layers
    )


def trunk_sizes(tensors: Mapping[str, LazyTensor], params: LPIPSParams, source: str) -> LPIPSParams:
    """Return ``params`` with the widths and biases of the trunk whose keys are PyPI's after ``source``, if any."""
    first = [f"{source}net.slice{stage}.{layers[0]}" for stage, layers in enumerate(VGG16_LAYERS, 1)]
    if not all(f"{name}.weight" in tensors and tensors[f"{name}.weight"].shape for name in first):
        return params
    channels = [tensors[f"{name}.weight"].shape[0] for name in first]
    return replace(params, channels=channels, conv_bias=f"{first[0]}.bias" in tensors)


class LPIPSVariants(Variants):
    """The variants of the component ``lpips``, whose sizes are read from the file."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params with widths and biases as the trunk has them."""
        found = {key: self.resolve(key) for key in tensors}
        named = {match.targets[0]: tensors[key] for key, match in found.items() if match and match.targets}
        return {**params, "lpips": trunk_sizes(named, params["lpips"], "lpips.")}


def _keys(rules: tuple[Rule, ...]) -> PartedKeys:
    return PartedKeys(rules, strip=("module.",), parts=("lpips.lin", "lpips.net."))


LPIPS_KEYS = LPIPSVariants(
    {
        "lpips": _keys(lpips_rules()),
        "no-dropout": _keys(lpips_rules(head="model.0")),
        "mindone": _keys(mindone_lpips_rules()),
        "vgg16": _keys(vgg16_rules()),
    }
)
