"""How much memory one call may take, and running a network on many inputs a few at a time, on host arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.host import memory_bytes

SHARE = 4  # activations get a quarter of what there is: estimates are rough, and others use the machine too
NPU_BYTES = 16 << 30  # of an NPU whose limit is not set; those that these models are made for have 32 or 64 GiB


def activation_bytes(device: DeviceConfig) -> int:
    """Return how many bytes of activations a call may take: a share of the limit set, else of what is free."""
    if device.memory_limit_gb > 0:
        return int(device.memory_limit_gb * 2**30) // SHARE
    return (NPU_BYTES if device.target == "ascend" else memory_bytes()[1]) // SHARE


def batch_that_fits(count: int, bytes_each: int, budget: int) -> int:
    """Return how many of ``count`` inputs to take at a time, 1 or more: all, half, a quarter, ... whatever fits."""
    while count > 1 and count * bytes_each > budget:
        count = (count + 1) // 2
    return count


def in_batches(function: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, size: int) -> np.ndarray:
    """Apply ``function``, which maps (n ...) to (n ...), to ``inputs`` (m ...), at most ``size`` at a time.

    The last batch is filled up with repetitions, so that a graph is compiled for one shape only.
    """
    size = min(size, len(inputs))
    results = []
    for first in range(0, len(inputs), size):
        part = inputs[first : first + size]
        filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)]) if len(part) < size else part
        results.append(function(filled)[: len(part)])
    return results[0] if len(results) == 1 else np.concatenate(results)
