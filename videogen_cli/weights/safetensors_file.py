"""The safetensors container: a JSON header, then the numbers, with no holes and no overlaps.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.dtypes import BY_SAFETENSORS
from videogen_cli.weights.json_text import is_count, parse_json
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.tensor import LazyTensor

MAX_HEADER_BYTES = 100_000_000
_ADVICE = "Download or copy the file again."


def read_safetensors(file: MappedFile) -> Checkpoint:
    """Open a safetensors file; nothing but the header is read.

    Raises:
        WeightsError: the header breaks a rule of the format, or the file is not as long as it says.
    """
    where = plain(file.path)
    (length,) = struct.unpack("<Q", file.head(8))
    start = 8 + length
    if start > file.size:
        what = f"is cut off: its header should be {length} bytes long, the file has {file.size}"
        raise WeightsError(what, where=where, hint=_ADVICE)
    if length > MAX_HEADER_BYTES:
        raise WeightsError(f"its header is {length} bytes long, more than any file needs", where=where)
    header = parse_json(bytes(file.data[8:start]), where, "header")
    if not isinstance(header, dict):
        raise WeightsError("its header is not a JSON object", where=where)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError("its metadata is not text", where=where)
    tensors: dict[str, LazyTensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensors[name], begin, end = _tensor(file, start, name, entry, where)
        spans.append((begin, end, name))
    _check_spans(spans, file.size - start, where)
    return Checkpoint(file.path, "safetensors", tensors, metadata=metadata, files=(file.path,))


def _tensor(file: MappedFile, data_start: int, name: str, entry: Any, where: str) -> tuple[LazyTensor, int, int]:
    """Check one header entry; return its tensor and its span in the data."""

    def error(what: str) -> WeightsError:
        return WeightsError(f"tensor '{plain(name)}' {what}", where=where)

    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise error("is not fully described")
    shape, offsets = entry["shape"], entry["data_offsets"]
    dtype = BY_SAFETENSORS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise error(f"has the unknown type '{plain(entry['dtype'])}'")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(is_count, shape)):
        raise error("has a malformed shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise error("has malformed offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize or math.prod(max(1, n) for n in shape) >= 1 << 48:
        raise error(f"has {end - begin} bytes, which its shape {plain(shape)} does not fit")
    if data_start + end > file.size:
        raise WeightsError(f"is cut off: '{plain(name)}' ends beyond the end of the file", where=where, hint=_ADVICE)
    first, last = data_start + begin, data_start + end

    def read() -> np.ndarray:
        return np.frombuffer(file.data[first:last], dtype.numpy).reshape(shape)

    tensor = LazyTensor(tuple(shape), dtype.name, read, lambda: file.release(first, last), (file, begin, end, name))
    return tensor, begin, end


def _check_spans(spans: list[tuple[int, int, str]], available: int, where: str) -> None:
    """Demand that the tensors cover the data once, from its start to its end."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            what = "overlaps another tensor" if begin < position else "is preceded by bytes that belong to no tensor"
            raise WeightsError(f"tensor '{plain(name)}' {what}", where=where)
        position = end
    if position != available:
        raise WeightsError(f"holds {available} bytes of numbers, its header speaks of {position}", where=where)
