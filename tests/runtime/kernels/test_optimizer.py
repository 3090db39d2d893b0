"""AdamW and the gradient norm as kernels on the host's memory."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, check
from videogen_cli.runtime.kernels.optimizer import adamw, squared_norm

SCALE, FIRST, SECOND, EPSILON, AVERAGE = STEP = (0.5, 0.1, 0.001, 1e-8, 0.25)
CHUNK = 1 << 16  # what a thread takes at once


def _tensors(rng, sizes):
    return [rng.standard_normal(size, np.float32) for size in sizes]


def _sizes(rng):
    return rng.integers(1, 70, rng.integers(1, 6)).tolist()


def _update(rng, sizes, averages):
    """Draw the arguments of an update: gradients, weights, state, step, keep, rates."""
    count, size = len(sizes), sum(sizes)
    state = _tensors(rng, [size] * (2 + averages))
    state[1] = np.abs(state[1])
    return _tensors(rng, sizes), _tensors(rng, sizes), state, STEP, rng.uniform(0.9, 1, count), rng.uniform(0, 1, count)


def _expected(gradients, weights, state, step, keep, rates):
    """Return weights and state after an update, end to end and in double precision."""
    sizes = [gradient.size for gradient in gradients]
    g, w = (np.concatenate([x.ravel() for x in xs]).astype(np.float64) for xs in (gradients, weights))
    m, v, *average = (x.astype(np.float64) for x in state)
    g = g * step[0]
    m = m + (g - m) * step[1]
    v = v + (g * g - v) * step[2]
    w = w * np.repeat(keep, sizes) - np.repeat(rates, sizes) * m / (np.sqrt(v) + step[3])
    return [w, m, v, *(a + (w - a) * step[4] for a in average)]


def squared_norm_case(rng):
    tensors = _tensors(rng, _sizes(rng))
    return Case("squared_norm", tensors, [np.array([sum((x.astype(np.float64) ** 2).sum() for x in tensors)])], 1e-7)


def adamw_case(rng):
    """A call; what comes of it is in the inputs, so there is no output to compare."""
    averages = bool(rng.integers(2))
    gradients, weights, state, step, keep, rates = _update(rng, _sizes(rng), averages)
    own = np.stack([keep, rates], 1).astype(np.float32)
    step = np.array(step, np.float32)
    return Case("adamw", [(len(gradients), int(averages)), step, own, *gradients, *weights, *state], [])


RANDOM_CASES = {"squared_norm": squared_norm_case, "adamw": adamw_case}


def test_norm_of_small_tensors():
    for seed in range(30):
        check(squared_norm_case(np.random.default_rng(seed)))


def test_norm_does_not_depend_on_how_tensors_are_cut_at_chunks():
    vector = np.random.default_rng(0).standard_normal(5 * CHUNK + 3, np.float32)
    whole = squared_norm([vector])
    assert whole == squared_norm([vector[: 2 * CHUNK], vector[2 * CHUNK :]])
    assert whole == pytest.approx((vector.astype(np.float64) ** 2).sum(), rel=1e-7)


@pytest.mark.parametrize(("value", "norm"), [(np.nan, np.nan), (np.inf, np.inf), (-np.inf, np.inf), (3e38, np.inf)])
def test_norm_of_what_is_not_finite(value, norm):
    tensors = [np.ones(40, np.float32), np.ones(3, np.float32)]
    tensors[1][2] = value
    np.testing.assert_equal(squared_norm(tensors), norm)


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize("sizes", [[1], [16, 1, 47], [CHUNK - 1, 5, CHUNK, 2 * CHUNK + 17]], ids=str)
def test_update(sizes, averages):
    for seed in range(5):
        arguments = _update(np.random.default_rng(seed), sizes, averages)
        expected = _expected(*arguments)
        gradients = [x.copy() for x in arguments[0]]
        adamw(*arguments)
        for got, wanted in zip([np.concatenate(arguments[1]), *arguments[2]], expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6)
        for before, after in zip(gradients, arguments[0], strict=True):
            np.testing.assert_array_equal(before, after)


def test_update_is_the_same_wherever_its_memory_begins():
    rng, size = np.random.default_rng(0), 3 * CHUNK + 5
    first = _update(rng, [size], True)
    shifted = [np.concatenate([np.zeros(3, np.float32), x])[3:] for x in (first[0][0], first[1][0], *first[2])]
    adamw(*first)
    adamw(shifted[:1], shifted[1:2], shifted[2:], *first[3:])
    for a, b in zip([*first[1], *first[2]], shifted[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def _replaced(arguments, position, value):
    return [value if index == position else argument for index, argument in enumerate(arguments)]


def test_what_does_not_fit_is_refused():
    arguments = _update(np.random.default_rng(0), [4, 6], True)
    gradients, weights, state = arguments[:3]
    frozen = weights[0].copy()
    frozen.flags.writeable = False
    wrong = [
        _replaced(arguments, 0, gradients[:1]),
        _replaced(arguments, 0, [gradients[0], gradients[1][:5]]),
        _replaced(arguments, 0, [gradients[0], gradients[1].astype(np.float64)]),
        _replaced(arguments, 0, [gradients[0], np.zeros(12, np.float32)[::2]]),
        _replaced(arguments, 1, [frozen, weights[1]]),
        _replaced(arguments, 2, state[:1]),
        _replaced(arguments, 2, [state[0], state[1][:9], state[2]]),
        _replaced(arguments, 3, STEP[:4]),
        _replaced(arguments, 4, np.ones(3)),
    ]
    for case in wrong:
        with pytest.raises(ValueError, match="adamw cannot"):
            adamw(*case)
    with pytest.raises(ValueError, match="squared_norm cannot take float16"):
        squared_norm([np.ones(3, np.float16)])
