"""The frame-wise KL autoencoder's names in diffusers, and what each is in latent diffusion's (our) naming.

Sources: huggingface/diffusers ``AutoencoderKL``; CompVis/latent-diffusion ``ldm/modules/diffusionmodules/model.py``.
Files differ in three ways that no single table covers: diffusers numbers the decoder's levels from the coarsest and we
from full resolution, so that their number is needed; its attention layers were renamed in 0.17; and their weights are
matrices (o i) or 1x1 kernels (o i 1 1). :func:`layout_of` reads all three from a file's keys and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from videogen_cli.weights.keymap import Account, KeyMap, Rule, rename
from videogen_cli.weights.layouts import SAME, UnitAxes
from videogen_cli.weights.tensor import LazyTensor

# Our layer -> diffusers' since 0.17, and before.
_ATTENTION = {
    "norm": ("group_norm", "group_norm"),
    "q": ("to_q", "query"),
    "k": ("to_k", "key"),
    "v": ("to_v", "value"),
    "proj_out": ("to_out.0", "proj_attn"),
}
NORMS = ("norm1", "norm2", "norm", "norm_out")
LAYOUT = "autoencoder_layout"  # where a converted file says what it was


@dataclass(frozen=True)
class DiffusersLayout:
    """One way in which diffusers keeps the autoencoder."""

    levels: int = 4
    old_attention: bool = False  # query, key, value, proj_attn instead of to_q, to_k, to_v, to_out.0
    kernels: bool = False  # attention weights are (o i 1 1) instead of (o i)

    @property
    def word(self) -> str:
        """Name the layout, its number of levels excepted."""
        return "diffusers" + "-old" * self.old_attention + "-kernels" * self.kernels

    def named(self, word: str | None) -> DiffusersLayout:
        """Return the layout called ``word`` with as many levels; None stands for what diffusers writes today."""
        parts = (word or "").split("-")
        return replace(self, old_attention="old" in parts, kernels="kernels" in parts)


def is_diffusers(names: Iterable[str]) -> bool:
    """Return whether a file's autoencoder has diffusers' names, not latent diffusion's."""
    return any(name.startswith("decoder.up_blocks.") for name in names)


def layout_of(tensors: Mapping[str, LazyTensor], source: str = "") -> DiffusersLayout:
    """Return the layout of a file whose autoencoder's keys begin with ``source``."""
    found = DiffusersLayout(levels=_levels(tensors, f"{source}decoder.up_blocks."))
    for key, tensor in tensors.items():
        if match := re.fullmatch(re.escape(source) + r".+\.attentions\.\d+\.(to_q|query)\.weight", key):
            return replace(found, old_attention=match[1] == "query", kernels=len(tensor.shape) == 4)
    return found


def diffusers_rules(layout: DiffusersLayout, source: str = "", target: str = "vae.") -> tuple[Rule, ...]:
    """Return the rules that give diffusers' keys our names.

    Args:
        layout: how the file keeps them; keys of both generations of attention names are known in any case, and
            ``layout`` says which of them an export writes.
        source: what the file puts before the autoencoder's keys.
        target: what stands before our names (``nets.vae2d.AutoencoderKL``'s parameters): the component's name and a
            full stop.
    """
    rules: list[Rule] = []
    for half in ("encoder", "decoder"):
        theirs, ours = f"{source}{half}.", f"{target}{half}."
        levels = [(f"{theirs}down_blocks.{{}}.", f"{ours}down.{{}}.")]
        if half == "decoder":
            last = layout.levels - 1
            levels = [(f"{theirs}up_blocks.{last - i}.", f"{ours}up.{i}.") for i in range(layout.levels)]
        for old, new in levels:
            rules += _resnet(f"{old}resnets.{{}}.", f"{new}block.{{}}.")
            rules += _attention(layout, f"{old}attentions.{{}}.", f"{new}attn.{{}}.")
            rules.append(rename(f"{old}downsamplers.0.conv.{{*}}", f"{new}downsample.conv.{{*}}"))
            rules.append(rename(f"{old}upsamplers.0.conv.{{*}}", f"{new}upsample.conv.{{*}}"))
        for index in range(2):
            rules += _resnet(f"{theirs}mid_block.resnets.{index}.", f"{ours}mid.block_{index + 1}.")
        rules += _attention(layout, f"{theirs}mid_block.attentions.0.", f"{ours}mid.attn_1.")
        rules.append(rename(f"{theirs}conv_norm_out.{{*}}", f"{ours}norm_out.{{*}}"))
        rules += [rename(f"{theirs}{name}.{{*}}", f"{ours}{name}.{{*}}") for name in ("conv_in", "conv_out")]
    return *rules, *(rename(f"{source}{n}.{{*}}", f"{target}{n}.{{*}}") for n in ("quant_conv", "post_quant_conv"))


