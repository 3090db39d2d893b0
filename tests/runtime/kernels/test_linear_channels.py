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


def _tokens(images, frames):
    """(n c p) as (n p c), or with frames, for n = (b f), as ((b p) f c)."""
    _, c, p = images.shape
    if not frames:
        return images.transpose(0, 2, 1)
    return images.reshape(-1, frames, c, p).transpose(0, 3, 1, 2).reshape(-1, frames, c)


def _images(tokens, frames, pixels):
    if not frames:
        return tokens.transpose(0, 2, 1)
    b, c = len(tokens) // pixels, tokens.shape[-1]
    return tokens.reshape(b, pixels, frames, c).transpose(0, 2, 3, 1).reshape(-1, c, pixels)


def _floats(rng, *shape):
    """Positive numbers: sums that cancel would be of any relative error."""
    return rng.random(shape, np.float32) + np.float32(0.5)


class _Layer:
    """Random images (n i p) and (n o p), weight and bias; single pixels, samples shorter and longer than a vector."""

    def __init__(self, rng):
        self.frames = int(rng.integers(0, 4))
        self.pixels = int(2 ** rng.uniform(0, 7))
        inputs, outputs = (int(2 ** rng.uniform(0, 6)) for _ in range(2))
        if rng.random() < 0.2:
            inputs = int(rng.integers(300, 800))
        n = max(1, self.frames) * int(rng.integers(1, 4))
        self.inputs = _floats(rng, n, inputs, self.pixels)
        self.outputs = _floats(rng, n, outputs, self.pixels)
        self.weight = _floats(rng, outputs, inputs)
        self.bias = _floats(rng, outputs) if rng.random() < 0.5 else ()

    def tokens(self):
        """Return the output as tokens."""
        y = _tokens(self.inputs, self.frames).astype(float) @ self.weight.T
        return y + self.bias if len(self.bias) else y

    def weight_gradients(self):
        dy = _tokens(self.outputs, self.frames).reshape(-1, len(self.weight)).astype(float)
        return [dy.T @ _tokens(self.inputs, self.frames).reshape(len(dy), -1), dy.sum(0)]


def linear_from_channels(rng):
    layer = _Layer(rng)
    return Case("linear_from_channels", [layer.inputs, layer.weight, layer.bias, (layer.frames,)], [layer.tokens()])


def linear_from_channels_input_gradient(rng):
    layer = _Layer(rng)
    dy = _tokens(layer.outputs, layer.frames)
    dx = _images(dy.astype(float) @ layer.weight, layer.frames, layer.pixels)
    inputs = [dy, layer.weight, layer.inputs, (layer.frames,)]
    return Case("linear_from_channels_input_gradient", inputs, [dx])


def linear_from_channels_weight_gradient(rng):
    layer = _Layer(rng)
    inputs = [_tokens(layer.outputs, layer.frames), layer.inputs, (layer.frames,)]
    return Case("linear_from_channels_weight_gradient", inputs, layer.weight_gradients())


def linear_to_channels(rng):
    layer = _Layer(rng)
    inputs = [_tokens(layer.inputs, layer.frames), layer.weight, layer.bias, layer.outputs, (layer.frames,)]
    y = _images(layer.tokens(), layer.frames, layer.pixels) + layer.outputs
    return Case("linear_to_channels", inputs, [y])


def linear_to_channels_input_gradient(rng):
    layer = _Layer(rng)
    dx = _tokens(layer.outputs, layer.frames).astype(float) @ layer.weight
    inputs = [layer.outputs, layer.weight, _tokens(layer.inputs, layer.frames), (layer.frames,)]
    return Case("linear_to_channels_input_gradient", inputs, [dx])


def linear_to_channels_weight_gradient(rng):
    layer = _Layer(rng)
    inputs = [layer.outputs, _tokens(layer.inputs, layer.frames), (layer.frames,)]
    return Case("linear_to_channels_weight_gradient", inputs, layer.weight_gradients())


