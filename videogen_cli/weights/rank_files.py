"""Checkpoints that every rank of a sharded training wrote its part of (mindspore-lab/mindone, trainers/zero.py).

Beside the rank files lie ``params_split_info_<rank>.json``: for every parameter whether it was split along its first
axis. Parameters that were not, or are not listed, are whole in every file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.layouts import can_stack, stacked
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.sharded import read_folder, read_json
from videogen_cli.weights.tensor import LazyTensor

_RANK = re.compile(r"rank_?(\d+)")
_INFO, _INFO_FOLDER = "params_split_info_{}.json", "params_info"
_PARENTS = 3  # folders above the rank files in which their description is looked for
_HINT = f"Training writes {_INFO.format('<rank>')} into {_INFO_FOLDER}/; put that folder beside the rank files."


def open_ranks(path: Path | str) -> Checkpoint:
    """Open the rank files that ``path`` (a folder, or one of them) belongs to as one checkpoint.

    A folder without rank files is opened as any other folder of weights.

    Raises:
        WeightsError: a rank or its description is missing, or a folder has rank files of several checkpoints.
    """
    path = Path(path)
    ranks = _siblings(path) if path.is_file() else _only_group(path)
    if not ranks:
        return read_folder(path, open_checkpoint)
    infos = [_info_file(rank_file, rank) for rank, rank_file in enumerate(ranks)]
    return merge(ranks, infos)


def merge(ranks: Sequence[Path], infos: Sequence[Path]) -> Checkpoint:
    """Open rank files, in order, with the descriptions of how they were split, as one checkpoint.

    Raises:
        WeightsError: a file cannot be read, or the ranks contradict each other.
    """
    parts = [open_checkpoint(path).tensors for path in ranks]
    split = [_read_info(path) for path in infos]
    where = plain(ranks[0])
    tensors = {name: _merged(name, [part.get(name) for part in parts], split, where) for name in parts[0]}
    for path, part in zip(ranks, parts, strict=True):
        if odd := [name for name in part if name not in tensors]:
            raise WeightsError(f"holds '{plain(odd[0])}', which rank 0 does not", where=plain(path))
    folder = ranks[0].parent
    return Checkpoint(folder, "mindspore-ckpt-ranks", tensors, files=tuple(ranks))


def _merged(name: str, parts: Sequence[LazyTensor | None], split: Sequence[Mapping[str, bool]], where: str) -> Any:
    """Return one parameter of all ranks."""
    flags = {info.get(name, False) for info in split}
    if len(flags) > 1:
        raise WeightsError(f"ranks disagree whether '{plain(name)}' is split", where=where)
    if not flags.pop():
        return parts[0]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts) or not can_stack(found):
        raise WeightsError(f"the parts of '{plain(name)}' do not fit together", where=where)
    return stacked(found)


def _read_info(path: Path) -> dict[str, bool]:
    content = read_json(MappedFile(path))
    fits = isinstance(content, dict) and all(
        isinstance(item, dict) and isinstance(item.get("split"), bool) for item in content.values()
    )
    if not fits:
        raise WeightsError("does not say which parameters are split", where=plain(path))
    return {name: item["split"] for name, item in content.items()}


def _info_file(rank_file: Path, rank: int) -> Path:
    name = _INFO.format(rank)
    for folder in list(rank_file.absolute().parents)[: _PARENTS + 1]:
        for path in (folder / _INFO_FOLDER / name, folder / name):
            if path.is_file():
                return path
    raise WeightsError(f"there is no {name} for this part of a checkpoint", where=plain(rank_file), hint=_HINT)


def _only_group(folder: Path) -> list[Path]:
    """Return a folder's rank files in order; none if it has none."""
    groups: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.rglob("*.ckpt")):
        name = path.relative_to(folder).as_posix()
        if match := _RANK.search(name):
            groups.setdefault(_RANK.sub("rank{}", name), {})[int(match[1])] = path
    if len(groups) > 1:
        shown = ", ".join(plain(name) for name in list(groups)[:4])
        hint = "Name the file of rank 0 of the one you want."
        raise WeightsError(f"holds rank files of {len(groups)} checkpoints: {shown}", where=plain(folder), hint=hint)
    return _complete(next(iter(groups.values())), folder) if groups else []


def _siblings(path: Path) -> list[Path]:
    """Return the files of all ranks for that of one."""
    whole = path.absolute().as_posix()
    match = list(_RANK.finditer(whole))
    if not match:
        raise WeightsError("its name has no 'rank<number>', so its other parts cannot be found", where=plain(path))
    found: dict[int, Path] = {}
    while (candidate := Path(_RANK.sub(lambda m: m[0].replace(m[1], str(len(found))), whole))).is_file():
        found[len(found)] = candidate
    return _complete(found, path)


def _complete(ranks: Mapping[int, Path], where: Path) -> list[Path]:
    if sorted(ranks) != list(range(len(ranks))) or not ranks:
        raise WeightsError(f"has the parts of ranks {sorted(ranks)}, not of 0 and all up", where=plain(where))
    return [ranks[rank] for rank in sorted(ranks)]
