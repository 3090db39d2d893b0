"""MindSpore's ``.ckpt`` container: protobuf, read as a stream of fields with no protobuf library.

Schema (mindspore/ccsrc checkpoint.proto): Checkpoint{repeated Value value=1}; Value{string tag=1; TensorProto
tensor=2; MapTensorProto maptensor=3}; TensorProto{repeated int64 dims=1; string tensor_type=2; bytes
tensor_content=3}. A long parameter is several Values with one tag. A 17-byte trailer may hold a crc32.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.dtypes import BY_MINDSPORE, DType
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.protobuf import BYTES, VARINT, fields, varint
from videogen_cli.weights.tensor import LazyTensor

CRC_MARK = b"crc_num"
_TRAILER = len(CRC_MARK) + 10
_CHECK_BYTES = 8 << 20
_MAX_VALUES, _MAX_NAME, _MAX_DIMS, _MAX_TEXT = 200_000, 65_536, 32, 16 << 20


@dataclass
class _Value:
    """One parameter; ``spans`` are the byte ranges of its contents, to be joined."""

    tag: str
    kind: str
    dims: tuple[int, ...]
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(stop - start for start, stop in self.spans)


def read_mindspore(file: MappedFile) -> Checkpoint:
    """Open a MindSpore checkpoint; contents stay unread.

    Raises:
        WeightsError: damaged, cut off, encrypted, or holding types that are no weights (Int4, map tensors).
    """
    where = plain(file.path)
    trailer = bytes(file.data[-_TRAILER:])
    checked = trailer.startswith(CRC_MARK) and len(trailer) == _TRAILER
    end = file.size - (_TRAILER if checked else 0)
    integrity = _Integrity(file, end, int.from_bytes(trailer[len(CRC_MARK) :], "big") if checked else None)
    tensors: dict[str, LazyTensor] = {}
    scalars: dict[tuple[str | int, ...], str] = {}
    for value in _joined(_values(file, end, where), where):
        if value.tag in tensors or (value.tag,) in scalars:
            raise WeightsError(f"parameter '{plain(value.tag)}' is there twice", where=where)
        if value.kind == "str":
            scalars[value.tag,] = _text(file, value, where)
        else:
            tensors[value.tag] = _tensor(file, value, integrity, where)
    if not tensors and not scalars:
        raise WeightsError("holds no parameters", where=where)
    return Checkpoint(file.path, "mindspore-ckpt", tensors, scalars=scalars, files=(file.path,))


class _Integrity:
    """The crc32 of everything before the trailer, checked once, when numbers are first read."""

    def __init__(self, file: MappedFile, end: int, expected: int | None) -> None:
        self.file, self.end, self.expected = file, end, expected

    def check(self) -> None:
        if self.expected is None:
            return
        crc = 0
        for start in range(0, self.end, _CHECK_BYTES):
            stop = min(start + _CHECK_BYTES, self.end)
            crc = zlib.crc32(self.file.data[start:stop], crc)
            self.file.release(start, stop)
        if crc != self.expected:
            raise WeightsError("is damaged (its crc does not match)", where=plain(self.file.path))
        self.expected = None


def _values(file: MappedFile, end: int, where: str) -> Iterator[_Value]:
    """Yield the Values of a file as they stand."""
    try:
        for count, (number, wire, start, stop) in enumerate(fields(file.data, 0, end)):
            if (number, wire) != (1, BYTES) or count >= _MAX_VALUES:
                raise ValueError("a field that is no parameter")
            yield _value(file.data, start, stop, where)
    except (ValueError, UnicodeDecodeError) as error:
        hint = "Download or copy the file again."
        raise WeightsError(f"is no checkpoint, or cut off or damaged ({error})", where=where, hint=hint) from error


def _value(data: memoryview, start: int, end: int, where: str) -> _Value:
    tag: str | None = None
    tensor: tuple[int, int] | None = None
    for number, wire, first, stop in fields(data, start, end):
        if (number, wire) == (1, BYTES):
            tag = _short_text(data, first, stop)
        elif (number, wire) == (2, BYTES):
            tensor = first, stop
        elif number == 3:
            raise WeightsError(f"'{plain(tag)}' is a map tensor, which holds no weights", where=where)
    if tag is None or tensor is None:
        raise ValueError("a parameter without a name or a tensor")
    dims: list[int] = []
    kind, spans = "", []
    for number, wire, first, stop in fields(data, *tensor):
        if (number, wire) == (1, VARINT):
            dims.append(first)
        elif (number, wire) == (1, BYTES):
            dims += _packed(data, first, stop)
        elif (number, wire) == (2, BYTES):
            kind = _short_text(data, first, stop)
        elif (number, wire) == (3, BYTES):
            spans.append((first, stop))
        if len(dims) > _MAX_DIMS or len(spans) > 1:
            raise ValueError("a malformed tensor")
    if not kind or max(dims, default=0) >= 1 << 48:
        raise ValueError("a malformed tensor")
    return _Value(tag, kind, tuple(dims), spans)


def _packed(data: memoryview, position: int, end: int) -> list[int]:
    values: list[int] = []
    while position < end and len(values) <= _MAX_DIMS:
        value, position = varint(data, position, end)
        values.append(value)
    return values


def _short_text(data: memoryview, start: int, stop: int) -> str:
    if stop - start > _MAX_NAME:
        raise ValueError("a name is too long")
    return bytes(data[start:stop]).decode("utf-8")


def _joined(values: Iterator[_Value], where: str) -> Iterator[_Value]:
    """Join consecutive Values of one tag, as MindSpore splits parameters above 512 MiB."""
    current: _Value | None = None
    for value in values:
        if current is not None and current.tag == value.tag:
            if (current.kind, current.dims) != (value.kind, value.dims):
                raise WeightsError(f"the slices of '{plain(value.tag)}' contradict each other", where=where)
            current.spans += value.spans
            continue
        if current is not None:
            yield current
        current = value
    if current is not None:
        yield current


def _text(file: MappedFile, value: _Value, where: str) -> str:
    if value.nbytes > _MAX_TEXT:
        raise WeightsError(f"the text '{plain(value.tag)}' is too long", where=where)
    raw = b"".join(bytes(file.data[start:stop]) for start, stop in value.spans)
    try:
        return raw.decode("utf-32-le")
    except UnicodeDecodeError as error:
        raise WeightsError(f"the text '{plain(value.tag)}' is damaged", where=where) from error


def _tensor(file: MappedFile, value: _Value, integrity: _Integrity, where: str) -> LazyTensor:
    dtype = BY_MINDSPORE.get(value.kind)
    name = plain(value.tag)
    if dtype is None:
        raise WeightsError(f"'{name}' has the unsupported type '{plain(value.kind)}'", where=where)
    # A scalar has no dims, or the single dim 0 beside one number.
    shape = () if value.dims == (0,) and value.nbytes == dtype.itemsize else value.dims
    if math.prod(max(1, n) for n in shape) >= 1 << 48 or math.prod(shape) * dtype.itemsize != value.nbytes:
        what = f"'{name}' has {value.nbytes} bytes, which its shape {plain(shape)} does not fit"
        raise WeightsError(what, where=where, hint="Download or copy the file again.")
    spans = value.spans

    def read() -> np.ndarray:
        integrity.check()
        return _numbers(file, spans, dtype).reshape(shape)

    def release() -> None:
        for start, stop in spans:
            file.release(start, stop)

    return LazyTensor(shape, dtype.name, read, release, (file, value.tag))


def _numbers(file: MappedFile, spans: list[tuple[int, int]], dtype: DType) -> np.ndarray:
    """Return the contents as a flat array: a view of one span, or a copy that joins several."""
    if len(spans) <= 1:
        start, stop = spans[0] if spans else (0, 0)
        return np.frombuffer(file.data[start:stop], dtype.numpy)
    joined = np.empty(sum(stop - start for start, stop in spans), np.uint8)
    position = 0
    for start, stop in spans:
        joined[position : position + stop - start] = np.frombuffer(file.data[start:stop], np.uint8)
        file.release(start, stop)
        position += stop - start
    return joined.view(dtype.numpy)