RANDOM_CASES = {
    f.__name__: f
    for f in (
        linear_from_channels,
        linear_from_channels_input_gradient,
        linear_from_channels_weight_gradient,
        linear_to_channels,
        linear_to_channels_input_gradient,
        linear_to_channels_weight_gradient,
    )
}


@pytest.mark.parametrize("kernel", RANDOM_CASES)
def test_values(kernel):
    for seed in range(100):
        check(RANDOM_CASES[kernel](np.random.default_rng(seed)))


def test_not_a_number_stays_in_its_pixel():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 7), np.float32), rng.standard_normal((3, 5), np.float32)
    x[1, 2, 3] = np.nan
    (y,) = call("linear_from_channels", [x, w, (), (0,)], [(2, 7, 3)])
    assert np.isnan(y[1, 3]).all() and np.isnan(y).sum() == 3


def through(frames):
    """Return a layer from images to tokens followed by one back."""

    def both(x, w_in, b_in, w_out, b_out, residual):
        tokens = F.linear_from_channels(x, w_in, b_in, frames)
        return F.linear_to_channels(tokens, w_out, b_out, residual, frames)

    return both


class Step(Cell):
    """Value and gradients of a layer to tokens and one back."""

    def __init__(self, frames):
        super().__init__()
        self.both = through(frames)
        self.grad = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, dout, *inputs):
        return self.both(*inputs), self.grad(self.both)(*inputs, dout)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("frames", [0, 2], ids=["spatial", "temporal"])
def test_functions_and_gradients(mode, frames):
    rng = np.random.default_rng(0)
    shapes = [(4, 7, 3, 2), (4, 5, 3, 2), (6, 5), (6,), (7, 6), (7,), (4, 7, 3, 2)]
    dout, x, w_in, b_in, w_out, b_out, residual = arrays = [rng.standard_normal(s, np.float32) for s in shapes]
    ms.set_context(mode=mode)
    try:
        value, gradients = Step(frames)(*map(ms.Tensor, arrays))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    wide = dout.astype(float)
    middle = np.einsum("nchw,oc->nohw", x.astype(float), w_in) + b_in[:, None, None]
    dmiddle = np.einsum("nohw,oc->nchw", wide, w_out)
    expected = [
        np.einsum("nohw,oc->nchw", dmiddle, w_in),
        np.einsum("nohw,nchw->oc", dmiddle, x),
        dmiddle.sum((0, 2, 3)),
        np.einsum("nohw,nchw->oc", wide, middle),
        wide.sum((0, 2, 3)),
        wide,
    ]
    y = np.einsum("nchw,oc->nohw", middle, w_out) + b_out[:, None, None] + residual
    np.testing.assert_allclose(value.asnumpy(), y, rtol=1e-5, atol=1e-5)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient.asnumpy(), wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("frames", [0, 2], ids=["spatial", "temporal"])
def test_tokens_lie_as_documented(frames):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 5, 3, 2), np.float32), np.eye(5, dtype=np.float32)
    tokens = F.linear_from_channels(ms.Tensor(x), ms.Tensor(w), None, frames).asnumpy()
    np.testing.assert_array_equal(tokens, _tokens(x.reshape(4, 5, 6), frames))


def _ones(*shape):
    return ms.Tensor(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (F.linear_from_channels, (_ones(4, 5), _ones(6, 5)), "pixels"),
        (F.linear_from_channels, (_ones(4, 5, 3), _ones(6, 3)), "features"),
        (F.linear_from_channels, (_ones(4, 5, 3), _ones(6, 5), _ones(5)), "bias"),
        (F.linear_from_channels, (_ones(4, 5, 3), _ones(6, 5), None, 3), "clips of 3 frames"),
        (F.linear_to_channels, (_ones(4, 3, 5), _ones(6, 5), None, _ones(4, 6, 2)), "tokens"),
        (F.linear_to_channels, (_ones(4, 3, 5), _ones(6, 5), None, _ones(4, 7, 3)), "residual"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(function, arguments, message):
    with pytest.raises(UsageError, match=message):
        function(*arguments)
