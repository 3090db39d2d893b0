"""Checkpoints in torch's and safetensors' formats, written here so that tests need neither library's writer."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.weights.dtypes import BY_NUMPY

_STORAGES = {"float32": "Float", "float16": "Half", "float64": "Double", "int64": "Long", "uint8": "Byte"}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclass(frozen=True)
class Tensor:
    """A tensor to be pickled: a view (element offset, shape, strides) of the storage ``key``."""

    key: str
    array: np.ndarray
    shape: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    offset: int = 0
    count: int | None = None


@dataclass(frozen=True)
class Code:
    """Raw opcodes that leave one value on the stack."""

    opcodes: bytes


def global_(module: str, name: str) -> bytes:
    """Return the GLOBAL opcode."""
    return f"c{module}\n{name}\n".encode()


def opcodes(value: Any, *, legacy: bool = False) -> bytes:
    """Return protocol-2 opcodes that push ``value``."""
    if isinstance(value, Code):
        return value.opcodes
    if isinstance(value, Tensor):
        return _tensor(value, legacy)
    if isinstance(value, dict):
        items = b"".join(opcodes(k, legacy=legacy) + opcodes(v, legacy=legacy) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, (list, tuple)):
        items = b"".join(opcodes(item, legacy=legacy) for item in value)
        return b"(" + items + b"t" if isinstance(value, tuple) else b"](" + items + b"e"
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    return pickle.dumps(value, 2)[2:-1]


def _tensor(value: Tensor, legacy: bool) -> bytes:
    array = value.array
    shape = array.shape if value.shape is None else value.shape
    strides = tuple(s // array.itemsize for s in array.strides) if value.strides is None else value.strides
    storage_class = Code(global_("torch", f"{_STORAGES[array.dtype.name]}Storage"))
    count = array.size if value.count is None else value.count
    persistent_id = ("storage", storage_class, value.key, "cpu", count, *((None,) if legacy else ()))
    arguments = (Code(opcodes(persistent_id) + b"Q"), value.offset, shape, strides, False, {})
    return global_("torch._utils", "_rebuild_tensor_v2") + opcodes(arguments) + b"R"


def storages(value: Any) -> dict[str, np.ndarray]:
    """Collect the storages of all tensors in ``value``."""
    if isinstance(value, Tensor):
        return {value.key: value.array}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return {key: array for part in parts for key, array in storages(part).items()}


def write_torch_zip(path: Path, value: Any, *, method: int = zipfile.ZIP_STORED) -> Path:
    """Write what ``torch.save`` (1.6 and later) writes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + opcodes(value) + b".")
        for key, array in storages(value).items():
            with archive.open(f"archive/data/{key}", "w", force_zip64=True) as entry:
                entry.write(np.ascontiguousarray(array).data)
        archive.writestr("archive/version", "3\n")
    return path


def write_torch_legacy(path: Path, value: Any) -> Path:
    """Write what ``torch.save`` wrote before 1.6."""
    arrays = dict(sorted(storages(value).items()))
    with open(path, "wb") as handle:
        for part in (MAGIC, PROTOCOL, SYSTEM):
            handle.write(pickle.dumps(part, 2))
        handle.write(b"\x80\x02" + opcodes(value, legacy=True) + b".")
        handle.write(pickle.dumps(list(arrays), 2))
        for array in arrays.values():
            handle.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    """Return a safetensors file with any header, valid or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a valid safetensors file."""
    header, position = {}, 0
    for name, array in arrays.items():
        span = [position, position + array.nbytes]
        kind = BY_NUMPY[array.dtype.str].safetensors
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": span}
        position = span[1]
    with open(path, "wb") as handle:
        handle.write(safetensors_bytes(header))
        for array in arrays.values():
            handle.write(np.ascontiguousarray(array).data)
    return path
