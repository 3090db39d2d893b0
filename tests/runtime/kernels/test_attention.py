from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402
from mindspore import ops  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402
from videogen_cli.runtime.cells import Cell  # noqa: E402


def _floats(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def _heads(x, heads):
    """(b n heads*d) as (b heads n d) in float64."""
    return x.astype(float).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _joined(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def reference(q, k, v, mask, scale, heads, dout):
    """Return out, the largest scores, the sums relative to them, dq, dk, dv and the scores' gradient."""
    kv_heads = heads * k.shape[2] // q.shape[2]
    q, dout = _heads(q, heads), _heads(dout, heads)
    k, v = (_heads(x, kv_heads).repeat(heads // kv_heads, 1) for x in (k, v))
    scores = q @ k.swapaxes(2, 3) * scale + (mask.astype(float) if len(mask) else 0.0)
    largest = scores.max(-1, keepdims=True)
    p = np.exp(scores - largest)
    sums = p.sum(-1, keepdims=True)
    p /= sums
    out = p @ v
    ds = p * (dout @ v.swapaxes(2, 3) - (dout * out).sum(-1, keepdims=True))
    dk, dv = ds.swapaxes(2, 3) @ q * scale, p.swapaxes(2, 3) @ dout
    shared = (x.reshape(x.shape[0], kv_heads, -1, *x.shape[2:]).sum(2) for x in (dk, dv))
    return _joined(out), largest[..., 0], sums[..., 0], _joined(ds @ k * scale), *(_joined(x) for x in shared), ds


def _mask(rng, b, heads, n, m):
    kind = rng.integers(7)
    if kind == 0:
        return np.where(np.tri(n, m, dtype=bool), np.float32(0), np.float32(-np.inf))
    if kind == 1:
        return np.where(rng.random((b, 1, 1, m)) < 0.4, np.float32(-1e30), np.float32(0))
    if kind == 2:
        return _floats(rng, 1, heads, n, m)
    if kind == 3:
        return _floats(rng, *(int(rng.choice((1, size))) for size in (b, heads, n, m)))
    return ()


def _problem(rng):
    """Inputs of the forward kernel, now and then larger than a block in one size, and dout."""
    n, m, dim = np.minimum(2 ** rng.uniform(0, 6, 3), 50).astype(int)
    b, kv_heads, group = rng.integers(1, 4), rng.integers(1, 3), rng.integers(1, 3)
    large = rng.random()
    if large < 0.2:
        n = rng.integers(60, 240)
    elif large < 0.4:
        m = rng.integers(90, 240)
    elif large < 0.5:
        b, dim = 1, rng.integers(120, 300)
    heads = int(kv_heads * group)
    q, dout = _floats(rng, b, n, heads * dim), _floats(rng, b, n, heads * dim)
    k, v = _floats(rng, b, m, kv_heads * dim), _floats(rng, b, m, kv_heads * dim)
    scale = np.array([rng.choice((1.0, dim**-0.5))], np.float32)
    return [q, k, v, _mask(rng, b, heads, n, m), scale, (heads,)], dout


def _solved(inputs, dout):
    """Return what :func:`reference` does, with the second and third made the forward kernel's statistics."""
    q, k, v, mask, scale, (heads,) = inputs
    out, largest, sums, *gradients = reference(q, k, v, mask, scale.astype(float), heads, dout)
    return out, np.stack([largest, 1 / sums]), *gradients


def attention_forward(rng):
    inputs, dout = _problem(rng)
    out, statistics, *_ = _solved(inputs, dout)
    return Case("attention_forward", inputs, [out, statistics], 3e-5)


def attention_backward(rng):
    dq = np.zeros(1)
    while np.abs(dq).max() < 0.3:  # where one key has all the probability gradients are rounding errors
        inputs, dout = _problem(rng)
        out, statistics, dq, dk, dv, _ = _solved(inputs, dout)
    given = [*inputs, out.astype(np.float32), statistics.astype(np.float32), dout]
    return Case("attention_backward", given, [dq, dk, dv], 1e-4)


RANDOM_CASES = {f.__name__: f for f in (attention_forward, attention_backward)}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(150):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


def _forward(q, k, v, heads=1, mask=()):
    scale = np.array([(q.shape[2] // heads) ** -0.5], np.float32)
    shapes = [q.shape, (2, q.shape[0], heads, q.shape[1])]
    return call("attention_forward", [q, k, v, mask, scale, (heads,)], shapes)[0]


def test_not_a_number_stays_in_its_head_and_query():
    rng = np.random.default_rng(0)
    q, k, v = (_floats(rng, 2, 120, 40) for _ in range(3))
    q[0, 3, 5], k[1, 110, 25] = np.nan, np.nan
    out = _forward(q, k, v, 2).reshape(2, 120, 2, 20)
    wrong = np.isnan(out)
    assert wrong[0, 3, 0].all() and wrong[1, :, 1].all()
    assert wrong.sum() == 20 + 120 * 20


def test_infinity_is_not_a_number_afterwards_as_in_the_formula():
    rng = np.random.default_rng(0)
    q, k, v = np.abs(_floats(rng, 1, 3, 7)), _floats(rng, 1, 5, 7), _floats(rng, 1, 5, 7)
    q[0, 1, 2], k[0, :, 2] = np.inf, 1.0
    out = _forward(q, k, v)
    assert np.isnan(out[0, 1]).all() and np.isfinite(out[0, [0, 2]]).all()


def test_keys_masked_by_minus_infinity_count_nothing_even_a_whole_block_of_them():
    rng = np.random.default_rng(0)
    q, k, v = _floats(rng, 1, 5, 16), _floats(rng, 1, 230, 16), _floats(rng, 1, 230, 16)
    mask = np.zeros((5, 230), np.float32)
    mask[:, :200] = -np.inf
    np.testing.assert_allclose(_forward(q, k, v, 1, mask), _forward(q, k[:, 200:], v[:, 200:]), rtol=1e-5, atol=1e-6)


def test_a_query_that_sees_nothing_is_not_a_number():
    rng = np.random.default_rng(0)
    q, k, v = (_floats(rng, 1, 6, 9) for _ in range(3))
    mask = np.zeros((6, 6), np.float32)
    mask[2] = -np.inf
    out = _forward(q, k, v, 1, mask)
    assert np.isnan(out[0, 2]).all() and np.isfinite(np.delete(out[0], 2, 0)).all()


def test_one_key_has_all_the_probability():
    rng = np.random.default_rng(0)
    q, k, v, dout = _floats(rng, 2, 70, 33), _floats(rng, 2, 1, 33), _floats(rng, 2, 1, 33), _floats(rng, 2, 70, 33)
    inputs = [q, k, v, (), np.ones(1, np.float32), (1,)]
    out, statistics = call("attention_forward", inputs, [q.shape, (2, 2, 1, 70)])
    np.testing.assert_allclose(out, np.broadcast_to(v, out.shape), rtol=1e-6)
    dq, dk, dv = call("attention_backward", [*inputs, out, statistics, dout], [q.shape, k.shape, v.shape])
    np.testing.assert_allclose(dv[:, 0], dout.sum(1), rtol=1e-4, atol=1e-4)
    assert max(np.abs(dq).max(), np.abs(dk).max()) < 1e-3


def test_a_query_is_the_same_among_any_number_of_queries():
    rng = np.random.default_rng(0)
    q, k, v = (_floats(rng, 1, 300, 3 * 24) for _ in range(3))
    np.testing.assert_array_equal(_forward(q[:, 37:38], k, v, 3)[:, 0], _forward(q, k, v, 3)[:, 37])


class Step(Cell):
    """Value and gradients of attention, the mask's too if there is one, in one graph."""

    def __init__(self, heads, scale):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.grad = ops.GradOperation(get_all=True, sens_param=True)

    def attend(self, q, k, v, mask=None):
        return F.attention(q, k, v, self.heads, mask, self.scale)

    def construct(self, dout, *inputs):
        return self.attend(*inputs), self.grad(self.attend)(*inputs, dout)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize(
    "shape",
    [None, (7, 5), (2, 1, 1, 5), (1, 4, 7, 5), (2, 4, 7, 5), (4, 7, 1)],
    ids=["unmasked", "query-key", "sample-key", "bias", "whole", "head-query"],
)
def test_function_and_gradients(mode, shape):
    rng = np.random.default_rng(0)
    q, k, v, dout = _floats(rng, 2, 7, 12), _floats(rng, 2, 5, 6), _floats(rng, 2, 5, 6), _floats(rng, 2, 7, 12)
    mask = () if shape is None else _floats(rng, *shape)
    arrays = (dout, q, k, v) if shape is None else (dout, q, k, v, mask)
    ms.set_context(mode=mode)
    try:
        value, gradients = Step(4, 0.7)(*(ms.Tensor(array) for array in arrays))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    out, _, _, *wanted, ds = reference(q, k, v, mask, 0.7, 4, dout)
    if shape is not None:
        whole = (1,) * (4 - len(shape)) + shape
        axes = tuple(axis for axis in range(4) if whole[axis] < ds.shape[axis])
        wanted.append(ds.sum(axes, keepdims=True).reshape(shape))
    np.testing.assert_allclose(value.asnumpy(), out, rtol=1e-5, atol=1e-5)
    assert len(gradients) == len(wanted)
    for gradient, expected in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "heads", "message"),
    [
        ([(2, 3, 8), (2, 5, 8), (2, 4, 8)], 2, "queries, keys and values"),
        ([(2, 3, 8), (1, 5, 8), (1, 5, 8)], 2, "queries, keys and values"),
        ([(3, 8), (5, 8), (5, 8)], 2, "queries, keys and values"),
        ([(2, 3, 8), (2, 5, 8), (2, 5, 8)], 3, "3 heads"),
        ([(2, 3, 8), (2, 5, 6), (2, 5, 6)], 4, "4 heads"),
        ([(2, 3, 8), (2, 5, 3), (2, 5, 3)], 2, "2 heads"),
        ([(2, 3, 8), (2, 5, 16), (2, 5, 16)], 2, "2 heads"),
        ([(2, 3, 8), (2, 5, 8), (2, 5, 8), (3, 4)], 2, "mask"),
        ([(2, 3, 8), (2, 5, 8), (2, 5, 8), (1, 2, 2, 3, 5)], 2, "mask"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, heads, message):
    q, k, v, *mask = (ms.Tensor(np.ones(shape, np.float32)) for shape in shapes)
    with pytest.raises(UsageError, match=f"attention_forward cannot take .*{message}"):
        F.attention(q, k, v, heads, *mask)
