"""Every operator's value and gradients against float64 numpy, in both execution modes, on odd shapes."""

import numpy as np
import pytest
import reference as R

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402
from mindspore import ops  # noqa: E402

from videogen_cli.runtime import functional as F  # noqa: E402
from videogen_cli.runtime.cells import Cell  # noqa: E402
from videogen_cli.runtime.resampling import resampling_matrix  # noqa: E402

RNG = np.random.default_rng(11)


def a(*shape):
    return RNG.standard_normal(shape)


def average_pool_even(x):
    return F.average_pool(x, (2, 3))


def average_pool_uneven(x):
    return F.average_pool(x, (3, 7))


def pooled(x, size):
    """Take means from floor(i * n / m) to ceil((i + 1) * n / m), axis by axis."""
    for axis, count in zip((-2, -1), size, strict=True):
        n = x.shape[axis]
        edges = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        x = np.stack([x.take(range(*edge), axis).mean(axis) for edge in edges], axis)
    return x


MASK = np.where(np.tri(5, 5, dtype=bool), 0.0, -1e4)[None, None]

# Graphs are parsed from source and take no lambdas that share a line, hence functions.


def conv2d_same(x, w, b):
    return F.conv2d(x, w, b, 1, (1, 1, 1, 1))


def conv2d_1x1(x, w, b):
    return F.conv2d(x, w, b)


def conv2d_stride_asymmetric(x, w, b):
    return F.conv2d(x, w, b, 2, (0, 1, 0, 1))


def conv2d_2x2(x, w, b):
    return F.conv2d(x, w, b, (1, 1), (1, 1, 1, 1))


def conv2d_dilated(x, w, b):
    return F.conv2d(x, w, b, 1, (3, 3, 3, 3), 3)


def conv_transpose2d_apart(x, w, b):
    return F.conv_transpose2d(x, w, b, 3)


def conv_transpose2d_overlapping(x, w, b):
    return F.conv_transpose2d(x, w, b, 2, 1)


def depthwise_conv2d(x, w):
    return F.depthwise_conv2d(x, w, (2, 1, 2, 0))


def conv3d_temporal(x, w, b):
    return F.conv3d(x, w, b, (1, 1, 1), (1, 1, 0, 0, 0, 0))


def conv3d_causal_stride(x, w, b):
    return F.conv3d(x, w, b, (1, 2, 2), (2, 0, 1, 1, 0, 1))


def conv3d_repeated_frames(x, w, b):
    return F.conv3d(x, w, b, (2, 1, 1), (2, 1, 1, 1, 1, 1), None, True)


def with_frames(x, front, back):
    return np.concatenate([x[:, :, :1]] * front + [x] + [x[:, :, -1:]] * back, 2)


def group_norm(x, w, b):
    return F.group_norm(x, 3, w, b, 1e-5)


def group_norm_5d(x, w, b):
    return F.group_norm(x, 2, w, b, 1e-6)


def group_norm_3d(x, w, b):
    return F.group_norm(x, 4, w, b, 1e-5)


def layer_norm(x, w, b):
    return F.layer_norm(x, w, b, 1e-5)


def layer_norm_plain(x):
    return F.layer_norm(x, None, None, 1e-5)


def group_norm_silu(x, w, b):
    return F.group_norm(x, 2, w, b, 1e-5, True)


def group_norm_frames(x, w, b):
    return F.group_norm(x, 2, w, b, 1e-5, False, 3)


def layer_norm_modulated(x, w, b, shift, scale):
    return F.layer_norm(x, w, b, 1e-5, shift, scale)


def layer_norm_plain_modulated(x, shift, scale):
    return F.layer_norm(x, None, None, 1e-5, shift, scale)


def rms_norm_modulated(x, w, shift, scale):
    return F.rms_norm(x, w, 1e-6, shift, scale)


def softmax(x):
    return F.softmax(x, -1)


def softmax_axis(x):
    return F.softmax(x, 1)


def attention(q, k, v):
    return F.attention(q, k, v, 2)


def attention_mask_scale(q, k, v):
    return F.attention(q, k, v, 3, ms.Tensor(MASK.astype(np.float32)), 0.5)


def attention_shared_keys(q, k, v):
    return F.attention(q, k, v, 4)


def upsample_nearest(x):
    return F.upsample_nearest(x, 3)


def upsample_rows(x):
    return F.upsample_nearest(x, (2, 1))


def permute(x):
    return F.permute(x, (0, 3, 1, 2))


def permute_single(x):
    return F.permute(x, (1, 0, 3, 2))


