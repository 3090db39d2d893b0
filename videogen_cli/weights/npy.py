"""numpy's ``.npz`` archives of plain arrays, and pickled lists or dictionaries of them or of MindSpore's tensors.

Both are how T2V-Turbo's MindSpore port has stored LoRA factors.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.archive import Archive, Entry
from videogen_cli.weights.checkpoint import Checkpoint, from_object
from videogen_cli.weights.dtypes import BY_NUMPY
from videogen_cli.weights.globals_table import GlobalTable
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.pickle_machine import Stateful
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.unpickle import Unpickler

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096


def read_npz(file: MappedFile) -> Checkpoint:
    """Open an ``.npz`` archive; "arr_0", "arr_1", ... come in the order of their numbers.

    Raises:
        WeightsError: damaged, or an entry is no plain array.
    """
    where = plain(file.path)
    archive = Archive(file)
    tensors = {name.removesuffix(".npy"): _npy(archive, entry, where) for name, entry in archive.entries.items()}
    numbered = all(name.removeprefix("arr_").isdecimal() for name in tensors)
    if numbered:
        order = sorted(tensors, key=lambda name: int(name.removeprefix("arr_")))
        tensors = {str(index): tensors[name] for index, name in enumerate(order)}
    return Checkpoint(file.path, "npz", tensors, is_list=numbered, files=(file.path,))


def _npy(archive: Archive, entry: Entry, where: str) -> LazyTensor:
    """Describe one ``.npy`` entry (numpy/lib/format.py)."""
    head = _head(archive, entry)
    wide = head[6:7] != b"\x01"
    length = int.from_bytes(head[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + length
    try:
        if head[:6] != _MAGIC or length > _MAX_HEADER:
            raise ValueError
        header = ast.literal_eval(head[12 if wide else 10 : start].decode("latin1"))
        shape, order, kind = tuple(header["shape"]), header["fortran_order"], header["descr"]
        dtype = BY_NUMPY[kind]
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise WeightsError(f"'{plain(entry.name)}' is not a plain array of numbers", where=where) from error
    if math.prod(shape) * dtype.itemsize != entry.size - start:
        raise WeightsError(f"'{plain(entry.name)}' does not have the size of its shape", where=where)

    def read() -> np.ndarray:
        flat = np.frombuffer(archive.read(entry)[start:], dtype.numpy)
        return flat.reshape(shape, order="F" if order else "C")

    return LazyTensor(shape, dtype.name, read, lambda: archive.release(entry), entry)


def _head(archive: Archive, entry: Entry) -> bytes:
    if entry.deflated:
        return bytes(archive.read(entry)[: _MAX_HEADER + 16])
    return bytes(archive.file.data[entry.start : entry.start + min(entry.packed_size, _MAX_HEADER + 16)])


class _ArrayType(Stateful):
    """A pickled ``numpy.dtype``: its letters, and the byte order that its state brings."""

    def __init__(self, letters: Any, *_: Any) -> None:
        self.letters, self.big_endian = str(letters), False

    def set_state(self, state: Any) -> None:
        """Take the byte order."""
        self.big_endian = state[1] == ">"

    def resolve(self) -> np.dtype:
        """Return the numpy type."""
        if f"<{self.letters}" not in BY_NUMPY and f"|{self.letters}" not in BY_NUMPY:
            raise ValueError("not an array of numbers")
        return np.dtype(self.letters).newbyteorder(">" if self.big_endian else "<")


class _Array(Stateful):
    """A pickled array, filled in by its state."""

    value: LazyTensor | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def set_state(self, state: Any) -> None:
        """Take (version, shape, dtype, fortran order, bytes)."""
        _, shape, dtype, fortran, raw = state
        if isinstance(raw, str):
            raw = raw.encode("latin1")
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


class _Tensor(Stateful):
    """A pickled ``mindspore.Tensor``: no arguments, and an array as its state, in what its release puts that into."""

    value: LazyTensor | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def set_state(self, state: Any) -> None:
        """Take ``{"value": (array,)}`` or ``(array,)``."""
        (array,) = state["value"] if isinstance(state, dict) else state
        self.value = _filled(array)


def _parameter(data: Any, *_: Any) -> Any:
    """Return a pickled ``mindspore.Parameter``'s tensor; its name and flags follow."""
    return data


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> LazyTensor:
    layout = dtype.resolve()
    values = np.frombuffer(raw, layout).reshape(shape, order=order)
    if layout.byteorder == ">":
        values = values.astype(layout.newbyteorder("<"))
    return LazyTensor(values.shape, BY_NUMPY[values.dtype.str].name, lambda: values)


def read_pickled_arrays(path: Path) -> Checkpoint:
    """Open a plain pickle that is a list or dictionary of numpy arrays or MindSpore tensors and nothing else.

    They are views of the file; no code of the file and none of numpy's or MindSpore's unpickling is run.

    Raises:
        WeightsError: damaged, hostile, or anything else than arrays.
    """
    file = MappedFile(path)
    where = plain(path)
    handlers: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): _ArrayType,
        ("mindspore.common.tensor", "Tensor"): _Tensor,
        ("mindspore.common.parameter", "Parameter"): _parameter,
    }
    for package in ("numpy.core", "numpy._core"):
        handlers[f"{package}.multiarray", "_reconstruct"] = _Array
        handlers[f"{package}.numeric", "_frombuffer"] = _array
    table = GlobalTable(where, handlers)
    machine = Unpickler(file.map or b"", find_global=table.find, persistent_load=None, where=where)
    value, _ = machine.load()
    try:
        arrays = _plain_arrays(value)
    except ValueError as error:
        raise WeightsError("is a plain Python pickle that is no list of arrays", where=where) from error
    return from_object(path, "pickled-arrays", arrays, unknown=list(table.unknown))


def _plain_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and value:
        return [_filled(item) for item in value]
    raise ValueError


def _filled(item: Any) -> LazyTensor:
    value = item.value if isinstance(item, (_Array, _Tensor)) else item
    if not isinstance(value, LazyTensor):
        raise ValueError
    return value
