"""Activations as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, numbers

# The numbers that activations.cc knows functions by.
_SILU, _GELU, _GELU_TANH = range(3)
_EXP, _SIGMOID, _TANH = range(3)


def _same(x: Any, *_: Any) -> Any:
    return list(x)


def _halves(x: Any, *_: Any) -> Any:
    if x[-1] % 2:
        raise ValueError("the last axis has no halves")
    return [*x[:-1], x[-1] // 2]


def _equal(gate: Any, value: Any, *_: Any) -> Any:
    if list(gate) != list(value):
        raise ValueError("gates and values differ in shape")
    return list(gate)


def _both(gate: Any, value: Any, *_: Any) -> Any:
    return list(gate), list(value)


_activation_backward: Any = Kernel("activation_backward", _same)
_elementary_backward: Any = Kernel("elementary_backward", _same)
_geglu_backward: Any = Kernel("geglu_backward", _same)
_swiglu_backward: Any = Kernel("swiglu_backward", _both)


def _activation_bprop(x: Any, which: Any, out: Any, dout: Any) -> Any:
    return _activation_backward(x, which, dout), ops.zeros_like(which)


def _elementary_bprop(x: Any, which: Any, out: Any, dout: Any) -> Any:
    return _elementary_backward(out, which, dout), ops.zeros_like(which)


def _geglu_bprop(x: Any, out: Any, dout: Any) -> Any:
    return (_geglu_backward(x, dout),)


def _swiglu_bprop(gate: Any, value: Any, out: Any, dout: Any) -> Any:
    return _swiglu_backward(gate, value, dout)


_activation: Any = Kernel("activation_forward", _same, _activation_bprop)
_elementary: Any = Kernel("elementary_forward", _same, _elementary_bprop)
_geglu: Any = Kernel("geglu_forward", _halves, _geglu_bprop)
_swiglu: Any = Kernel("swiglu_forward", _equal, _swiglu_bprop)


def silu(x: Any) -> Any:
    """One pass, and one for the gradient."""
    return _activation(x, numbers(_SILU)) if x.dtype == ms.float32 else stock.silu(x)


def gelu(x: Any) -> Any:
    """One pass, within 2e-7 of the true value."""
    return _activation(x, numbers(_GELU)) if x.dtype == ms.float32 else stock.gelu(x)


def gelu_tanh(x: Any) -> Any:
    """One pass, and one for the gradient."""
    return _activation(x, numbers(_GELU_TANH)) if x.dtype == ms.float32 else stock.gelu_tanh(x)


def geglu(x: Any) -> Any:
    """One pass that reads both halves where they are."""
    return _geglu(x) if x.dtype == ms.float32 else stock.geglu(x)


def swiglu(gate: Any, value: Any) -> Any:
    """One pass, and one for both gradients."""
    return _swiglu(gate, value) if gate.dtype == ms.float32 else stock.swiglu(gate, value)


def exp(x: Any) -> Any:
    """One pass, within 2 units in the last place; the stock kernel is 2e-5 off."""
    return _elementary(x, numbers(_EXP)) if x.dtype == ms.float32 else stock.exp(x)


def sigmoid(x: Any) -> Any:
    """One pass, within 3 units in the last place; the stock kernel is 2e-5 off."""
    return _elementary(x, numbers(_SIGMOID)) if x.dtype == ms.float32 else stock.sigmoid(x)


def tanh(x: Any) -> Any:
    """One pass, within 2 units in the last place; the stock kernel is 1e-4 off."""
    return _elementary(x, numbers(_TANH)) if x.dtype == ms.float32 else stock.tanh(x)


_softmax_backward: Any = Kernel("softmax_backward", _same)


def _softmax_bprop(x: Any, out: Any, dout: Any) -> Any:
    return (_softmax_backward(out, dout),)


_softmax: Any = Kernel("softmax_forward", _same, _softmax_bprop)


def softmax(x: Any, axis: int = -1) -> Any:
    """Keep a row in the cache; other axes than the last use the stock kernel."""
    if x.dtype != ms.float32 or axis not in (-1, x.ndim - 1):
        return stock.softmax(x, axis)
    return _softmax(x)
