"""Which rank holds which tokens and heads before and after an exchange."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import UsageError
from videogen_cli.runtime.sequence_parallel import all_to_all

WHOLE = np.random.default_rng(0).standard_normal((2, 6, 12, 5))  # b heads tokens d


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_tokens_become_heads_and_back(ranks):
    tokens = np.split(WHOLE, ranks, 2)
    heads = all_to_all(tokens, split=1, join=2)
    for found, expected in zip(heads, np.split(WHOLE, ranks, 1), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(all_to_all(heads, split=2, join=1), tokens, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_exchange_is_its_own_transpose():
    rng = np.random.default_rng(1)
    x, y = ([rng.standard_normal(shape) for _ in range(3)] for shape in ((2, 6, 4, 5), (2, 2, 12, 5)))
    forward, backward = all_to_all(x, split=1, join=2), all_to_all(y, split=2, join=1)
    products = [sum(np.vdot(a, b) for a, b in zip(*pair, strict=True)) for pair in ((forward, y), (x, backward))]
    assert products[0] == pytest.approx(products[1])


def test_heads_must_divide():
    with pytest.raises(UsageError, match="6 pieces do not divide over 4 ranks"):
        all_to_all([WHOLE] * 4, 1, 2)
