"""Write checkpoints as a stream: one tensor in memory at a time, and the target appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import DiskError, WeightsError
from videogen_cli.files import atomic_path, existing_parent
from videogen_cli.weights.dtypes import DTYPES, cast, written_type
from videogen_cli.weights.names import plain
from videogen_cli.weights.tensor import LazyTensor, from_array

SHARD_BYTES = 5_000_000_000
_SLICE_BYTES = 512 << 20  # MindSpore splits longer parameters
Progress = Callable[[int], None]
Metadata = Mapping[str, str]


@dataclass(frozen=True)
class _Item:
    """A tensor and the type it is written in."""

    name: str
    tensor: LazyTensor
    dtype: str

    @property
    def nbytes(self) -> int:
        return self.tensor.size * DTYPES[self.dtype].itemsize

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield the numbers as written; the memory behind them is given back at the end."""
        try:
            for chunk in self.tensor.chunks():
                yield cast(chunk, self.tensor.dtype, self.dtype)
        except WeightsError as error:
            named = f"'{plain(self.name)}'"
            what = error.what if error.what.startswith(named) else f"{named} {error.what}"
            raise WeightsError(what, where=error.where, hint=error.hint) from error
        finally:
            self.tensor.release()


def save_safetensors(
    path: Path | str,
    tensors: Mapping[str, LazyTensor | np.ndarray],
    metadata: Metadata,
    dtype: str | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
    final_metadata: Callable[[], Metadata] | None = None,
) -> list[Path]:
    """Write a safetensors file, or shards with an index (``PATH.index.json``) when there is more than ``shard_bytes``.

    Args:
        path: the target.
        tensors: what to write; arrays are wrapped.
        metadata: text by key.
        dtype: ``fp32``, ``fp16``, ``bf16`` casts real floats; None keeps every type.
        shard_bytes: most bytes of numbers in one file; a single larger tensor has a file of its own.
        progress: called with the number of bytes just written.
        final_metadata: asked when all numbers are written, for metadata that is known only then (a hash of the
            source); it must be as long as ``metadata``, which stands in for it.

    Returns:
        The files written, the index (if any) last.

    Raises:
        WeightsError: a tensor cannot be read, cast, or stored in this container.
        DiskError: the disk is full or not writable; the target is as it was.
    """
    path = Path(path)
    items = _items(tensors, dtype, "safetensors")
    check_space(path, sum(item.nbytes for item in items))
    groups = _groups(items, shard_bytes)
    if len(groups) == 1:
        with atomic_path(path) as temporary:
            _write_group(temporary, groups[0], metadata, progress)
            _finish_headers([(temporary, groups[0])], final_metadata)
        return [path]
    names = [f"{path.stem}-{i + 1:05d}-of-{len(groups):05d}{path.suffix}" for i in range(len(groups))]
    index = path.with_name(f"{path.name}.index.json")
    with ExitStack() as stack:
        index_file = stack.enter_context(atomic_path(index))  # entered first, so it is renamed last
        targets = [stack.enter_context(atomic_path(path.with_name(name))) for name in names]
        for target, group in zip(targets, groups, strict=True):
            _write_group(target, group, metadata, progress)
        _finish_headers(list(zip(targets, groups, strict=True)), final_metadata)
        weight_map = {item.name: name for name, group in zip(names, groups, strict=True) for item in group}
        total = sum(item.nbytes for item in items)
        index_file.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1))
    path.unlink(missing_ok=True)  # an older, unsharded file would hide the new set
    return [*(path.with_name(name) for name in names), index]


def save_mindspore_ckpt(
    path: Path | str,
    tensors: Mapping[str, LazyTensor | np.ndarray],
    dtype: str | None = None,
    *,
    progress: Progress | None = None,
) -> list[Path]:
    """Write MindSpore's ``.ckpt`` container, readable by ``mindspore.load_checkpoint``. It holds no metadata.

    Arguments and errors are those of :func:`save_safetensors`; empty tensors and complex numbers cannot be stored.
    """
    path = Path(path)
    items = _items(tensors, dtype, "mindspore")
    for item in items:
        if not item.tensor.size:
            raise WeightsError(f"'{plain(item.name)}' is empty, which a MindSpore .ckpt cannot hold", where=plain(path))
    check_space(path, sum(item.nbytes for item in items))
    with atomic_path(path) as temporary, open(temporary, "wb", buffering=0) as handle:
        for item in items:
            _write_value(handle, item, progress)
    return [path]


