from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import UsageError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402


def _normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _normed(rows, eps, centred=1):
    """Return (rows n), normalised in float64, the means and the reciprocal deviations."""
    rows = rows.astype(np.float64)
    mean = rows.mean(-1, keepdims=True) * centred
    rstd = 1 / np.sqrt(((rows - mean) ** 2).mean(-1, keepdims=True) + eps)
    return (rows - mean) * rstd, mean[:, 0], rstd[:, 0]


def _through(xhat, rstd, dxhat, centred=1):
    """Return the gradient of rows from that of the normalised rows."""
    along = (dxhat * xhat).mean(-1, keepdims=True)
    return rstd[:, None] * (dxhat - dxhat.mean(-1, keepdims=True) * centred - xhat * along)


def _per_channel(values, x):
    return values.astype(float).reshape(1, -1, *[1] * (x.ndim - 2))


def _drawn_group_norm(rng):
    """Return x, weight, bias, groups, silu; at least four numbers a group, whose gradients do not cancel out."""
    batch, groups, silu = (int(n) for n in rng.integers((1, 1, 0), (4, 5, 2)))
    plane = rng.integers(1, 24 if rng.integers(2) else 7, rng.integers(0, 3))
    per_group = max(int(rng.integers(1, 5)), -(-4 // int(np.prod(plane))))
    x = _normal(rng, batch, groups * per_group, *plane)
    return x + 4, _normal(rng, x.shape[1]), _normal(rng, x.shape[1]), groups, silu


def _group_norm(x, weight, bias, groups, eps, silu):
    xhat, mean, rstd = _normed(x.reshape(x.shape[0] * groups, -1), eps)
    before = xhat.reshape(x.shape) * _per_channel(weight, x) + _per_channel(bias, x)
    value = before * _sigmoid(before) if silu else before
    slope = _sigmoid(before) * (1 + before * (1 - _sigmoid(before))) if silu else 1.0
    return value, slope, xhat, mean, rstd


def _images(clips, frames):
    """Return (b c f*p ...) as ((b f) c p ...)."""
    b, c = clips.shape[:2]
    parts = clips.reshape(b, c, frames, -1, *clips.shape[3:]).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(b * frames, c, *parts.shape[3:]))


def _drawn_frames(rng, x):
    """Return a number of frames that x (b c p ...) can be cut into along its third axis; 1 is the most frequent."""
    frames = int(rng.integers(1, 4))
    return frames if x.ndim > 2 and x.shape[2] % frames == 0 else 1


def group_norm_forward(rng):
    x, weight, bias, groups, silu = _drawn_group_norm(rng)
    frames, eps = _drawn_frames(rng, x), np.array([1e-3], np.float32)
    value, _, _, mean, rstd = _group_norm(x, weight, bias, groups, float(eps[0]), silu)
    if frames > 1:
        x, value = _images(x, frames), _images(value, frames)
    outputs = [value, mean.reshape(-1, groups), rstd.reshape(-1, groups)]
    return Case("group_norm_forward", [x, weight, bias, eps, (groups, silu, frames)], outputs, 6e-6)


def group_norm_backward(rng):
    x, weight, bias, groups, silu = _drawn_group_norm(rng)
    frames, dout = _drawn_frames(rng, x), _normal(rng, *x.shape)
    _, slope, xhat, mean, rstd = _group_norm(x, weight, bias, groups, 1e-3, silu)
    dbefore = dout * slope
    dx = _through(xhat, rstd, (dbefore * _per_channel(weight, x)).reshape(xhat.shape))
    others = (0, *range(2, x.ndim))
    sums = [(dbefore * xhat.reshape(x.shape)).sum(others), dbefore.sum(others)]
    statistics = [mean.astype(np.float32), rstd.astype(np.float32)]
    dx = dx.reshape(x.shape)
    if frames > 1:
        x, dx, dout = (_images(clips, frames) for clips in (x, dx, dout))
    return Case("group_norm_backward", [x, weight, bias, *statistics, dout, (groups, silu, frames)],
                [dx, *sums], 2e-5)  # fmt: skip


ABSENT = ()


def _drawn_row_norm(rng):
    """Return x, weight, bias, shift, scale (some of them absent), centred."""
    samples, width = int(rng.integers(1, 4)), int(rng.integers(4, 70))
    inner = [int(n) for n in rng.integers(1, 12, rng.integers(1, 3))]
    x = _normal(rng, samples, *inner, width) + 4
    weight, bias = (_normal(rng, width) if rng.integers(2) else ABSENT for _ in range(2))
    shared = 1 if rng.integers(2) else samples
    modulation = [_normal(rng, shared, *[1] * len(inner), width) for _ in range(2)]
    return x, weight, bias, *(modulation if rng.integers(2) else (ABSENT, ABSENT)), int(rng.integers(2))


def _value(tensor, otherwise):
    return otherwise if isinstance(tensor, tuple) else tensor.astype(float)


def row_norm_forward(rng):
    x, weight, bias, shift, scale, centred = _drawn_row_norm(rng)
    eps = np.array([1e-3], np.float32)
    xhat, mean, rstd = _normed(x.reshape(-1, x.shape[-1]), float(eps[0]), centred)
    mapped = xhat.reshape(x.shape) * _value(weight, 1) + _value(bias, 0)
    value = mapped * (1 + _value(scale, 0)) + _value(shift, 0)
    inputs = [x, weight, bias, shift, scale, eps, (centred,)]
    return Case("row_norm_forward", inputs, [value, mean.reshape(x.shape[:-1]), rstd.reshape(x.shape[:-1])], 3e-6)


def row_norm_backward(rng):
    x, weight, bias, shift, scale, centred = _drawn_row_norm(rng)
    dout = _normal(rng, *x.shape)
    xhat, mean, rstd = _normed(x.reshape(-1, x.shape[-1]), 1e-3, centred)
    normed = xhat.reshape(x.shape)
    mapped = normed * _value(weight, 1) + _value(bias, 0)
    dmapped = dout * (1 + _value(scale, 0))
    dx = _through(xhat, rstd, (dmapped * _value(weight, 1)).reshape(xhat.shape), centred)
    rows = tuple(range(x.ndim - 1))
    per_sample = (1, x.shape[-1]) if isinstance(shift, tuple) else shift.shape
    sums = [
        (dmapped * normed).sum(rows),
        dmapped.sum(rows),
        _down_to(dout, per_sample),
        _down_to(dout * mapped, per_sample),
    ]
    statistics = [mean.astype(np.float32), rstd.astype(np.float32)]
    return Case("row_norm_backward", [x, weight, bias, shift, scale, *statistics, dout, (centred,)],
                [dx.reshape(x.shape), *sums], 2e-5)  # fmt: skip


def _down_to(gradient, per_sample):
    """Sum (b ... d) to (b d) or (1 d), in the shape of a modulation."""
    rows = gradient.astype(float).reshape(gradient.shape[0], -1, gradient.shape[-1]).sum(1)
    return (rows if per_sample[0] == gradient.shape[0] else rows.sum(0)).reshape(per_sample)


def _drawn_gated_add(rng):
    samples, width, inner = int(rng.integers(1, 4)), int(rng.integers(1, 70)), rng.integers(1, 12, rng.integers(1, 3))
    gate = _normal(rng, 1 if rng.integers(2) else samples, *[1] * len(inner), width)
    return gate, *(_normal(rng, samples, *inner, width) for _ in range(2))


def gated_add_forward(rng):
    gate, x, y = _drawn_gated_add(rng)
    return Case("gated_add_forward", [x, gate, y], [x + gate.astype(float) * y], 3e-7)


def gated_add_backward(rng):
    gate, y, dout = _drawn_gated_add(rng)
    wide = dout.astype(float)
    return Case("gated_add_backward", [gate, y, dout], [_down_to(wide * y, gate.shape), wide * gate], 1e-5)


def _drawn_shift(rng):
    samples, channels, plane = int(rng.integers(1, 4)), int(rng.integers(1, 9)), rng.integers(1, 24, rng.integers(0, 3))
    return _normal(rng, samples, channels), _normal(rng, samples * rng.integers(1, 4), channels, *plane)


def _for_pixels(shift, x):
    repeated = shift.astype(float).repeat(x.shape[0] // shift.shape[0], 0)
    return repeated.reshape(*x.shape[:2], *[1] * (x.ndim - 2))


def channel_shift_forward(rng):
    shift, x = _drawn_shift(rng)
    return Case("channel_shift_forward", [x, shift], [x + _for_pixels(shift, x)], 3e-7)


def channel_shift_backward(rng):
    shift, dout = _drawn_shift(rng)
    dout = dout + np.float32(1)  # the sum is not near 0
    images = dout.astype(float).reshape(*dout.shape[:2], -1).sum(-1)
    sums = images.reshape(shift.shape[0], -1, shift.shape[1]).sum(1)
    return Case("channel_shift_backward", [dout, shift], [sums], 1e-5)


RANDOM_CASES = {
    f.__name__: f
    for f in (
        group_norm_forward,
        group_norm_backward,
        row_norm_forward,
        row_norm_backward,
        gated_add_forward,
        gated_add_backward,
        channel_shift_forward,
        channel_shift_backward,
    )
}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(100):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


EPS = np.array([1e-5], np.float32)


@pytest.mark.parametrize("plane", [(3, 5), (40, 50)])
def test_group_norm_keeps_its_digits_far_from_0(plane):
    x = _normal(np.random.default_rng(0), 1, 4, *plane) + np.float32(10000)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    y, _, _ = call("group_norm_forward", [x, one, zero, EPS, (2, 0, 1)], [x.shape, (1, 2), (1, 2)])
    np.testing.assert_allclose(y, _normed(x.reshape(2, -1), 1e-5)[0].reshape(x.shape), atol=1e-3)


def test_layer_norm_keeps_its_digits_far_from_0():
    x = _normal(np.random.default_rng(0), 3, 200) + np.float32(10000)
    inputs = [x, ABSENT, ABSENT, ABSENT, ABSENT, EPS, (1,)]
    y, _, _ = call("row_norm_forward", inputs, [x.shape, (3,), (3,)])
    np.testing.assert_allclose(y, _normed(x, 1e-5)[0], atol=1e-3)


def test_group_norm_and_its_gradient_add_up_the_same_blocks_inside_a_group():
    """One group over all threads: several blocks in one plane, planes with an end shorter than a vector."""
    rng = np.random.default_rng(1)
    x, dout, one = _normal(rng, 1, 2, 150, 151), _normal(rng, 1, 2, 150, 151), np.ones(2, np.float32)
    value, slope, xhat, mean, rstd = _group_norm(x, one, one, 1, 1e-5, True)
    check(Case("group_norm_forward", [x, one, one, EPS, (1, 1, 1)], [value, mean[:, None], rstd[:, None]], 1e-5))
    dx = _through(xhat, rstd, (dout * slope).reshape(1, -1)).reshape(x.shape)
    sums = [(dout * slope * xhat.reshape(x.shape)).sum((0, 2, 3)), (dout * slope).sum((0, 2, 3))]
    inputs = [x, one, one, mean.astype(np.float32), rstd.astype(np.float32), dout, (1, 1, 1)]
    check(Case("group_norm_backward", inputs, [dx, *sums], 1e-5))


def test_not_a_number_stays_in_its_group():
    x = _normal(np.random.default_rng(2), 1, 4, 3)
    x[0, 1, 2] = np.nan
    one = np.ones(4, np.float32)
    y, _, _ = call("group_norm_forward", [x, one, one, EPS, (2, 1, 1)], [x.shape, (1, 2), (1, 2)])
    assert np.isnan(y[0, :2]).all()
    assert np.isfinite(y[0, 2:]).all()


def test_infinity_leaves_no_row_with_numbers():
    x = _normal(np.random.default_rng(2), 2, 40)
    x[0, 17] = np.inf
    y, _, _ = call("row_norm_forward", [x, ABSENT, ABSENT, ABSENT, ABSENT, EPS, (1,)], [x.shape, (2,), (2,)])
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


def _ones(*shapes):
    return [ms.Tensor(np.ones(shape, np.float32)) for shape in shapes]


@pytest.mark.parametrize(
    ("function", "shapes", "settings", "message"),
    [
        (F.group_norm, [(2, 6, 3)], (4, *_ones((6,), (6,)), 1e-5), "groups"),
        (F.group_norm, [(2, 6, 3)], (3, *_ones((6,), (5,)), 1e-5), "per channel"),
        (F.layer_norm, [(2, 6), (5,), (6,)], (1e-5,), "weight"),
        (F.layer_norm, [(2, 3, 6), (6,), (6,)], (1e-5, *_ones((3, 1, 6), (3, 1, 6))), "shift"),
        (F.layer_norm, [(2, 3, 6), (6,), (6,)], (1e-5, *_ones((2, 1, 6), (1, 1, 6))), "one shape"),
        (F.rms_norm, [(2, 6), (7,)], (1e-5,), "weight"),
        (F.gated_add, [(2, 3, 6), (2, 3, 6), (2, 3, 6)], (), "gate"),
        (F.gated_add, [(2, 3, 6), (2, 1, 6), (2, 1, 6)], (), "differs"),
        (F.shift_channels, [(4, 3, 5), (3, 3)], (), "per sample and channel"),
        (F.shift_channels, [(4, 3, 5), (2, 5)], (), "per sample and channel"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(function, shapes, settings, message):
    with pytest.raises(UsageError, match=f"cannot take .*{message}"):
        function(*_ones(*shapes), *settings)
