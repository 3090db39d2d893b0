"""A tensor of a checkpoint that is read when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from videogen_cli.weights.dtypes import DTYPES, to_float32

CHUNK_BYTES = 4 << 20


def _keep() -> None:
    """Nothing to give back."""


@dataclass(frozen=True, eq=False)
class LazyTensor:
    """Shape and type of a stored tensor, and how to get its numbers.

    ``read`` returns the numbers in the type ``DTYPES[dtype].numpy`` (bfloat16 as uint16), zero copy where the
    container allows it; ``release`` gives the memory behind a read back to the system (views stay valid, their
    pages are read again). ``storage`` is equal for tensors that view the same stored bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    release: Callable[[], None] = _keep
    storage: Hashable = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a contiguous copy."""
        return self.size * DTYPES[self.dtype].itemsize

    def numpy(self) -> np.ndarray:
        """Return the numbers as stored (bfloat16 and 8-bit floats as the integers that hold their bits).

        Raises:
            WeightsError: the stored bytes are damaged, or there are none (a manifest).
        """
        return self.read()

    def float32(self) -> np.ndarray:
        """Return the numbers as float32; exact for every smaller type."""
        return to_float32(self.read(), self.dtype)

    def chunks(self, max_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray]:
        """Yield the numbers in row-major order as contiguous 1-D pieces of at most about ``max_bytes``."""
        yield from contiguous_chunks(self.read(), max_bytes)


def contiguous_chunks(values: np.ndarray, max_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray]:
    """Yield ``values`` row-major as contiguous 1-D pieces; a copy is made only of pieces that are strided."""
    if values.nbytes == 0:
        return
    if values.flags.c_contiguous:
        flat = values.reshape(-1)
        step = max(1, max_bytes // values.itemsize)
        for start in range(0, flat.size, step):
            yield flat[start : start + step]
        return
    row_bytes = values.nbytes // values.shape[0]
    if row_bytes > max_bytes:
        for row in values:
            yield from contiguous_chunks(row, max_bytes)
        return
    rows = max(1, max_bytes // row_bytes)
    for start in range(0, values.shape[0], rows):
        yield np.ascontiguousarray(values[start : start + rows]).reshape(-1)


def from_array(values: np.ndarray, dtype: str | None = None) -> LazyTensor:
    """Wrap an array in memory; ``dtype`` names bits that numpy cannot (bfloat16)."""
    return LazyTensor(values.shape, dtype or values.dtype.name, lambda: values)
