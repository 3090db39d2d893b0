"""Checkpoints of Movie Gen's transformer: MindSpore files of upstream's training, whole or in rank files.

Upstream: mindspore-lab/mindone, examples/moviegen, and ``mindone/trainers/zero.py`` for the rank files of ZeRO-3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.nets.params.moviegen import MovieGenParams
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import Account, KeyMap, Match, Shape, ignore, rename
from videogen_cli.weights.parts import PartedKeys
from videogen_cli.weights.rank_files import open_ranks
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.tensor import LazyTensor

# Training wraps the model in its loss; a validation set wraps that once more.
_WRAPPERS = re.compile(r"(?:network\.)*(?:model\.)?")
_PREFIX = "network.model."
_FINAL_TABLE = "final_layer.scale_shift_table"
_TRANSFORMER, _PROJECTOR = "transformer.", "text_projector."
_OUR_FINAL_TABLE = f"{_TRANSFORMER}{_FINAL_TABLE}"
_POSITIONS = tuple(f"pos_embedding_table_{axis}" for axis in ("t", "h", "w"))
_OUR_POSITIONS = tuple(f"{_TRANSFORMER}{table}.weight" for table in _POSITIONS)
_STATE = "state of the optimizer or the training loop"
_STATE_KEYS = (
    *("adam_m.{*}", "adam_v.{*}", "accum_grad.{*}", "beta1_power", "beta2_power", "global_step", "learning_rate"),
    *("epoch_num", "cur_step", "loss_scale"),
)
_ENCODERS = ("ul2", "metaclip", "byt5")
TRAINING_STATE = (
    *(ignore(key, _STATE) for key in _STATE_KEYS),
    ignore("ema.{*}", "moving average kept by training"),
    ignore("swap.{*}", "weights put aside while the average is used"),
)


class LlamaKeys(PartedKeys):
    """The transformer's keys, whichever of upstream's versions and wrappers wrote them.

    Later versions keep the last layer's modulation as (1 2 width). What a file had is in the account's metadata, so
    that an export has it again. Position tables of another length than asked for are resized, as later versions do.
    The text projection on its own is read from a file of its own, or from the transformer's.
    """

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file, or the rank files in a folder as one."""
        path = Path(path)
        return open_ranks(path) if path.is_dir() else open_checkpoint(path, root=root)

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Take the length of the position tables from the file, unless another than the default is asked for."""
        asked: MovieGenParams | None = params.get("transformer")
        if asked is None or asked.max_length != MovieGenParams().max_length:
            return params
        stored = {_unwrapped(key): tensor.shape for key, tensor in tensors.items()}
        tables = [stored.get(f"{table}.embedding_table") for table in _POSITIONS]
        lengths = [rows[0] if rows else limit for rows, limit in zip(tables, asked.max_length, strict=True)]
        return {**params, "transformer": replace(asked, max_length=lengths)}

    def resolve(self, key: str) -> Match | None:
        """Return what knows a key under any wrapper."""
        return super().resolve(_unwrapped(key))

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """Say what becomes of every key; see :class:`LlamaKeys` for what is reshaped and resized on the way."""
        if not any(name.startswith(_TRANSFORMER) for name in targets):
            return self._projection(tensors, targets)
        account = super().account({key: self._fitted(key, tensor, targets) for key, tensor in tensors.items()}, targets)
        notes = account.metadata
        if _OUR_FINAL_TABLE in account.used:
            source = account.used[_OUR_FINAL_TABLE][0]
            notes["prefix"] = source.removesuffix(_FINAL_TABLE)
            notes["final_table_axes"] = str(len(tensors[source].shape))
        for name in _OUR_POSITIONS:
            if name in account.used and (rows := tensors[account.used[name][0]].shape[0]) != targets[name][0]:
                notes[f"resized {name}"] = f"{rows} to {targets[name][0]} rows"
        return account

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """Return the original's names for ours, with the prefix and the axes the weights came with.

        Without a note of them they are those of the first version's training script.
        """
        plain, found = super().export(tensors, found), found or {}
        result = Account()
        for key, ours in plain.used.items():
            tensor = plain.tensors[key]
            if key == _FINAL_TABLE and found.get("final_table_axes") == "3":
                tensor = _reshaped(tensor, (1, *tensor.shape))
            prefix = found.get("prefix", _PREFIX) if ours[0].startswith(_TRANSFORMER) else ""
            result.use(f"{prefix}{key}", ours, tensor)
        return result

    def _projection(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """Account for the text projection alone, also where the transformer's file holds it."""
        keys = {_unwrapped(key).removeprefix(_PROJECTOR): key for key in tensors}
        account = super().account({name: tensors[key] for name, key in keys.items()}, targets)
        return replace(
            account,
            used={name: tuple(keys[source] for source in sources) for name, sources in account.used.items()},
            ignored={keys[name]: reason for name, reason in account.ignored.items()},
            unexpected={keys[name]: near for name, near in account.unexpected.items()},
            mismatched=[replace(item, source=keys[item.source]) for item in account.mismatched],
        )

    def _fitted(self, key: str, tensor: LazyTensor, targets: Mapping[str, Shape]) -> LazyTensor:
        """Return a tensor in the shape of its target, where a rule of this map can bring it there."""
        match, shape = self.resolve(key), tensor.shape
        target = match.targets[0] if match and match.targets else ""
        wanted = targets.get(target, shape)
        if target == _OUR_FINAL_TABLE and shape == (1, *wanted):
            return _reshaped(tensor, wanted)
        if target in _OUR_POSITIONS and len(shape) == 2 and shape[0] != wanted[0] and shape[1] == wanted[1]:
            return _resized(tensor, wanted[0])
        return tensor