@dataclass(frozen=True)
class DiffusersKeys(KeyMap):
    """A key map with diffusers' autoencoder in it, in whatever layout the file has; ``rules`` are all the others.

    A converted file remembers the layout, so that an export has the names and shapes it came with.
    """

    source: str = ""
    target: str = "vae."

    def fitted(self, layout: DiffusersLayout) -> KeyMap:
        """Return the map for one layout."""
        return KeyMap((*diffusers_rules(layout, self.source, self.target), *self.rules), self.strip, self.optional)

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Any]) -> Account:
        """See :meth:`KeyMap.account`."""
        layout = layout_of(tensors, self.source)
        account = self.fitted(layout).account(tensors, targets)
        if layout.word != DiffusersLayout().word:
            account.metadata[LAYOUT] = layout.word
        return account

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`."""
        layout = DiffusersLayout(_levels(tensors, f"{self.target}decoder.up."))
        return self.fitted(layout.named((found or {}).get(LAYOUT))).export(tensors, found)


def mindspore_norms(target: str) -> tuple[Rule, ...]:
    """Return the rules for an autoencoder's norms as MindSpore names their parameters; see :func:`diffusers_rules`."""
    return tuple(
        rename(f"{{*}}.{name}.{theirs}", f"{target}{{*}}.{name}.{ours}")
        for name in NORMS
        for theirs, ours in (("gamma", "weight"), ("beta", "bias"))
    )


def ldm_named(tensors: Mapping[str, LazyTensor], source: str = "") -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Give an autoencoder's tensors latent diffusion's names and shapes, for maps that go on from there.

    Keys that are not diffusers' (latent diffusion's own among them) stay as they are.

    Returns:
        The tensors, and each one's key in the file.
    """
    keys = KeyMap(diffusers_rules(layout_of(tensors, source), source, target=""))
    named: dict[str, LazyTensor] = {}
    origin: dict[str, str] = {}
    for key, tensor in tensors.items():
        match = keys.resolve(key)
        name, axes = (match.targets[0], match.rule.axes) if match else (key, SAME)
        if axes.shape(tensor.shape) is None:
            name, axes = key, SAME
        named[name], origin[name] = axes.apply(tensor) if axes != SAME else tensor, key
    return named, origin


def _levels(names: Iterable[str], prefix: str) -> int:
    """Return how many levels the decoder has whose blocks are called ``<prefix><number>.``."""
    numbers = [re.match(re.escape(prefix) + r"(\d+)\.", name) for name in names]
    return 1 + max((int(number[1]) for number in numbers if number), default=3)


def _resnet(theirs: str, ours: str) -> list[Rule]:
    names = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"conv_shortcut": "nin_shortcut"}
    return [rename(f"{theirs}{old}.{{*}}", f"{ours}{new}.{{*}}") for old, new in names.items()]


def _attention(layout: DiffusersLayout, theirs: str, ours: str) -> list[Rule]:
    rules = []
    for new, names in _ATTENTION.items():
        axes = SAME if layout.kernels or new == "norm" else UnitAxes(added=(2, 3))
        for old in dict.fromkeys((names[layout.old_attention], *names)):  # the first is what an export writes
            rules.append(rename(f"{theirs}{old}.weight", f"{ours}{new}.weight", axes))
            rules.append(rename(f"{theirs}{old}.bias", f"{ours}{new}.bias"))
    return rules
