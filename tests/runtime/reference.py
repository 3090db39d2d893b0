"""Operators in plain float64 numpy, written to be obviously right, and gradients by central differences."""

import math

import numpy as np


def convolution(x, weight, bias, stride, padding):
    """x (b c ...), padding (before, after) per spatial axis; a loop over output points."""
    pads = [(0, 0), (0, 0), *zip(padding[::2], padding[1::2], strict=True)]
    x = np.pad(x, pads)
    kernel = weight.shape[2:]
    extent = [(s - k) // d + 1 for s, k, d in zip(x.shape[2:], kernel, stride, strict=True)]
    out = np.zeros((x.shape[0], weight.shape[0], *extent))
    for point in np.ndindex(*extent):
        window = tuple(slice(p * d, p * d + k) for p, d, k in zip(point, stride, kernel, strict=True))
        out[(slice(None), slice(None), *point)] = np.tensordot(
            x[(slice(None), slice(None), *window)].reshape(x.shape[0], -1), weight.reshape(weight.shape[0], -1), (1, 1)
        )
    return out + bias.reshape(-1, *[1] * len(kernel))


def spread(weight, dilation):
    """Put zeros between a kernel's taps."""
    o, i, h, w = weight.shape
    out = np.zeros((o, i, (h - 1) * dilation + 1, (w - 1) * dilation + 1))
    out[:, :, ::dilation, ::dilation] = weight
    return out


def depthwise(x, weight, padding):
    parts = [convolution(x[:, i : i + 1], weight[i : i + 1], np.zeros(1), (1, 1), padding) for i in range(len(weight))]
    return np.concatenate(parts, 1)


def transposed_convolution(x, weight, bias, stride, padding):
    """x (b c h w), weight (c o kh kw): every input adds the kernel times itself to the output."""
    b, _, h, w = x.shape
    out = np.zeros((b, weight.shape[1], (h - 1) * stride + weight.shape[2], (w - 1) * stride + weight.shape[3]))
    for i, j in np.ndindex(h, w):
        window = out[:, :, i * stride : i * stride + weight.shape[2], j * stride : j * stride + weight.shape[3]]
        window += np.einsum("bc,cokl->bokl", x[:, :, i, j], weight)
    return out[:, :, padding : out.shape[2] - padding, padding : out.shape[3] - padding] + bias.reshape(-1, 1, 1)


def group_norm(x, groups, weight, bias, eps):
    rows = x.reshape(x.shape[0], groups, -1)
    rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return rows.reshape(x.shape) * weight.reshape(shape) + bias.reshape(shape)


def group_norm_of_frames(x, groups, weight, bias, eps, frames):
    n, c = x.shape[:2]
    clips = x.reshape(n // frames, frames, c, -1).swapaxes(1, 2)
    return group_norm(clips, groups, weight, bias, eps).swapaxes(1, 2).reshape(x.shape)


def layer_norm(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def max_pool2d(x, size):
    b, c, h, w = x.shape
    blocks = x[:, :, : h // size * size, : w // size * size].reshape(b, c, h // size, size, w // size, size)
    return blocks.max((3, 5))


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def geglu(x):
    value, gate = np.split(x, 2, -1)
    return value * gelu(gate)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def attention(q, k, v, heads, mask, scale):
    out = np.zeros_like(q)
    d = q.shape[2] // heads
    mask = np.broadcast_to(0.0 if mask is None else mask, (q.shape[0], heads, q.shape[1], k.shape[1]))
    for b, h in np.ndindex(q.shape[0], heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[b, :, part] @ k[b, :, part].T * (d**-0.5 if scale is None else scale) + mask[b, h]
        out[b, :, part] = softmax(scores, -1) @ v[b, :, part]
    return out


def repeated_heads(x, heads, times):
    """Repeat each head of x (b m heads*d)."""
    return x.reshape(*x.shape[:2], heads, -1).repeat(times, 2).reshape(*x.shape[:2], -1)


def upsample_nearest(x, factor):
    return x.repeat(factor, 2).repeat(factor, 3)


def gradients(function, arrays, dout, count=12, step=1e-5):
    """Return for each array {flat index: d sum(function * dout) / d array[index]} at up to ``count`` places."""
    rng = np.random.default_rng(5)
    found = []
    for position, values in enumerate(arrays):
        places = rng.choice(values.size, min(count, values.size), replace=False)
        slopes = {}
        for place in places:
            sides = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[position].reshape(-1)[place] += sign * step
                sides.append((function(*moved) * dout).sum())
            slopes[int(place)] = (sides[0] - sides[1]) / (2 * step)
        found.append(slopes)
    return found