class MergedKeys(KeyMap):
    """Rank files as one file, under its own names: what ``transform_checkpoints`` writes."""

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open the rank files of a folder, or those that go with one of them."""
        return open_ranks(path)

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """Keep every key."""
        account = Account()
        for key, tensor in tensors.items():
            account.use(key, (key,), tensor)
        return account

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """Keep every key: a merged file is the original."""
        return self.account(tensors, {})


def resize_table(table: np.ndarray, rows: int) -> np.ndarray:
    """Return a position table (n width) interpolated linearly to (rows width), float32, both ends kept."""
    places = np.linspace(0, len(table) - 1, rows)
    low = np.minimum(places.astype(int), len(table) - 1)
    high = np.minimum(low + 1, len(table) - 1)
    share = (places - low)[:, None]
    return (table[low] * (1 - share) + table[high] * share).astype(np.float32)


def _unwrapped(key: str) -> str:
    return key[_WRAPPERS.match(key).end() :]  # type: ignore[union-attr]  (the pattern matches everything)


def _reshaped(tensor: LazyTensor, shape: Shape) -> LazyTensor:
    return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))


def _resized(tensor: LazyTensor, rows: int) -> LazyTensor:
    shape = (rows, tensor.shape[1])
    return LazyTensor(shape, "float32", lambda: resize_table(tensor.float32(), rows), tensor.release)


LLAMA_KEYS = LlamaKeys(
    rules=(
        *TRAINING_STATE,
        ignore("tae.{*}", "autoencoder, which has a file of its own"),
        *(
            rename(f"{encoder}_{layer}.{{*}}", f"{_PROJECTOR}{encoder}_{layer}.{{*}}")
            for encoder in _ENCODERS
            for layer in ("linear", "layernorm")
        ),
        rename("pos_embedding_table_{*}.embedding_table", "transformer.pos_embedding_table_{*}.weight"),
        rename("{*}", "transformer.{*}"),
    ),
    parts=(_TRANSFORMER, _PROJECTOR),
)
ZERO3_KEYS = MergedKeys(rules=())
