"""The operators that ``ops.py`` times, as graph mode can parse them; import after ``runtime.context.start``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mindspore import ops

from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell


def conv2d(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv2d(x, weight, bias, 1, (1, 1, 1, 1))


def conv3d(x: Any, weight: Any, bias: Any) -> Any:
    return F.conv3d(x, weight, bias, (1, 1, 1), (1, 1, 0, 0, 0, 0))


def group_norm(x: Any, weight: Any, bias: Any) -> Any:
    return F.group_norm(x, 16, weight, bias, 1e-5)


def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    return F.layer_norm(x, weight, bias, 1e-5)


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return F.linear(x, weight, bias)


def geglu(x: Any) -> Any:
    return F.geglu(x)


def silu(x: Any) -> Any:
    return F.silu(x)


def attention(q: Any, k: Any, v: Any) -> Any:
    return F.attention(q, k, v, 2)


def upsample(x: Any) -> Any:
    return F.upsample_nearest(x)


class Forward(Cell):
    """An operator alone."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, *inputs: Any) -> Any:
        """Return the operator's value."""
        return self.function(*inputs)


class Step(Cell):
    """An operator and the gradients of all its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.gradient = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, dout: Any, *inputs: Any) -> Any:
        """Return (value, gradients)."""
        return self.function(*inputs), self.gradient(self.function)(*inputs, dout)
