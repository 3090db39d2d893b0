"""Dropout whose masks are a pure function of a few numbers that come with a batch, so that runs can be resumed.

A device's own random generators keep a state that no checkpoint holds. Here a mask is computed: each element's row and
column have a number of their own, values of one random polynomial (Wegman and Carter 1981, "New hash functions and
their use in authentication and set equality"), and the fraction of their sum decides. So any four rows and columns of
a network are independent of each other, and any two elements.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, buffer

PRIME = 16777213  # the largest below 2**24, up to which float32 holds every whole number
DEGREE = 3
STATE = DEGREE + 2  # the polynomial's coefficients, and 1 where dropout is on
_APART = 40961  # points from one layer's first to the next one's; rows and columns of far layers may meet, to no harm


class Masks(Cell):
    """The numbers that all masks of a network follow from: ``construct(draw (STATE,))`` changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.state = buffer((STATE,))
        self.layers = 0

    def construct(self, draw: Any) -> Any:
        """Let masks be those of ``draw`` from now on, see :func:`draw_masks`."""
        return F.assign(self.state, draw)

    def stop(self) -> None:
        """Drop nothing until the next draw."""
        self.state.set_data(self.state * 0)

    def dropout(self, rate: float) -> Dropout:
        """Return a layer that drops elements with the probability ``rate``."""
        self.layers += 1
        return Dropout(self, rate, self.layers * _APART % PRIME)


class Dropout(Cell):
    """Sets elements to zero at random, and makes up for it in the others; see :class:`Masks`."""

    def __init__(self, masks: Masks, rate: float, place: int) -> None:
        super().__init__()
        self.state, self.rate, self.place = masks.state, rate, place

    def construct(self, x: Any) -> Any:
        """Map any shape to itself."""
        axes = 2 if len(x.shape) > 3 else len(x.shape) - 1
        rows, columns = math.prod(x.shape[:axes]), math.prod(x.shape[axes:])
        share = self.fractions(0, rows).reshape(rows, 1) + self.fractions(rows, columns)
        kept = (share - F.floor(share) >= self.rate).astype(share.dtype) / (1.0 - self.rate)
        return x * (1.0 + self.state[-1] * (kept - 1.0)).astype(x.dtype).reshape(x.shape)

    def fractions(self, first: int, count: int) -> Any:
        """Return numbers (count,) in [0, 1): the polynomial at this layer's points from the one numbered ``first``."""
        points = F.whole(F.arange(count)) + (self.place + first)
        coefficients = F.whole(self.state)
        value = coefficients[0]
        for degree in range(1, DEGREE + 1):
            value = (value * (points % PRIME) + coefficients[degree]) % PRIME
        return value.astype(self.state.dtype) * (1.0 / PRIME)


def draw_masks(draws: np.random.Generator, on: bool = True) -> np.ndarray:
    """Return float32 (STATE,): numbers that masks follow from; where not ``on``, nothing is dropped."""
    return np.array([*draws.integers(PRIME, size=DEGREE + 1), on], np.float32)