def check_space(path: Path, needed: int) -> None:
    """Raise DiskError when fewer than ``needed`` bytes are free where ``path`` is to be written."""
    free = shutil.disk_usage(existing_parent(path)).free
    if needed > free:
        raise DiskError(
            f"{needed / 2**20:,.0f} MB are needed and {free / 2**20:,.0f} MB are free",
            where=str(path),
            hint="Free some space, choose another folder, or write --dtype fp16.",
        )


def _items(tensors: Mapping[str, LazyTensor | np.ndarray], dtype: str | None, container: str) -> list[_Item]:
    """Return what to write, in the given order."""
    items = []
    for name, value in tensors.items():
        tensor = value if isinstance(value, LazyTensor) else from_array(value)
        target = written_type(tensor.dtype, dtype)
        if not getattr(DTYPES[target], container):
            raise WeightsError(f"'{plain(name)}' is {target}, which {container} files cannot hold")
        if name == "__metadata__" or not _is_unicode(name):
            raise WeightsError(f"'{plain(name)}' cannot be the name of a tensor")
        items.append(_Item(name, tensor, target))
    return items


def _aligned(group: list[_Item]) -> list[_Item]:
    """Return items in the order their numbers are laid out: wide types first, so that each is aligned to its type."""
    return sorted(group, key=lambda item: -DTYPES[item.dtype].itemsize)


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _groups(items: list[_Item], limit: int) -> list[list[_Item]]:
    """Split items, in order, into runs of at most ``limit`` bytes."""
    groups: list[list[_Item]] = [[]]
    size = 0
    for item in items:
        if groups[-1] and size + item.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += item.nbytes
    return groups


def _header(group: list[_Item], metadata: Metadata) -> bytes:
    """Return the header, padded with blanks so that the numbers start 8-aligned."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata), **dict.fromkeys(item.name for item in group)}
    position = 0
    for item in _aligned(group):
        span = [position, position + item.nbytes]
        entries[item.name] = {
            "dtype": DTYPES[item.dtype].safetensors,
            "shape": list(item.tensor.shape),
            "data_offsets": span,
        }
        position = span[1]
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _write_group(path: Path, group: list[_Item], metadata: Metadata, progress: Progress | None) -> None:
    with open(path, "wb", buffering=0) as handle:
        _write(handle, _header(group, metadata))
        for item in _aligned(group):
            for piece in item.pieces():
                _write(handle, piece.data.cast("B"), progress)
        os.fsync(handle.fileno())  # here rather than at the end, while the source may still be being hashed


def _finish_headers(files: list[tuple[Path, list[_Item]]], final: Callable[[], Metadata] | None) -> None:
    """Write the headers again with what is known by now."""
    if final is None:
        return
    metadata = final()
    for path, group in files:
        header = _header(group, metadata)
        with open(path, "rb+", buffering=0) as handle:
            if handle.read(8) != header[:8]:
                raise ValueError("metadata changed its length")
            handle.seek(0)
            _write(handle, header)


def _write(handle: RawIOBase, data: Any, progress: Progress | None = None) -> None:
    """Write all of ``data``; a raw handle may take it in parts."""
    view = memoryview(data)
    while view:
        view = view[handle.write(view) or 0 :]
    if progress:
        progress(len(data))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _write_value(handle: RawIOBase, item: _Item, progress: Progress | None) -> None:
    """Write one parameter as protobuf Values of at most 512 MiB (schema: see mindspore_file)."""
    kind = DTYPES[item.dtype]
    dims = b"".join(_varint(1 << 3) + _varint(n) for n in item.tensor.shape)
    head = dims + _field(2, kind.mindspore.encode())
    remaining, left = item.nbytes, 0
    for piece in item.pieces():
        data = piece.data.cast("B")
        while data:
            if not left:
                left = min(remaining, _SLICE_BYTES)
                tensor_size = len(head) + len(_varint(3 << 3 | 2)) + len(_varint(left)) + left
                tag = _field(1, item.name.encode("utf-8"))
                prefix = tag + _varint(2 << 3 | 2) + _varint(tensor_size)
                start = prefix + head + _varint(3 << 3 | 2) + _varint(left)
                _write(handle, _varint(1 << 3 | 2) + _varint(len(prefix) + tensor_size) + start)
            part = data[:left]
            _write(handle, part, progress)
            left, remaining, data = left - len(part), remaining - len(part), data[len(part) :]
