from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.kernels.native import Case, call, check


def padded(x, padding, repeat):
    """x (b c f h w) with copies of the end frames or zeros around."""
    around = [(0, 0), (0, 0), *zip(padding[::2], padding[1::2], strict=True)]
    x = np.pad(x, [*around[:2], around[2], (0, 0), (0, 0)], mode="edge" if repeat else "constant")
    return np.pad(x, [(0, 0)] * 3 + around[3:])


def windows(kernel, stride, dilation, extent):
    """For each tap, where in a padded clip its points for all outputs are."""
    for tap in np.ndindex(*kernel):
        spans = (
            slice(t * d, t * d + (e - 1) * s + 1, s) for t, d, s, e in zip(tap, dilation, stride, extent, strict=True)
        )
        yield (slice(None), slice(None), *spans), (slice(None), slice(None), *tap)


def forward(x, weight, geometry):
    stride, padding, dilation, repeat = geometry[:3], geometry[3:9], geometry[9:12], geometry[12]
    x = padded(x, padding, repeat)
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    extent = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    out = np.zeros((x.shape[0], weight.shape[0], *extent))
    for window, tap in windows(weight.shape[2:], stride, dilation, extent):
        out += np.einsum("bcfhw,oc->bofhw", x[window], weight[tap])
    return out


def input_gradient(dout, weight, extent, geometry):
    stride, padding, dilation, repeat = geometry[:3], geometry[3:9], geometry[9:12], geometry[12]
    front, back, top, bottom, left, right = padding
    frames, height, width = extent
    full = (frames + front + back, height + top + bottom, width + left + right)
    dx = np.zeros((len(dout), weight.shape[1], *full))
    for window, tap in windows(weight.shape[2:], stride, dilation, dout.shape[2:]):
        dx[window] += np.einsum("bofhw,oc->bcfhw", dout, weight[tap])
    dx = dx[..., top : top + height, left : left + width]
    inner = dx[:, :, front : front + frames].copy()
    if repeat:
        inner[:, :, 0] += dx[:, :, :front].sum(2)
        inner[:, :, -1] += dx[:, :, front + frames :].sum(2)
    return inner


def weight_gradient(x, dout, kernel, geometry):
    x = padded(x, geometry[3:9], geometry[12])
    dweight = np.zeros((dout.shape[1], x.shape[1], *kernel))
    for window, tap in windows(kernel, geometry[:3], geometry[9:12], dout.shape[2:]):
        dweight[tap] = np.einsum("bofhw,bcfhw->oc", dout, x[window])
    return dweight


def problem(rng):
    """Draw x, weight and geometry: any strides, paddings and dilations, clips and images."""
    while True:
        images, c, o = rng.integers(1, 4), rng.choice([1, 3, 17]), rng.choice([1, 5, 8, 50])
        extent, kernel = rng.integers(1, 9, 3), rng.integers(1, 4, 3)
        stride, dilation = rng.integers(1, 4, 3), rng.integers(1, 3, 3)
        padding = rng.integers(0, 3, 6)
        if rng.random() < 0.4:  # an image
            extent[0], kernel[0], stride[0], padding[:2] = 1, 1, 1, 0
        if rng.random() < 0.4:  # the usual kind, which keeps the size
            stride[:], dilation[:], padding = 1, 1, np.repeat(kernel // 2, 2)
        if (extent + padding[::2] + padding[1::2] > (kernel - 1) * dilation).all():
            break
    x = rng.standard_normal((images, c, *extent), np.float32)
    weight = rng.standard_normal((o, c, *kernel), np.float32)
    return x, weight, tuple(int(n) for n in (*stride, *padding, *dilation, rng.random() < 0.3))


def images(*clips):
    """Take the axis of frames out of arrays in which it has length 1."""
    return [x[:, :, 0] for x in clips]


def convolution_forward(rng):
    x, weight, geometry = problem(rng)
    out = forward(x, weight, geometry)
    bias = rng.standard_normal(len(weight), np.float32) if rng.random() < 0.5 else ()
    residual = rng.standard_normal(out.shape, np.float32) if rng.random() < 0.5 else ()
    if not isinstance(bias, tuple):
        out += bias.reshape(-1, 1, 1, 1)
    if not isinstance(residual, tuple):
        out += residual
    if weight.shape[2] == x.shape[2] == out.shape[2] == 1 and isinstance(residual, tuple):
        x, weight, out = images(x, weight, out)
    return Case("convolution_forward", [x, weight, bias, residual, geometry], [out])


def convolution_input(rng):
    x, weight, geometry = problem(rng)
    dout = rng.standard_normal(forward(x, weight, geometry).shape).astype(np.float32)
    dx = input_gradient(dout, weight, x.shape[2:], geometry)
    bias = ()
    if rng.random() < 0.3 and not geometry[12]:
        bias = rng.standard_normal(x.shape[1], np.float32)
        dx += bias.reshape(-1, 1, 1, 1)
    return Case("convolution_input", [dout, weight, bias, geometry, x.shape[2:]], [dx])


def convolution_weight(rng):
    x, weight, geometry = problem(rng)
    dout = rng.standard_normal(forward(x, weight, geometry).shape).astype(np.float32)
    return Case(
        "convolution_weight",
        [x, dout, geometry, weight.shape[2:]],
        [weight_gradient(x, dout, weight.shape[2:], geometry)],
    )


def channel_sums(rng):
    x = rng.standard_normal(tuple(rng.integers(1, 30, 4)), np.float32)
    return Case("channel_sums", [x], [x.sum((0, 2, 3), dtype=np.float64)], 1e-6)


RANDOM_CASES = {f.__name__: f for f in (convolution_forward, convolution_input, convolution_weight, channel_sums)}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(150):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


@pytest.mark.parametrize("kernel", ["convolution_forward", "convolution_input", "convolution_weight"])
def test_large_products_are_shared_out_and_taken_in_chunks(kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 75, 2, 19, 21), np.float32)
    weight = rng.standard_normal((350, 75, 2, 3, 3), np.float32)
    geometry = (1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0)
    out = forward(x, weight, geometry)
    dout = rng.standard_normal(out.shape).astype(np.float32)
    cases = {
        "convolution_forward": ([x, weight, (), (), geometry], out),
        "convolution_input": (
            [dout, weight, (), geometry, x.shape[2:]],
            input_gradient(dout, weight, x.shape[2:], geometry),
        ),
        "convolution_weight": (
            [x, dout, geometry, (2, 3, 3)],
            weight_gradient(x, dout, (2, 3, 3), geometry),
        ),
    }
    inputs, expected = cases[kernel]
    check(Case(kernel, inputs, [expected]))


