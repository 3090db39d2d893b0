"""Randomness as a pure function of its keys: nothing to save, nothing to restore on resume.

Every draw of a run (order of the samples, noise, timesteps, dropout) comes from a generator keyed by the seed and
by what it is for, so that a resumed run, or one with other workers, draws the same numbers.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np


def rng(seed: int, *key: int | str) -> np.random.Generator:
    """Return the counter-based (Philox) generator that belongs to ``seed`` and ``key``.

    The same arguments give the same stream in every process, on every platform; ``1`` and ``"1"`` are different
    keys, and so are ``("ab",)`` and ``("a", "b")``.

    Raises:
        TypeError: a key is neither an integer nor a string (a float or an object has no stable spelling).
    """
    digest = hashlib.sha256(b"".join(_spell(part) for part in (seed, *key))).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def _spell(part: int | str) -> bytes:
    """Return ``part`` as its kind, its length and its text, so that no two keys are spelt alike."""
    if isinstance(part, str):
        kind, text = b"s", part.encode()
    elif isinstance(part, int | np.integer):
        kind, text = b"i", str(int(part)).encode()
    else:
        raise TypeError(f"a random key must be of integers and strings, not {type(part).__name__}")
    return kind + str(len(text)).encode() + b":" + text


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the shuffled order of ``size`` samples in one epoch, int64 (size,), read-only."""
    order = rng(seed, "order", epoch, size).permutation(size)
    order.flags.writeable = False
    return order


def batch_indices(seed: int, step: int, rank: int, world: int, batch: int, size: int) -> np.ndarray:
    """Return which samples ``rank`` sees at ``step``, int64 (batch,).

    The epochs' shuffled orders are laid end to end and dealt out in turn: step by step, within a step rank by rank.
    So within an epoch no sample comes twice on any rank and, when the epoch ends, all have come once. A batch in
    which one epoch ends and the next begins holds samples of both.

    Raises:
        ValueError: ``batch``, ``size`` or ``world`` is below one, or ``rank`` is not in [0, world).
    """
    if batch < 1 or size < 1 or not 0 <= rank < world:
        raise ValueError(f"no batch {batch} of {size} samples for rank {rank} of {world}")
    first = (step * world + rank) * batch
    places = [divmod(position, size) for position in range(first, first + batch)]
    return np.array([epoch_order(seed, epoch, size)[place] for epoch, place in places], dtype=np.int64)
