"""What torch's pickles say about tensors: storages, and views into them, checked before a byte is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.dtypes import DTYPES
from videogen_cli.weights.globals_table import GlobalTable, StorageClass, TorchDType
from videogen_cli.weights.names import plain
from videogen_cli.weights.pickle_machine import Foreign, Known
from videogen_cli.weights.tensor import LazyTensor

MAX_EXPANSION = 64  # a view may repeat its storage so often ...
FREE_EXPANSION_BYTES = 64 << 20  # ... or take so much memory, whichever is more
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 48


class Storage:
    """A run of numbers of one type. ``read`` gives its raw bytes, ``release`` gives the memory back."""

    def __init__(self, key: str, dtype: str | None, count: int) -> None:
        self.key, self.dtype, self.count = key, dtype, count
        self.read: Callable[[], memoryview] | None = None
        self.release: Callable[[], None] | None = None
        self.big_endian = False

    @property
    def nbytes(self) -> int:
        """Bytes that the pickle claims."""
        return self.count * (DTYPES[self.dtype].itemsize if self.dtype else 1)

    def give_back(self) -> None:
        """Release the memory behind the numbers, where they are known to be."""
        if self.release:
            self.release()

    def numbers(self, dtype: str) -> np.ndarray:
        """Return all of it as a flat array of ``dtype``."""
        if self.read is None:
            raise WeightsError(f"its storage '{plain(self.key)}' is missing")
        layout = np.dtype(DTYPES[dtype].numpy)
        data = self.read()
        if len(data) != self.nbytes:
            raise WeightsError(f"its storage '{plain(self.key)}' holds {len(data)} bytes instead of {self.nbytes}")
        data = data[: len(data) - len(data) % layout.itemsize]
        if self.big_endian and layout.itemsize > 1:
            unit = layout.itemsize // (2 if dtype.startswith("complex") else 1)
            swapped = np.frombuffer(data, f"V{unit}").view(f">u{unit}").astype(f"<u{unit}")
            return swapped.view(layout)
        return np.frombuffer(data, layout)


class TorchObjects:
    """The tensors of one torch file while its pickle is read.

    Args:
        where: the file, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.storages: dict[str, Storage] = {}
        rebuild = {
            ("torch._utils", "_rebuild_tensor"): self._rebuild_tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild_tensor_v2,
            ("torch._utils", "_rebuild_tensor_v3"): self._rebuild_tensor_v3,
            ("torch._utils", "_rebuild_parameter"): self._rebuild_parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._rebuild_parameter,
        }
        self._rebuild_names = {".".join(pair) for pair in rebuild}
        handlers = {**rebuild, ("torch._tensor", "_rebuild_from_type_v2"): self._rebuild_from_type}
        self.globals = GlobalTable(where, handlers)

    def error(self, what: str) -> WeightsError:
        """Return an error that names the file."""
        return WeightsError(what, where=self.where)

    def storage(self, persistent_id: Any) -> Any:
        """Return the storage (or a view of one) that a persistent id names.

        Raises:
            WeightsError: it is no storage, of an unsupported type, or contradicts an earlier mention.
        """
        if not isinstance(persistent_id, tuple) or not persistent_id:
            raise self.error("damaged: a reference to data is malformed")
        if persistent_id[0] == "module":
            raise self.error("holds a pickled module object, not a state dictionary")
        if len(persistent_id) not in (5, 6) or persistent_id[0] != "storage":
            raise self.error("damaged: a reference to data is malformed")
        _, kind, key, _, count, *view = persistent_id
        if isinstance(kind, Foreign):
            raise self.error(f"holds tensors of an unsupported type ({plain(kind.name)})")
        if not isinstance(kind, StorageClass) or not isinstance(key, (str, int)) or not _is_count(count):
            raise self.error("damaged: a reference to data is malformed")
        key = str(key)
        if not key or "/" in key or "\\" in key or ".." in key:
            raise self.error(f"the name of a storage is not acceptable: '{plain(key)}'")
        known = self.storages.setdefault(key, Storage(key, kind.dtype, count))
        if (known.dtype, known.count) != (kind.dtype, count):
            raise self.error(f"storage '{plain(key)}' is described in two different ways")
        return _StorageView(known, *self._view(known, view[0])) if view and view[0] is not None else known

    def _view(self, storage: Storage, view: Any) -> tuple[int, int]:
        """Return (offset, count) in elements of a storage view, as files before torch 0.4 have them."""
        if not (isinstance(view, tuple) and len(view) == 3 and _is_count(view[1]) and _is_count(view[2])):
            raise self.error("damaged: a storage view is malformed")
        if view[1] + view[2] > storage.count:
            raise self.error(f"a view goes beyond storage '{plain(storage.key)}'")
        return view[1], view[2]

    def _tensor(self, storage: Any, dtype: str | None, offset: Any, size: Any, stride: Any) -> LazyTensor:
        """Check a tensor's geometry with unbounded integers and return it unread."""
        view = storage if isinstance(storage, _StorageView) else None
        storage = view.storage if view else storage
        if not isinstance(storage, Storage):
            raise self.error("damaged: a tensor without a storage")
        dtype = dtype or storage.dtype
        if dtype is None:
            raise self.error("damaged: a tensor without a number type")
        base, available = (view.offset, view.count) if view else (0, storage.nbytes // DTYPES[dtype].itemsize)
        shape, strides = _counts(size), _counts(stride)
        if shape is None or strides is None or len(shape) != len(strides) or not _is_count(offset):
            raise self.error("a tensor has a malformed or negative size, stride, or offset")
        count = math.prod(shape)
        if math.prod(max(1, n) for n in shape) >= MAX_ELEMENTS:
            raise self.error(f"a tensor claims a shape of {plain(_shown(shape))}, which no memory can hold")
        if count:
            extent = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
            if extent > available:
                raise self.error(f"a tensor of shape {_shown(shape)} goes beyond its storage '{plain(storage.key)}'")
            nbytes = count * DTYPES[dtype].itemsize
            if nbytes > max(MAX_EXPANSION * storage.nbytes, FREE_EXPANSION_BYTES):
                raise self.error(f"a tensor of shape {_shown(shape)} repeats a storage of {storage.nbytes} bytes")
        start = base + offset

        def read() -> np.ndarray:
            if not count:
                return np.empty(shape, DTYPES[dtype].numpy)
            numbers = storage.numbers(dtype)[start:]
            steps = tuple(s * numbers.itemsize if n > 1 else 0 for n, s in zip(shape, strides, strict=True))
            return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False)

        return LazyTensor(shape, dtype, read, storage.give_back, storage)

    def _rebuild_tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> LazyTensor:
        return self._tensor(storage, None, offset, size, stride)

    def _rebuild_tensor_v2(self, *arguments: Any) -> LazyTensor:
        """Rebuild from (storage, offset, size, stride, requires_grad, hooks[, metadata])."""
        self._check_metadata(arguments[6:])
        return self._tensor(arguments[0], None, *arguments[1:4])

    def _rebuild_tensor_v3(self, *arguments: Any) -> LazyTensor:
        """Rebuild from (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])."""
        self._check_metadata(arguments[7:])
        if not isinstance(arguments[6], TorchDType):
            raise self.error("holds a tensor of an unsupported type")
        return self._tensor(arguments[0], str(arguments[6]), *arguments[1:4])

    def _check_metadata(self, rest: tuple[Any, ...]) -> None:
        """Refuse the lazy negation and conjugation bits: the stored numbers are not the tensor's."""
        if rest and isinstance(rest[0], dict) and any(rest[0].get(flag) for flag in ("neg", "conj")):
            raise self.error("holds a lazily negated or conjugated tensor; save it again after .resolve_neg()")

    def _rebuild_parameter(self, tensor: Any, *_: Any) -> Any:
        return tensor

    def _rebuild_from_type(self, function: Any, kind: Any, arguments: Any, state: Any = None) -> Any:
        """Rebuild a tensor with attributes: only the tensor is kept, and only known functions make it."""
        if isinstance(function, Known) and function.name in self._rebuild_names and isinstance(arguments, tuple):
            return function.call(*arguments)
        raise self.error(f"a tensor is made by '{plain(getattr(function, 'name', '?'))}', which is not allowed")


class _StorageView:
    """A window of a storage, in elements."""

    def __init__(self, storage: Storage, offset: int, count: int) -> None:
        self.storage, self.offset, self.count = storage, offset, count


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _counts(values: Any) -> tuple[int, ...] | None:
    """Return a tuple of non-negative integers, or None."""
    if isinstance(values, (tuple, list)) and len(values) <= MAX_DIMENSIONS and all(_is_count(v) for v in values):
        return tuple(values)
    return None


def _shown(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