def windows_of_3x3(rng):
    """Draw a case large enough for Winograd's algorithm: any paddings, odd sizes, few channels more than a tile."""
    frames, kernel = ((1, 1), (5, 1), (4, 3))[rng.integers(3)]
    extent = (frames, *rng.integers(9, 24, 2))
    padding = rng.integers(0, 3, 6) * (kernel > 1, kernel > 1, 1, 1, 1, 1)
    x = rng.standard_normal((rng.integers(2, 9), rng.integers(32, 40), *extent), np.float32)
    weight = rng.standard_normal((rng.integers(32, 45), x.shape[1], kernel, 3, 3), np.float32)
    return x, weight, (1, 1, 1, *map(int, padding), 1, 1, 1, int(rng.random() < 0.3))


@pytest.mark.parametrize("seed", range(12))
def test_windows_of_3x3(seed):
    rng = np.random.default_rng(seed)
    x, weight, geometry = windows_of_3x3(rng)
    out = forward(x, weight, geometry)
    bias, residual = rng.standard_normal(len(weight), np.float32), rng.standard_normal(out.shape, np.float32)
    expected = out + bias.reshape(-1, 1, 1, 1) + residual
    check(Case("convolution_forward", [x, weight, bias, residual, geometry], [expected], 2e-6))
    dx = input_gradient(residual, weight, x.shape[2:], geometry)
    check(Case("convolution_input", [residual, weight, (), geometry, x.shape[2:]], [dx], 2e-6))


def test_not_a_number_and_infinity_reach_what_reads_them_and_no_more():
    x = np.ones((1, 1, 5, 40), np.float32)
    x[0, 0, 2, 10], x[0, 0, 2, 30] = np.nan, np.inf
    geometry = (1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0)
    (out,) = call("convolution_forward", [x, np.ones((1, 1, 3, 3), np.float32), (), (), geometry], [x.shape])
    assert np.isnan(out[0, 0, 1:4, 9:12]).all() and np.isnan(out).sum() == 9
    assert np.isposinf(out[0, 0, 1:4, 29:32]).all() and np.isposinf(out).sum() == 9


def test_outputs_no_input_reaches_are_the_bias():
    geometry = (1, 3, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0)
    dout, weight, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32), np.full(1, 0.5, "f")
    (out,) = call("convolution_input", [dout, weight, bias, geometry, (1, 5, 4)], [(1, 1, 5, 4)])
    expected = np.full((5, 4), 0.5)
    expected[::3, ::3] = 1.5
    np.testing.assert_array_equal(out[0, 0], expected)