def leaky_relu(x):
    return F.leaky_relu(x, 0.2)


def max_pool2d_3(x):
    return F.max_pool2d(x, 3)


def concat_chunk(x, y):
    return F.chunk(F.concat([x, y], 1), 3, 1)[2]


def leading(x):
    return F.leading(F.leading(x, 3, 1), 2, 2)


def mean(x):
    return F.mean(x, (1, 2), True)


def rms_norm(x, w):
    return F.rms_norm(x, w, 1e-6)


def take_row(x):
    return F.take_row(x, ms.Tensor(np.array([3, 0], np.int32)))


def take(x):
    return F.take(x, ms.Tensor(np.array([2, 0], np.int32)), 1)


def resize(x):
    return F.resize(x, (3, 7), "bicubic", True)


# name -> (operator on tensors, the same in numpy, inputs)
CASES = {
    "rms-norm": (
        rms_norm,
        lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w,
        [a(2, 3, 5), a(5)],
    ),
    "rms-norm-modulated": (
        rms_norm_modulated,
        lambda x, w, shift, scale: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w * (1 + scale) + shift,
        [a(2, 3, 5), a(5), a(2, 1, 5), a(2, 1, 5)],
    ),
    "gated-add": (F.gated_add, lambda x, gate, y: x + gate * y, [a(2, 3, 4, 5), a(2, 1, 1, 5), a(2, 3, 4, 5)]),
    "l2-normalize": (F.l2_normalize, lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True), [a(2, 3, 5)]),
    "take-row": (take_row, lambda x: x[[0, 1], [3, 0]], [a(2, 4, 3)]),
    "take": (take, lambda x: x[:, [2, 0]], [a(2, 4, 3)]),
    "resize": (
        resize,
        lambda x: (
            resampling_matrix(5, 3, antialias=True).astype(float)
            @ x
            @ resampling_matrix(4, 7, antialias=True).T.astype(float)
        ),
        [a(2, 3, 5, 4)],
    ),
    "matmul": (F.matmul, np.matmul, [a(2, 3, 4, 5), a(2, 3, 5, 6)]),
    "linear": (F.linear, lambda x, w, b: x @ w.T + b, [a(2, 3, 5), a(7, 5), a(7)]),
    "linear-no-bias": (F.linear, lambda x, w: x @ w.T, [a(3, 5), a(7, 5)]),
    "conv2d-same": (
        conv2d_same,
        lambda x, w, b: R.convolution(x, w, b, (1, 1), (1, 1, 1, 1)),
        [a(2, 3, 5, 4), a(6, 3, 3, 3), a(6)],
    ),
    "conv2d-1x1": (
        conv2d_1x1,
        lambda x, w, b: R.convolution(x, w, b, (1, 1), (0, 0, 0, 0)),
        [a(2, 3, 5, 4), a(6, 3, 1, 1), a(6)],
    ),
    "conv2d-stride-asymmetric": (
        conv2d_stride_asymmetric,
        lambda x, w, b: R.convolution(x, w, b, (2, 2), (0, 1, 0, 1)),
        [a(2, 4, 7, 6), a(5, 4, 3, 3), a(5)],
    ),
    "conv2d-2x2": (
        conv2d_2x2,
        lambda x, w, b: R.convolution(x, w, b, (1, 1), (1, 1, 1, 1)),
        [a(3, 4, 2, 2), a(5, 4, 3, 3), a(5)],
    ),
    "conv2d-dilated": (
        conv2d_dilated,
        lambda x, w, b: R.convolution(x, R.spread(w, 3), b, (1, 1), (3, 3, 3, 3)),
        [a(2, 2, 4, 5), a(3, 2, 3, 3), a(3)],
    ),
    "conv_transpose2d-apart": (
        conv_transpose2d_apart,
        lambda x, w, b: R.transposed_convolution(x, w, b, 3, 0),
        [a(2, 2, 2, 3), a(2, 3, 3, 3), a(3)],
    ),
    "conv_transpose2d-overlapping": (
        conv_transpose2d_overlapping,
        lambda x, w, b: R.transposed_convolution(x, w, b, 2, 1),
        [a(2, 2, 2, 3), a(2, 3, 4, 4), a(3)],
    ),
    "depthwise_conv2d": (
        depthwise_conv2d,
        lambda x, w: R.depthwise(x, w, (2, 1, 2, 0)),
        [a(2, 3, 4, 5), a(3, 1, 4, 3)],
    ),
    "conv3d-temporal": (
        conv3d_temporal,
        lambda x, w, b: R.convolution(x, w, b, (1, 1, 1), (1, 1, 0, 0, 0, 0)),
        [a(2, 3, 4, 3, 2), a(5, 3, 3, 1, 1), a(5)],
    ),
    "conv3d-causal-stride": (
        conv3d_causal_stride,
        lambda x, w, b: R.convolution(x, w, b, (1, 2, 2), (2, 0, 1, 1, 0, 1)),
        [a(1, 3, 4, 5, 4), a(4, 3, 3, 3, 3), a(4)],
    ),
    "conv3d-repeated-frames": (
        conv3d_repeated_frames,
        lambda x, w, b: R.convolution(with_frames(x, 2, 1), w, b, (2, 1, 1), (0, 0, 1, 1, 1, 1)),
        [a(2, 3, 3, 5, 4), a(4, 3, 3, 3, 3), a(4)],
    ),
    "group_norm": (
        group_norm,
        lambda x, w, b: R.group_norm(x, 3, w, b, 1e-5),
        [a(2, 6, 5, 3) * 3 + 7, a(6), a(6)],
    ),
    "group_norm-5d": (
        group_norm_5d,
        lambda x, w, b: R.group_norm(x, 2, w, b, 1e-6),
        [a(2, 4, 3, 2, 3), a(4), a(4)],
    ),
    "group_norm-3d": (
        group_norm_3d,
        lambda x, w, b: R.group_norm(x, 4, w, b, 1e-5),
        [a(3, 4, 5), a(4), a(4)],
    ),
    "layer_norm": (
        layer_norm,
        lambda x, w, b: R.layer_norm(x, w, b, 1e-5),
        [a(2, 5, 7) * 2 - 4, a(7), a(7)],
    ),
    "group_norm-silu": (
        group_norm_silu,
        lambda x, w, b: R.silu(R.group_norm(x, 2, w, b, 1e-5)),
        [a(2, 4, 9, 8) * 2 + 1, a(4), a(4)],
    ),
    "group_norm-frames": (
        group_norm_frames,
        lambda x, w, b: R.group_norm_of_frames(x, 2, w, b, 1e-5, 3),
        [a(6, 4, 3, 5) * 2 + 1, a(4), a(4)],
    ),
    "layer_norm-modulated": (
        layer_norm_modulated,
        lambda x, w, b, shift, scale: R.layer_norm(x, w, b, 1e-5) * (1 + scale) + shift,
        [a(2, 3, 5), a(5), a(5), a(2, 1, 5), a(2, 1, 5)],
    ),
    "layer_norm-plain-modulated": (
        layer_norm_plain_modulated,
        lambda x, shift, scale: R.layer_norm(x, 1.0, 0.0, 1e-5) * (1 + scale) + shift,
        [a(2, 3, 5), a(1, 1, 5), a(1, 1, 5)],
    ),
    "layer_norm-plain": (layer_norm_plain, lambda x: R.layer_norm(x, 1.0, 0.0, 1e-5), [a(2, 5, 7) * 2 - 4]),
    "sigmoid": (F.sigmoid, lambda x: 1 / (1 + np.exp(-x)), [a(3, 5, 7) * 4]),
    "silu": (F.silu, R.silu, [a(3, 5, 7) * 4]),
    "relu": (F.relu, lambda x: np.maximum(x, 0), [a(3, 5, 7)]),
    "gelu": (F.gelu, R.gelu, [a(3, 50, 7) * 3]),
    "gelu_tanh": (F.gelu_tanh, R.gelu_tanh, [a(3, 5, 7) * 3]),
    "tanh": (F.tanh, np.tanh, [a(3, 5, 7) * 3]),
    "geglu": (F.geglu, R.geglu, [a(3, 5, 14)]),
    "swiglu": (F.swiglu, lambda gate, value: value * R.silu(gate), [a(3, 5, 7) * 4, a(3, 5, 7)]),
    "exp": (F.exp, np.exp, [a(3, 5, 7)]),
    "exp-scalar": (F.exp, np.exp, [a()]),
    "softmax": (softmax, lambda x: R.softmax(x, -1), [a(3, 5, 7) * 5]),
    "softmax-axis": (softmax_axis, lambda x: R.softmax(x, 1), [a(3, 5, 7) * 5]),
    "attention": (
        attention,
        lambda q, k, v: R.attention(q, k, v, 2, None, None),
        [a(2, 5, 6), a(2, 7, 6), a(2, 7, 6)],
    ),
    "attention-mask-scale": (
        attention_mask_scale,
        lambda q, k, v: R.attention(q, k, v, 3, MASK, 0.5),
        [a(2, 5, 6), a(2, 5, 6), a(2, 5, 6)],
    ),
    "attention-shared-keys": (
        attention_shared_keys,
        lambda q, k, v: R.attention(q, R.repeated_heads(k, 2, 2), R.repeated_heads(v, 2, 2), 4, None, None),
        [a(2, 3, 12), a(2, 5, 6), a(2, 5, 6)],
    ),
    "upsample_nearest": (upsample_nearest, lambda x: R.upsample_nearest(x, 3), [a(2, 3, 2, 5)]),
    "upsample_nearest-rows": (upsample_rows, lambda x: x.repeat(2, 2), [a(2, 3, 2, 5)]),
    "permute": (permute, lambda x: x.transpose(0, 3, 1, 2), [a(2, 3, 4, 5)]),
    "permute-single": (permute_single, lambda x: x.transpose(1, 0, 3, 2), [a(1, 3, 4, 1)]),
    "shift_channels": (
        F.shift_channels,
        lambda x, shift: x + shift.repeat(3, 0)[..., None, None],
        [a(6, 3, 4, 5), a(2, 3)],
    ),
    "leaky_relu": (leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x), [a(3, 5, 7)]),
    "max_pool2d": (F.max_pool2d, lambda x: R.max_pool2d(x, 2), [a(2, 3, 5, 6)]),
    "max_pool2d-3": (max_pool2d_3, lambda x: R.max_pool2d(x, 3), [a(2, 3, 7, 6)]),
    "concat-chunk": (
        concat_chunk,
        lambda x, y: np.split(np.concatenate([x, y], 1), 3, 1)[2],
        [a(2, 2, 3), a(2, 4, 3)],
    ),
    "leading": (leading, lambda x: x[:, :, :2], [a(2, 3, 4)]),
    "average-pool-even": (average_pool_even, lambda x: pooled(x, (2, 3)), [a(2, 3, 4, 6)]),
    "average-pool-uneven": (average_pool_uneven, lambda x: pooled(x, (3, 7)), [a(2, 2, 7, 5)]),
    "mean": (mean, lambda x: x.mean((1, 2), keepdims=True), [a(2, 3, 4)]),
}


