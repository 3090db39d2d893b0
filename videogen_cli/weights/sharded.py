"""Sets of shards with an index, folders of weights, and manifests."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.dtypes import DTYPES
from videogen_cli.weights.json_text import is_count, parse_json
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.tensor import LazyTensor

MAX_JSON_BYTES = 64 << 20
_MAX_SHARDS = 10_000
Opener = Callable[[Path], Checkpoint]


def read_json(file: MappedFile) -> Any:
    """Return the JSON in a file, which may be packed with gzip.

    Raises:
        WeightsError: not JSON, or too large.
    """
    where = plain(file.path)
    if file.size > MAX_JSON_BYTES:
        raise WeightsError("is too large for an index or a manifest", where=where)
    data = bytes(file.data)
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(file.path) as handle:
                data = handle.read(MAX_JSON_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise WeightsError(f"is damaged: {error}", where=where) from error
        if len(data) > MAX_JSON_BYTES:
            raise WeightsError("unpacks to more than any manifest needs", where=where)
    return parse_json(data, where, "text")


def read_index(file: MappedFile, content: Mapping[str, Any], opener: Opener) -> Checkpoint:
    """Open the shards that an index names; they must lie beside it.

    Raises:
        WeightsError: a shard is missing or outside the folder, or a tensor is not in its shard.
    """
    where, folder = plain(file.path), file.path.parent
    weight_map = content["weight_map"]
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()) or not weight_map:
        raise WeightsError("its weight_map does not say which file each tensor is in", where=where)
    shards: dict[str, Checkpoint] = {}
    for name in sorted(set(weight_map.values()))[:_MAX_SHARDS]:
        if "/" in name or "\\" in name or name in ("", ".", "..") or "\0" in name:
            raise WeightsError(f"points outside its folder: '{plain(name)}'", where=where)
        if not (folder / name).is_file():
            raise WeightsError(f"the shard '{plain(name)}' is missing", where=where, hint="Download the whole set.")
        shards[name] = opener(folder / name)
    kinds = {shard.container for shard in shards.values()}
    kind = "safetensors-sharded" if kinds == {"safetensors"} else "torch-sharded"
    if not kinds <= {"safetensors", "torch-zip", "torch-legacy"}:
        raise WeightsError("its shards are not safetensors or torch files", where=where)
    tensors: dict[str, LazyTensor] = {}
    for tensor, name in weight_map.items():
        if name not in shards or tensor not in shards[name].tensors:
            raise WeightsError(f"tensor '{plain(tensor)}' is not in the shard '{plain(name)}'", where=where)
        tensors[tensor] = shards[name].tensors[tensor]
    unknown = {name: None for shard in shards.values() for name in shard.unknown_globals}
    metadata = next(iter(shards.values())).metadata
    files = (file.path, *(folder / name for name in shards))
    return Checkpoint(file.path, kind, tensors, unknown_globals=list(unknown), metadata=metadata, files=files)


def read_manifest(file: MappedFile, content: Mapping[str, Any]) -> Checkpoint:
    """Open a list of names, shapes, and types; its tensors have no numbers.

    Raises:
        WeightsError: an entry is malformed.
    """
    where = plain(file.path)
    tensors: dict[str, LazyTensor] = {}
    for name, entry in content["tensors"].items() if isinstance(content["tensors"], dict) else ():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        dtype = entry.get("dtype", "float32") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(map(is_count, shape)) or dtype not in DTYPES:
            raise WeightsError(f"the entry of '{plain(name)}' is malformed", where=where)
        tensors[name] = LazyTensor(tuple(shape), dtype, lambda: _no_numbers(where))
    if not tensors:
        raise WeightsError("is a manifest without tensors", where=where)
    config = content.get("config")
    is_list = list(tensors) == [str(index) for index in range(len(tensors))]
    return Checkpoint(
        file.path,
        "manifest",
        tensors,
        config=config if isinstance(config, dict) else None,
        is_list=is_list,
        files=(file.path,),
    )


def _no_numbers(where: str) -> np.ndarray:
    raise WeightsError(
        "is a manifest: it has shapes but no numbers", where=where, hint="Use --check, or the real file."
    )


# What a folder may hold, most wanted first; "*" stands for any name.
_FOLDER_FILES = (
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
_FOLDER_PATTERNS = ("*.index.json", "*.safetensors", "*.bin", "*.pth", "*.pt", "*.ckpt")


def read_folder(path: Path, opener: Opener) -> Checkpoint:
    """Open a folder: one model's weights, or a diffusers pipeline whose parts become ``<part>.<name>``.

    The config of a pipeline has the parts' ``config.json`` by part.

    Raises:
        WeightsError: there are no weights in it, or several and no telling which is meant.
    """
    if chosen := _weights_in(path):
        return opener(chosen)
    parts = {child.name: found for child in sorted(path.iterdir()) if child.is_dir() and (found := _weights_in(child))}
    if not parts:
        raise WeightsError("has no weights in it", where=plain(path))
    opened = {name: opener(found) for name, found in parts.items()}
    return Checkpoint(
        path,
        "folder",
        {f"{part}.{name}": tensor for part, item in opened.items() for name, tensor in item.tensors.items()},
        unknown_globals=[name for item in opened.values() for name in item.unknown_globals],
        config={name: config for name in parts if (config := _config_in(path / name))} or None,
        files=tuple(file for item in opened.values() for file in item.files),
    )


def _config_in(folder: Path) -> dict[str, Any] | None:
    """Return the hyper-parameters of a folder's model, if it has any."""
    path = folder / "config.json"
    config = read_json(MappedFile(path)) if path.is_file() else None
    return config if isinstance(config, dict) else None


def _weights_in(folder: Path) -> Path | None:
    """Return the file of a folder that holds its weights, or None."""
    for name in _FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    for pattern in _FOLDER_PATTERNS:
        found = sorted(item for item in folder.glob(pattern) if item.is_file() and not item.name.startswith("."))
        if len(found) == 1:
            return found[0]
        if found:
            names = [item.name for item in found]
            hint = f"Give the file itself. {did_you_mean('model', names)}"
            raise WeightsError(f"has {len(found)} files of weights", where=plain(folder), hint=hint)
    return None
