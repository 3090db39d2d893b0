"""Sequence parallelism: every rank holds a slice of the tokens, and exchanges it for a slice of the heads to attend.

Jacobs et al., "DeepSpeed Ulysses" (arXiv 2309.14509). What goes where is said once, in :func:`received`; the gradient
of an exchange is the exchange with its two axes swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from videogen_cli.errors import UsageError


def received(everyone: Any, rank: int, split: int, join: int) -> Any:
    """Return what a rank holds after an exchange: its piece along ``split`` of every rank's tensor, joined in order.

    Args:
        everyone: (p ...), the tensors of all ranks; a numpy array or a device tensor.
        rank: 0 to p - 1.
        split: axis of one tensor that is cut into p pieces.
        join: axis of one tensor along which the pieces are laid.

    Raises:
        UsageError: the axis does not divide into p pieces.
    """
    ranks, *shape = everyone.shape
    if shape[split] % ranks:
        raise UsageError(f"{shape[split]} does not divide over {ranks} ranks", where="device.sequence_parallel")
    size = shape[split] // ranks
    pieces = everyone[(slice(None),) * (split + 1) + (slice(rank * size, (rank + 1) * size),)]
    shape[split] = size
    order = (*range(1, join + 1), 0, *range(join + 1, len(shape) + 1))
    shape[join] *= ranks
    return pieces.transpose(order).reshape(tuple(shape))


def all_to_all(parts: Sequence[np.ndarray], split: int, join: int) -> list[np.ndarray]:
    """Return what all ranks hold after an exchange of ``parts``, in one process; see :func:`received`."""
    everyone = np.stack(parts)
    return [received(everyone, rank, split, join) for rank in range(len(parts))]