class Step(Cell):
    """Value and gradients of one operator, in one graph."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.grad = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, dout, *inputs):
        return self.function(*inputs), self.grad(self.function)(*inputs, dout)


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name, mode):
    function, expected, arrays = CASES[name]
    value = expected(*arrays)
    dout = np.random.default_rng(3).standard_normal(value.shape)
    tensors = [ms.Tensor(x.astype(np.float32)) for x in (dout, *arrays)]
    result, slopes = Step(function)(*tensors)
    assert result.shape == value.shape
    np.testing.assert_allclose(result.asnumpy(), value, rtol=2e-5, atol=2e-5)
    for slope, wanted in zip(slopes, R.gradients(expected, arrays, dout), strict=True):
        got = slope.asnumpy().reshape(-1)
        for place, slope_there in wanted.items():
            assert got[place] == pytest.approx(slope_there, rel=2e-4, abs=2e-4)


def test_gelu_is_exact_far_out():
    x = np.concatenate([np.linspace(-30, 30, 4001), [-1e4, 0.0, 1e4]])
    np.testing.assert_allclose(F.gelu(ms.Tensor(x.astype(np.float32))).asnumpy(), R.gelu(x), rtol=5e-6, atol=2e-6)


def test_arange():
    numbers = F.arange(4)
    assert numbers.dtype == ms.int32
    np.testing.assert_array_equal(numbers.asnumpy(), [0, 1, 2, 3])


def test_embedding():
    table = ms.Tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    rows = F.embedding(ms.Tensor(np.array([[3, 0]], np.int32)), table)
    np.testing.assert_array_equal(rows.asnumpy(), [[[9, 10, 11], [0, 1, 2]]])


def test_large_convolutions_are_cut_into_slices_of_the_kernel(monkeypatch):
    from videogen_cli.runtime import cpu_conv, cpu_ops

    monkeypatch.setattr(cpu_conv, "_MAX_GATHERED_BYTES", 0)
    x, w, b = a(2, 3, 5, 4), a(6, 3, 3, 3), a(6)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    out = cpu_ops.conv2d(*(ms.Tensor(t.astype(np.float32)) for t in (x, w, b)), padding=(1, 1, 1, 1))
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(out.asnumpy(), R.convolution(x, w, b, (1, 1), (1, 1, 1, 1)), rtol=1e-4, atol=1e-4)
