"""Checkpoints of the TAE: upstream's MindSpore files, and the image autoencoder of Stable Diffusion 3.5.

Upstream: mindspore-lab/mindone, examples/moviegen (scripts/train_tae.py, tools/inflate_vae_to_tae.py). Where a file
has only what an image autoencoder has, the layers over frames start as in a new network: they pass frames on, so that
the TAE starts as that autoencoder on every frame.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from videogen_cli.models.moviegen.weights import TRAINING_STATE
from videogen_cli.runtime.cells import CENTRE, ONES, ZEROS
from videogen_cli.weights.keymap import Account, KeyMap, Match, Shape, ignore, rename
from videogen_cli.weights.keys.autoencoder import NORMS, DiffusersKeys, mindspore_norms
from videogen_cli.weights.keys.lpips import mindone_lpips_rules
from videogen_cli.weights.layouts import UnitAxes
from videogen_cli.weights.tensor import LazyTensor, from_array

_WRAPPERS = re.compile(r"autoencoder\.|_backbone\.")  # of training and of mixed precision, anywhere in a key
_OVER_FRAMES = re.compile(r"tae\..*(?:\.conv_temp\.|sample_temp\.|\.attn_1\.1\.|\.attn\.\d+\.1\.).*")
_KERNEL = UnitAxes(dropped=(2,), added=(3, 4))  # MindSpore keeps kernels over one axis as (o i 1 k)
# Where a converted file says that it came without layers over frames, what stood before its keys, and which of them
# had other wrappers.
_INFLATED, _PREFIX, _WRAPPED = "inflated", "prefix", "wrapped_keys"


class TAEKeys(KeyMap):
    """The TAE's keys under any wrapper, whether the file has layers over frames or none.

    The wrappers are in the account's metadata, so that an export has them again.
    """

    def resolve(self, key: str) -> Match | None:
        """Return what knows a key under any wrapper."""
        return super().resolve(_WRAPPERS.sub("", key))

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`; a file without any layer over frames misses none."""
        account = super().account(tensors, targets)
        if not any(map(_OVER_FRAMES.fullmatch, account.used)):
            _inflate(account, targets)
        keys = [source for name, sources in account.used.items() if name.startswith("tae.") for source in sources]
        _note_wrappers(account.metadata, keys)
        return account

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`; what an inflated file came without is left out again."""
        found = found or {}
        plain = super().export(_over_pixels(tensors) if _INFLATED in found else tensors, found)
        inside = {_WRAPPERS.sub("", key): key for key in found.get(_WRAPPED, "").split(",")}
        result = Account()
        for key, ours in plain.used.items():
            is_tae = ours[0].startswith("tae.")
            name = inside.get(key, found.get(_PREFIX, "") + key) if is_tae else key
            result.use(name, ours, plain.tensors[key])
        return result


class InflatedKeys(KeyMap):
    """A TAE made of an image autoencoder in diffusers' layout; ``rules`` go on from latent diffusion's names."""

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`; layers over frames are made."""
        wanted = {self.source_name(name): name for name in targets if not _OVER_FRAMES.fullmatch(name)}
        account = _IMAGE_KEYS.account(tensors, {theirs: targets[ours] for theirs, ours in wanted.items()})
        result = Account(
            used={wanted[name]: sources for name, sources in account.used.items()},
            tensors={wanted[name]: tensor for name, tensor in account.tensors.items()},
            ignored=account.ignored,
            missing=[wanted[name] for name in account.missing],
            unexpected=account.unexpected,
            mismatched=account.mismatched,
            metadata=account.metadata,
        )
        _inflate(result, targets)
        return result

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`; layers over frames, which the original lacks, are left out."""
        wanted = {self.source_name(name): name for name in _over_pixels(tensors)}
        account = _IMAGE_KEYS.export({theirs: tensors[ours] for theirs, ours in wanted.items()}, found)
        account.used = {key: tuple(wanted[name] for name in names) for key, names in account.used.items()}
        return account


def _note_wrappers(metadata: dict[str, str], keys: Sequence[str]) -> None:
    """Note the wrappers before most keys, and the keys that have others."""
    prefixes = Counter(key.removesuffix(_WRAPPERS.sub("", key)) for key in keys)
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    if prefix:
        metadata[_PREFIX] = prefix
    if odd := [key for key in keys if key != prefix + _WRAPPERS.sub("", key)]:
        metadata[_WRAPPED] = ",".join(odd)


def _over_pixels(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    return {name: tensor for name, tensor in tensors.items() if not _OVER_FRAMES.fullmatch(name)}


def _inflate(account: Account, targets: Mapping[str, Shape]) -> None:
    """Give the layers over frames that a file lacks what a new network has."""
    made = [name for name in targets if _OVER_FRAMES.fullmatch(name) and name not in account.tensors]
    for name in made:
        start = ONES if name.endswith(".norm.weight") else ZEROS if ".proj_out." in name else CENTRE
        account.tensors[name] = from_array(start.draw(targets[name], np.random.default_rng(0)))
    account.missing = [name for name in account.missing if name not in made]
    if made:
        account.metadata[_INFLATED] = f"{len(made)} tensors of layers over frames, which pass frames on"


TAE_KEYS = TAEKeys(
    rules=(
        *TRAINING_STATE,
        ignore("{*}.temb_proj.{*}", "projection of a timestep, which an autoencoder has none of"),
        ignore("logvar", "variance of the reconstruction, kept by training"),
        *mindone_lpips_rules(source="perceptual_loss."),
        *mindspore_norms("tae."),
        rename("{*}.conv_temp.weight", "tae.{*}.conv_temp.weight", _KERNEL),
        rename("{*}sample_temp.conv.weight", "tae.{*}sample_temp.conv.weight", _KERNEL),
        rename("{*}", "tae.{*}"),
    ),
)
SD35_KEYS = InflatedKeys(
    rules=(
        rename("{*}.downsample.conv.{*}", "tae.{*}.downsample_spat.conv.{*}"),
        rename("{*}.upsample.conv.{*}", "tae.{*}.upsample_spat.conv.{*}"),
        rename("{*}.attn_1.{*}", "tae.{*}.attn_1.0.{*}"),
        rename("{*}.attn.{}.{*}", "tae.{*}.attn.{}.0.{*}"),
        *(rename(f"{{*}}.{name}.{{*}}", f"tae.{{*}}.{name}.{{*}}") for name in NORMS),
        rename("{*}.weight", "tae.{*}.conv_spat.weight"),
        rename("{*}.bias", "tae.{*}.conv_spat.bias"),
    ),
)
_IMAGE_KEYS = DiffusersKeys(rules=(), target="")
