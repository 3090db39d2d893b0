"""Activations as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel


def _same(x: Any, *_: Any) -> Any:
    return list(x)


_silu_backward: Any = Kernel("silu_backward", _same)


def _silu_bprop(x: Any, out: Any, dout: Any) -> Any:
    return (_silu_backward(x, dout),)


_silu: Any = Kernel("silu_forward", _same, _silu_bprop)


def silu(x: Any) -> Any:
    """One pass."""
    return _silu(x) if x.dtype == ms.float32 else stock.silu(x)
