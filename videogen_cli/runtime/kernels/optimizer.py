"""The optimizer's kernels. They work on the host's memory in place, so they are called without MindSpore in between."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np

from videogen_cli.runtime.kernels.build import library

_NO_MEMORY = 2  # as in vgen.h


def squared_norm(tensors: Sequence[np.ndarray]) -> float:
    """Return the sum of squares of all numbers of float32 arrays, infinite beyond float32's range.

    It is the same to the last bit for any number of threads.

    Raises:
        ValueError: an array is not of float32 without gaps.
    """
    _require_floats("squared_norm", tensors)
    total = np.empty(1, np.float32)
    _call("squared_norm", [*tensors, total])
    return float(total[0])


def adamw(
    gradients: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    state: Sequence[np.ndarray],
    step: Sequence[float],
    keep: np.ndarray,
    rates: np.ndarray,
) -> None:
    """Make an update of AdamW (arXiv 1711.05101), and of a running average, in one pass over memory.

    With g the gradient times the scale: m += (g - m) * first share, v += (g * g - v) * second share,
    w = w * keep - rate * m / (sqrt(v) + epsilon), average += (w - average) * average's share.

    Args:
        gradients: n float32 arrays.
        weights: n arrays of the same sizes; they change.
        state: m, v, and the average if there is one, each one array (size,) of all tensors end to end; they change.
        step: the scale, the first share, the second share, epsilon, the average's share.
        keep: (n,), what decay leaves of each tensor's weights.
        rates: (n,), each tensor's rate.

    Raises:
        ValueError: arrays are not of float32 without gaps, or sizes do not fit.
    """
    _require_floats("adamw", [*gradients, *weights, *state])
    sizes, count = [tensor.size for tensor in gradients], len(gradients)
    fits = sizes == [tensor.size for tensor in weights] and {tensor.size for tensor in state} == {sum(sizes)}
    if not fits or len(state) not in (2, 3) or len(step) != 5 or not keep.shape == rates.shape == (count,):
        state_sizes = [tensor.size for tensor in state]
        raise ValueError(f"adamw cannot take {count} gradients for {len(weights)} weights and state of {state_sizes}")
    if not all(tensor.flags.writeable for tensor in (*weights, *state)):
        raise ValueError("adamw cannot write into an array that is read-only")
    numbers = np.empty((0, count, len(state) - 2), np.int8)
    own = np.stack([keep, rates], 1).astype(np.float32)
    _call("adamw", [numbers, np.array(step, np.float32), own, *gradients, *weights, *state])


def _require_floats(kernel: str, tensors: Sequence[np.ndarray]) -> None:
    for tensor in tensors:
        if tensor.dtype != np.float32 or not tensor.flags.c_contiguous:
            raise ValueError(f"{kernel} cannot take {tensor.dtype} of {tensor.shape}: not float32 without gaps")


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(library().path))


def _call(kernel: str, arrays: Sequence[np.ndarray]) -> None:
    count = len(arrays)
    data = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
    ndims = (ctypes.c_int * count)(*(array.ndim for array in arrays))
    dims = np.array([size for array in arrays for size in array.shape], np.int64)
    starts = accumulate((array.ndim for array in arrays[:-1]), initial=0)
    shapes = (ctypes.c_void_p * count)(*(dims.ctypes.data + start * dims.itemsize for start in starts))
    code = getattr(_library(), kernel)(count, data, ndims, shapes, None, None, None)
    if code == _NO_MEMORY:
        raise MemoryError(kernel)
    if code:
        raise RuntimeError(f"{kernel} returned {code}")
