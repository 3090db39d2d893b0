"""The operators networks are made of: same values on every target, one fast formulation per target.

Networks import this module as ``F`` and call its functions with MindSpore tensors, inside a graph or eagerly; all are
differentiable. The target's formulations are chosen once, when this module is first imported: :mod:`.cpu_ops` or
:mod:`.ascend_ops`. In skeleton mode (see :mod:`.cells`) the names exist and cannot be called.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.runtime.cells import REAL

if REAL:
    from mindspore import ops

    from videogen_cli.runtime.cpu_ops import (
        attention,
        conv2d,
        conv3d,
        gelu,
        gelu_tanh,
        group_norm,
        layer_norm,
        linear,
        silu,
        softmax,
        upsample_nearest,
    )

    sin, cos, exp, tanh, sqrt = ops.sin, ops.cos, ops.exp, ops.tanh, ops.sqrt

    def geglu(x: Any) -> Any:
        """Return value * gelu(gate) (... d); ``x`` (... 2*d) holds the value in its first half, the gate after."""
        value, gate = chunk(x, 2, -1)
        return value * gelu(gate)

    def chunk(x: Any, n: int, axis: int) -> Any:
        """Cut ``x`` into ``n`` equal parts along ``axis``."""
        return ops.split(x, x.shape[axis] // n, axis)

    def concat(parts: Any, axis: int) -> Any:
        """Join tensors along ``axis``."""
        return ops.concat(parts, axis)

    def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the mean over ``axis`` (an int, a tuple, or None for all)."""
        return ops.mean(x, axis, keepdims)

    def embedding(ids: Any, table: Any) -> Any:
        """Return the rows of ``table`` (v d) at integer ``ids`` (...) as (... d)."""
        return ops.gather(table, ids, 0)

else:

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def absent(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"functional.{name} was called before runtime.context.start()")

        return absent
