"""Calling kernels of the compiled library directly, without MindSpore, and comparing them with float64 numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from videogen_cli.runtime.kernels import build, compiler
from videogen_cli.runtime.kernels.build import library


@dataclass(frozen=True)
class Case:
    """A call of a kernel and what must come of it.

    ``inputs`` are float32 arrays, or tuples of plain numbers (see ``runtime.kernels.calls.numbers``); ``outputs`` are
    the expected ones in float64. An output may differ by ``tolerance`` times the largest expected magnitude, or times
    1e-6 if that is more. A kernel without outputs works in place; what has outputs must leave its inputs alone.
    """

    kernel: str
    inputs: Sequence[np.ndarray | tuple[int, ...]]
    outputs: Sequence[np.ndarray]
    tolerance: float = 1e-5


@cache
def load(path: Path | None = None) -> ctypes.CDLL:
    """Return the library at ``path``, or this machine's; skip the test where there can be none."""
    if path is None:
        found = library()
        if found.path is None and not (found.wanted and found.origin):
            pytest.skip(found.reason)
        assert found.path, f"{found.reason}\n{found.details}"
        path = found.path
    return ctypes.CDLL(str(path))


@cache
def compiled_for(flag: str) -> Path:
    """Return this project's kernels compiled for other CPUs, such as ``-march=x86-64-v3``."""
    tool = next(compiler.compilers(), None)
    if tool is None:
        pytest.skip("there is no C++ compiler")
    return build.follow(build.compiling(tool, flag, compiler.sources()), retry=True)


def modules_with_cases() -> list[str]:
    """Return the names of the tests beside this file that draw random cases."""
    return sorted(p.stem for p in Path(__file__).parent.glob("test_*.py") if "\nRANDOM_CASES" in p.read_text())


def random_cases(modules: Sequence[str] = ()) -> dict[str, Callable[[np.random.Generator], Case]]:
    """Return what draws a random case of each kernel, from the named tests beside this file or all."""
    tests = [import_module(f"{__package__}.{name}") for name in modules or modules_with_cases()]
    return {name: draw for test in tests for name, draw in test.RANDOM_CASES.items()}


def call(kernel: str, inputs: Sequence[np.ndarray | tuple[int, ...]], shapes: Sequence[Sequence[int]],
         path: Path | None = None) -> list[np.ndarray]:  # fmt: skip
    """Return a kernel's outputs of the given ``shapes``; they start as NaN, so that what is left out shows.

    Every array is memory of its own that ends where it ends, for tools that watch what is read and written.
    """
    given = [np.zeros((0, *x), np.int8) if isinstance(x, tuple) else x for x in inputs]
    arrays = [np.array(x, order="C") for x in given] + [np.full(shape, np.nan, np.float32) for shape in shapes]
    dims = [(ctypes.c_int64 * max(1, x.ndim))(*x.shape) for x in arrays]
    count = len(arrays)
    data = (ctypes.c_void_p * count)(*(x.ctypes.data for x in arrays))
    ndims = (ctypes.c_int * count)(*(x.ndim for x in arrays))
    pointers = (ctypes.POINTER(ctypes.c_int64) * count)(*(ctypes.cast(d, ctypes.POINTER(ctypes.c_int64)) for d in dims))
    code = getattr(load(path), kernel)(count, data, ndims, pointers, None, None, None)
    if code:
        raise RuntimeError(f"{kernel} returned {code}")
    for before, after in zip(given, arrays, strict=False):
        assert not shapes or before.tobytes() == after.tobytes(), f"{kernel} changed an input"
    return arrays[len(inputs) :]


def worst_error(case: Case, path: Path | None = None) -> float:
    """Call a kernel and return the largest error of its outputs as a share of what is tolerated; NaN counts as one."""
    found = call(case.kernel, case.inputs, [output.shape for output in case.outputs], path)
    worst = 0.0
    for got, expected in zip(found, case.outputs, strict=True):
        scale = max(1e-6, float(np.abs(expected).max(initial=0.0)))  # below that references cancel out too
        error = float(np.abs(got - expected).max(initial=0.0)) / scale
        if error != 0:
            worst = max(worst, error / case.tolerance if case.tolerance and np.isfinite(error) else np.inf)
    return worst


def check(case: Case, path: Path | None = None) -> None:
    """Call a kernel and compare every output.

    Raises:
        AssertionError: an output is off.
    """
    share = worst_error(case, path)
    sizes = [x if isinstance(x, tuple) else x.shape for x in case.inputs]
    assert share <= 1, f"{case.kernel}{sizes}: the error is {share:.3g} times what is tolerated, {case.tolerance:g}"
