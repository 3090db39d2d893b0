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

from videogen_cli.runtime.cells import Cell  # noqa: E402
from videogen_cli.runtime.kernels import convolution as K  # noqa: E402


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
    x = rng.random(tuple(rng.integers(1, 30, 4)), np.float32)
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
    extent = (frames, *rng.integers(3, 24, 2))
    padding = rng.integers(0, 3, 6) * (kernel > 1, kernel > 1, 1, 1, 1, 1)
    count = 1 + 800 // int(np.prod(extent))
    x = rng.standard_normal((count, rng.integers(32, 40), *extent), np.float32)
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_large_windows_of_3x3_keep_to_that_too(value):
    """Where Winograd's algorithm would be taken, were all numbers finite."""
    geometry = (1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0)
    x, weight = np.ones((1, 32, 24, 24), np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[0, 5, 12, 10] = value
    (out,) = call("convolution_forward", [x, weight, (), (), geometry], [x.shape])
    assert np.array_equal(np.isfinite(out[0]).sum((1, 2)), np.full(32, 24 * 24 - 9))
    np.testing.assert_equal(out[0, :, 11:14, 9:12], np.full((32, 3, 3), value))


def test_outputs_no_input_reaches_are_the_bias():
    geometry = (1, 3, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0)
    dout, weight, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 1, 1), np.float32), np.full(1, 0.5, "f")
    (out,) = call("convolution_input", [dout, weight, bias, geometry, (1, 5, 4)], [(1, 1, 5, 4)])
    expected = np.full((5, 4), 0.5)
    expected[::3, ::3] = 1.5
    np.testing.assert_array_equal(out[0, 0], expected)


class Step(Cell):
    """Value and all gradients of a function, in one graph."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.grad = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, dout, *inputs):
        return self.function(*inputs), self.grad(self.function)(*inputs, dout)


def strided_with_residual(x, weight, bias, residual):
    return K.conv3d(x, weight, bias, (1, 2, 1), (2, 0, 1, 1, 0, 1), residual, True)


@pytest.fixture(params=[ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    ms.set_context(mode=request.param)
    yield request.param
    ms.set_context(mode=ms.GRAPH_MODE)


def test_function_and_gradients(mode):
    rng = np.random.default_rng(0)
    geometry = (1, 2, 1, 2, 0, 1, 1, 0, 1, 1, 1, 1, 1)
    x, weight = rng.standard_normal((2, 3, 4, 7, 6), np.float32), rng.standard_normal((5, 3, 3, 3, 3), np.float32)
    out = forward(x, weight, geometry)
    bias, residual, dout = (rng.standard_normal(shape, np.float32) for shape in (5, out.shape, out.shape))
    value, gradients = Step(strided_with_residual)(*(ms.Tensor(a) for a in (dout, x, weight, bias, residual)))
    expected = [
        input_gradient(dout, weight, x.shape[2:], geometry),
        weight_gradient(x, dout, weight.shape[2:], geometry),
        dout.sum((0, 2, 3, 4), dtype=np.float64),
        dout,
    ]
    np.testing.assert_allclose(value.asnumpy(), out + bias.reshape(-1, 1, 1, 1) + residual, rtol=1e-5, atol=2e-5)
    assert len(gradients) == len(expected)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient.asnumpy(), wanted, rtol=1e-5, atol=5e-5)


def squared_slope(x, weight):
    """The squared length of the gradient for x of half the squared output: a function of a gradient."""
    slope = ops.GradOperation(get_all=True)(half_square)(x, weight)[0]
    return (slope * slope).sum()


def half_square(x, weight):
    out = K.conv2d(x, weight, None, 2, (1, 1, 1, 1))
    return 0.5 * (out * out).sum()


def test_gradients_have_gradients(mode):
    rng = np.random.default_rng(0)
    geometry = (1, 2, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0)
    x, weight = rng.standard_normal((2, 3, 1, 5, 4), np.float32), rng.standard_normal((4, 3, 1, 3, 3), np.float32)
    slope = input_gradient(forward(x, weight, geometry), weight, x.shape[2:], geometry)
    expected = input_gradient(forward(2 * slope, weight, geometry), weight, x.shape[2:], geometry)[:, :, 0]
    inputs = [ms.Tensor(np.ascontiguousarray(a[:, :, 0])) for a in (x, weight)]
    found = ops.GradOperation(get_all=True)(squared_slope)(*inputs)[0].asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (K.conv2d, [(2, 3, 5, 5), (4, 2, 3, 3)], "channels"),
        (K.conv2d, [(2, 3, 5, 2), (4, 3, 3, 3)], "larger"),
        (K.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3), (3,)], "bias"),
        (K.conv2d, [(2, 3, 5, 5), (4, 3, 1, 3, 3)], "axes"),
        (K.conv3d, [(2, 3, 5, 5, 5), (4, 3, 3, 3)], "axes"),
        (K.conv_transpose2d, [(2, 3, 5, 5), (4, 3, 3, 3)], "channels"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(function, shapes, message):
    with pytest.raises(UsageError, match=f"cannot take .*{message}"):
        function(*(ms.Tensor(np.ones(shape, np.float32)) for shape in shapes))


def test_residuals_of_another_shape_and_strides_of_none_are_refused():
    x, weight = (ms.Tensor(np.ones(shape, np.float32)) for shape in ((2, 3, 5, 5), (4, 3, 3, 3)))
    with pytest.raises(UsageError, match="residual"):
        K.conv2d(x, weight, residual=x)
    with pytest.raises(UsageError, match="at least 1"):
        K.conv2d(x, weight, stride=0)
