"""Calling kernels of the compiled library directly, without MindSpore, and comparing them with float64 numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from videogen_cli.runtime.kernels.build import library


@dataclass(frozen=True)
class Case:
    """A call of a kernel and what must come of it.

    ``inputs`` are float32 arrays, or tuples of plain numbers (see ``runtime.kernels.calls.numbers``); ``outputs`` are
    the expected ones in float64. An output may differ by ``tolerance`` times the largest expected magnitude.
    """

    kernel: str
    inputs: Sequence[np.ndarray | tuple[int, ...]]
    outputs: Sequence[np.ndarray]
    tolerance: float = 1e-5


@cache
def load(path: Path | None = None) -> ctypes.CDLL:
    """Return the library at ``path``, or this machine's."""
    return ctypes.CDLL(str(path or library().path))


def call(kernel: str, inputs: Sequence[np.ndarray | tuple[int, ...]], shapes: Sequence[Sequence[int]],
         path: Path | None = None) -> list[np.ndarray]:  # fmt: skip
    """Return a kernel's outputs of the given ``shapes``; they start as NaN, so that what is left out shows."""
    arrays = [np.zeros((0, *x), np.int8) if isinstance(x, tuple) else np.ascontiguousarray(x) for x in inputs]
    arrays += [np.full(shape, np.nan, np.float32) for shape in shapes]
    dims = [(ctypes.c_int64 * max(1, x.ndim))(*x.shape) for x in arrays]
    count = len(arrays)
    data = (ctypes.c_void_p * count)(*(x.ctypes.data for x in arrays))
    ndims = (ctypes.c_int * count)(*(x.ndim for x in arrays))
    pointers = (ctypes.POINTER(ctypes.c_int64) * count)(*(ctypes.cast(d, ctypes.POINTER(ctypes.c_int64)) for d in dims))
    code = getattr(load(path), kernel)(count, data, ndims, pointers, None, None, None)
    if code:
        raise RuntimeError(f"{kernel} returned {code}")
    return arrays[len(inputs) :]


def check(case: Case, path: Path | None = None) -> None:
    """Call a kernel and compare every output.

    Raises:
        AssertionError: an output is off.
    """
    found = call(case.kernel, case.inputs, [output.shape for output in case.outputs], path)
    for index, (got, expected) in enumerate(zip(found, case.outputs, strict=True)):
        scale = max(1e-30, float(np.abs(expected).max(initial=0.0)))
        error = float(np.abs(got - expected).max(initial=0.0)) / scale
        sizes = [x if isinstance(x, tuple) else x.shape for x in case.inputs]
        assert error <= case.tolerance, f"{case.kernel}{sizes} output {index}: {error:.2e} of the largest value"
