"""Normalisations as kernels; the functions are described in :mod:`videogen_cli.runtime.functional`."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from videogen_cli.runtime import cpu_ops as stock
from videogen_cli.runtime.kernels.calls import Kernel, numbers, reals


def _group_shapes(x: Any, weight: Any, bias: Any, eps: Any, settings: Any) -> Any:
    groups, frames = settings[1], settings[3]
    if len(x) < 2 or groups < 1 or x[1] % groups:
        raise ValueError(f"channels are not {groups} equal groups")
    if frames < 1 or x[0] % frames:
        raise ValueError(f"images are not clips of {frames} frames")
    if list(weight) != [x[1]] or list(bias) != [x[1]]:
        raise ValueError("weight and bias need a number per channel")
    return list(x), [x[0] // frames, groups], [x[0] // frames, groups]


def _group_gradient_shapes(x: Any, weight: Any, bias: Any, *_: Any) -> Any:
    return list(x), list(weight), list(bias)


_group_norm_backward: Any = Kernel("group_norm_backward", _group_gradient_shapes)


def _group_norm_bprop(x: Any, weight: Any, bias: Any, eps: Any, settings: Any, out: Any, dout: Any) -> Any:
    dx, dweight, dbias = _group_norm_backward(x, weight, bias, out[1], out[2], dout[0], settings)
    return dx, dweight, dbias, ops.zeros_like(eps), ops.zeros_like(settings)


_group_norm: Any = Kernel("group_norm_forward", _group_shapes, _group_norm_bprop)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, silu: bool = False, frames: int = 1) -> Any:
    """Read x once for the statistics and once for the result; the gradient does the SiLU's input once more."""
    if x.dtype != ms.float32:
        return stock.group_norm(x, groups, weight, bias, eps, silu, frames)
    return _group_norm(x, weight, bias, reals(eps), numbers(groups, int(silu), frames))[0]


def _row_shapes(x: Any, weight: Any, bias: Any, shift: Any, scale: Any, *_: Any) -> Any:
    for name, shape in (("weight", weight), ("bias", bias)):
        if shape[0] and list(shape) != [x[-1]]:
            raise ValueError(f"{name} needs a number per column")
    for name, shape in (("shift", shift), ("scale", scale)):
        if shape[0]:
            check_per_sample(name, shape, x)
    if bool(shift[0]) != bool(scale[0]) or list(shift) != list(scale):
        raise ValueError("shift and scale come together, in one shape")
    rows = [*x[:-1]] or [1]
    return list(x), rows, rows


def check_per_sample(name: str, shape: Any, x: Any) -> None:
    """Check that ``shape`` is (b 1 ... 1 d), or (1 ... 1 d), for x (b ... d).

    Raises:
        ValueError: it is not.
    """
    if (
        len(x) < 2
        or len(shape) != len(x)
        or shape[0] not in (1, x[0])
        or list(shape[1:]) != [*[1] * (len(x) - 2), x[-1]]
    ):
        raise ValueError(f"{name} needs a row per sample")


def _row_gradient_shapes(x: Any, weight: Any, bias: Any, shift: Any, *_: Any) -> Any:
    per_sample = list(shift) if shift[0] else [1, x[-1]]
    return list(x), [x[-1]], [x[-1]], per_sample, per_sample


_row_norm_backward: Any = Kernel("row_norm_backward", _row_gradient_shapes)


def _row_norm_bprop(
    x: Any, weight: Any, bias: Any, shift: Any, scale: Any, eps: Any, centred: Any, out: Any, dout: Any
) -> Any:
    dx, dweight, dbias, dshift, dscale = _row_norm_backward(
        x, weight, bias, shift, scale, out[1], out[2], dout[0], centred
    )
    return (
        dx,
        dweight if weight.shape[0] else ops.zeros_like(weight),
        dbias if bias.shape[0] else ops.zeros_like(bias),
        dshift if shift.shape[0] else ops.zeros_like(shift),
        dscale if scale.shape[0] else ops.zeros_like(scale),
        ops.zeros_like(eps),
        ops.zeros_like(centred),
    )


_row_norm: Any = Kernel("row_norm_forward", _row_shapes, _row_norm_bprop)


def _or_absent(tensor: Any) -> Any:
    return numbers() if tensor is None else tensor


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Do the affine map and the modulation along the way."""
    if x.dtype != ms.float32:
        return stock.layer_norm(x, weight, bias, eps, shift, scale)
    optional = (_or_absent(weight), _or_absent(bias), _or_absent(shift), _or_absent(scale))
    return _row_norm(x, *optional, reals(eps), numbers(1))[0]


def rms_norm(x: Any, weight: Any, eps: float, shift: Any = None, scale: Any = None) -> Any:
    """Do the weight and the modulation along the way."""
    if x.dtype != ms.float32:
        return stock.rms_norm(x, weight, eps, shift, scale)
    return _row_norm(x, weight, numbers(), _or_absent(shift), _or_absent(scale), reals(eps), numbers(0))[0]


def _gated_shape(x: Any, gate: Any, y: Any) -> Any:
    if list(x) != list(y):
        raise ValueError("what is added differs in shape")
    check_per_sample("gate", gate, x)
    return list(x)


def _gated_gradient_shapes(gate: Any, y: Any, dout: Any) -> Any:
    return list(gate), list(y)


_gated_add_backward: Any = Kernel("gated_add_backward", _gated_gradient_shapes)


def _gated_add_bprop(x: Any, gate: Any, y: Any, out: Any, dout: Any) -> Any:
    dgate, dy = _gated_add_backward(gate, y, dout)
    return dout, dgate, dy


_gated_add: Any = Kernel("gated_add_forward", _gated_shape, _gated_add_bprop)


def gated_add(x: Any, gate: Any, y: Any) -> Any:
    """One pass, and one for the gradients of ``gate`` and ``y``."""
    return _gated_add(x, gate, y) if x.dtype == ms.float32 else stock.gated_add(x, gate, y)


def _shifted(x: Any, shift: Any) -> Any:
    if len(x) < 2 or len(shift) != 2 or x[1] != shift[1] or x[0] % shift[0]:
        raise ValueError("a shift needs a number per sample and channel")
    return list(x)


def _shift_gradient_shape(dout: Any, shift: Any) -> Any:
    return list(shift)


_shift_backward: Any = Kernel("channel_shift_backward", _shift_gradient_shape)


def _shift_bprop(x: Any, shift: Any, out: Any, dout: Any) -> Any:
    return dout, _shift_backward(dout, shift)


_shift: Any = Kernel("channel_shift_forward", _shifted, _shift_bprop)


def shift_channels(x: Any, shift: Any) -> Any:
    """One pass, and one for the gradient of ``shift``."""
    return _shift(x, shift) if x.dtype == ms.float32 else stock.shift_channels(x, shift)
