"""DEMO's checkpoints, those it starts from, and those its losses need: what every key becomes.

Names: PR-Ryan/DEMO tools/modules/unet/unet_t2v.py and tools/basic_funcs/pretrain_functions.py (how the UNet starts from
ModelScope's); open_clip 2.24.0; torchvision 0.16.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.keymap import Account, KeyMap, Shape, ignore, rename
from videogen_cli.weights.keys.openclip import openclip_rules
from videogen_cli.weights.keys.unet import vgen_unet_rules
from videogen_cli.weights.tensor import LazyTensor

_WRAPPER = ("module.",)
_MOTION = 2  # place of a motion block in its list; the spatial transformer it starts as a copy of is before it
_BLOCK_LIST = r"(unet\.(?:input_blocks\.\d+|middle_block|output_blocks\.\d+)\.)"
_BLOCK = re.compile(_BLOCK_LIST + r"(\d+)(\..+)")
_MOTION_LAYER = re.compile(_BLOCK_LIST + rf"{_MOTION}\.proj_in\.weight")

DEMO_KEYS = KeyMap(vgen_unet_rules(), strip=_WRAPPER)
VAE_KEYS = KeyMap(
    (
        ignore("first_stage_model.loss.{*}", "loss network kept by training"),
        rename("first_stage_model.{*}", "vae.{*}"),
        ignore("{*}", "no part of the autoencoder"),
    ),
    strip=_WRAPPER,
)
OPENCLIP_KEYS = KeyMap(openclip_rules("visual.", "text."), strip=_WRAPPER)
MOTION_KEYS = KeyMap(
    (
        ignore("attn_mask", "causal mask, computed"),
        ignore("visual.{*}", "image tower, which the motion encoder does without"),
        rename("{*}", "motion.{*}"),
    ),
    strip=_WRAPPER,
)
RAFT_KEYS = KeyMap((rename("{*}", "raft.{*}"),), strip=_WRAPPER)


class ModelScopeKeys(KeyMap):
    """ModelScope's UNet as the start of DEMO's: lists get a motion block, which begins as a copy of the spatial one.

    A UNet without motion blocks is ModelScope's own, and takes the keys as they are.
    """

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`; a spatial transformer's keys are used twice."""
        lists = _lists_with_motion(targets)
        sources = {name: _base_name(name, lists) for name in targets}
        wanted = {base: targets[name] for name, base in sources.items()}
        result = super().account(tensors, wanted)
        used, found = result.used, result.tensors
        result.used, result.tensors = {}, {}
        for name, base in sources.items():
            if base in used:
                result.use(name, used[base], found[base])
        return result

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`.

        Raises:
            WeightsError: as for every map, or motion blocks are no longer copies, so that they would be lost.
        """
        base: dict[str, LazyTensor] = {}
        lists = _lists_with_motion(_shapes(tensors))
        for name, tensor in tensors.items():
            if not _is_motion(name, lists):
                base[_base_name(name, lists)] = tensor
        for name in (name for name in tensors if _is_motion(name, lists)):
            if not np.array_equal(base[_base_name(name, lists)].numpy(), tensors[name].numpy()):
                hint = "Export it with --type demo."
                raise WeightsError(f"'{name}' was trained, and has no place in ModelScope's file", hint=hint)
        return super().export(base, found)


MODELSCOPE_KEYS = ModelScopeKeys(vgen_unet_rules(), strip=_WRAPPER)


def _lists_with_motion(shapes: Mapping[str, Shape]) -> set[str]:
    """Return the prefixes of the lists that hold a motion block, whose first layer is linear.

    In ModelScope's UNet a transformer over frames is in that place, whose first layer is a convolution.
    """
    matches = ((_MOTION_LAYER.fullmatch(name), shape) for name, shape in shapes.items())
    return {match[1] for match, shape in matches if match and len(shape) == 2}


def _shapes(tensors: Mapping[str, LazyTensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _is_motion(name: str, lists: set[str]) -> bool:
    match = _BLOCK.fullmatch(name)
    return match is not None and match[1] in lists and int(match[2]) == _MOTION


def _base_name(name: str, lists: set[str]) -> str:
    """Return the name in ModelScope's UNet that a parameter of DEMO's starts from."""
    match = _BLOCK.fullmatch(name)
    if not match or match[1] not in lists or int(match[2]) < _MOTION:
        return name
    return f"{match[1]}{int(match[2]) - 1}{match[3]}"
