"""What is measured beside whole networks, for both sides; import after the side's cells are in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from videogen_cli.nets.vae2d import Decode, Encode
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell


class Whole(Cell):
    """A network as it is called."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def construct(self, *inputs: Any) -> Any:
        """Return the network's output."""
        return self.network(*inputs)


class Reconstruct(Cell):
    """The temporal autoencoder without what its loss needs beside the reconstruction."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def construct(self, video: Any, noise: Any) -> Any:
        """Return the reconstruction (b 3 f h w) of a video of that shape."""
        return self.vae(video, noise)[0]


PARTS: dict[str, Callable[[Any], Any]] = {
    "whole": Whole,
    "encode": Encode,
    "decode": Decode,
    "reconstruct": Reconstruct,
}


class SquareLoss(Cell):
    """The mean square distance of a network's output to a target."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def construct(self, target: Any, *inputs: Any) -> Any:
        """Return a scalar."""
        error = self.part(*inputs) - target
        return (error * error).mean()


class Operator(Cell):
    """An operator alone."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, *inputs: Any) -> Any:
        """Return the operator's value."""
        return self.function(*inputs)


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return F.linear(x, weight, bias)


def linear_from_channels(x: Any, weight: Any, bias: Any) -> Any:
    return F.linear_from_channels(x, weight, bias)


def linear_to_channels(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
    return F.linear_to_channels(x, weight, bias, residual)


def conv2d(x: Any, weight: Any, bias: Any) -> Any:
    edge = weight.shape[2] // 2
    return F.conv2d(x, weight, bias, 1, (edge, edge, edge, edge))


def conv2d_stride2(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv2d(x, weight, bias, 2, (1, 1, 1, 1))


def conv3d(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv3d(x, weight, bias, (1, 1, 1), (1, 1, 1, 1, 1, 1))


def conv3d_frames(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv3d(x, weight, bias, (1, 1, 1), (1, 1, 0, 0, 0, 0))


def conv3d_causal(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv3d(x, weight, bias, (1, 1, 1), (2, 0, 1, 1, 1, 1), repeat_frames=True)


def group_norm(x: Any, weight: Any, bias: Any) -> Any:
    return F.group_norm(x, 32, weight, bias, 1e-5)


def group_norm_silu(x: Any, weight: Any, bias: Any) -> Any:
    return F.group_norm(x, 32, weight, bias, 1e-5, silu=True)


def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    return F.layer_norm(x, weight, bias, 1e-5)


def rms_norm(x: Any, weight: Any) -> Any:
    return F.rms_norm(x, weight, 1e-6)


def layer_norm_modulated(x: Any, weight: Any, bias: Any, shift: Any, scale: Any) -> Any:
    return F.layer_norm(x, weight, bias, 1e-5, shift, scale)


def rms_norm_modulated(x: Any, weight: Any, shift: Any, scale: Any) -> Any:
    return F.rms_norm(x, weight, 1e-6, shift, scale)


def gated_add(x: Any, gate: Any, y: Any) -> Any:
    return F.gated_add(x, gate, y)


def gelu(x: Any) -> Any:
    return F.gelu(x)


def gelu_tanh(x: Any) -> Any:
    return F.gelu_tanh(x)


def geglu(x: Any) -> Any:
    return F.geglu(x)


def swiglu(gate: Any, value: Any) -> Any:
    return F.swiglu(gate, value)


def silu(x: Any) -> Any:
    return F.silu(x)


def attention(q: Any, k: Any, v: Any) -> Any:
    return F.attention(q, k, v, q.shape[2] // 64)


def attention_one_head(q: Any, k: Any, v: Any) -> Any:
    return F.attention(q, k, v, 1)


def attention_masked(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return F.attention(q, k, v, q.shape[2] // 64, mask)


def to_channels_last(x: Any) -> Any:
    return F.permute(x, (0, 2, 3, 1))


def to_frames_last(x: Any) -> Any:
    return F.permute(x, (0, 2, 1, 3, 4))


def shift_channels(x: Any, shift: Any) -> Any:
    return F.shift_channels(x, shift)


def upsample(x: Any) -> Any:
    return F.upsample_nearest(x)
