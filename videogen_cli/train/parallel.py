"""What data-parallel ranks must agree on: gradients, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Ranks:
    """This process among ``world``.

    ``reduce_gradients`` maps a flat float32 tensor of this rank to the sum over all ranks; the trainer calls it once
    per step on the gradient (size,) and once on the stats. Sharded optimizers plug in here. ``any_rank`` maps a flag
    of this rank to whether any rank has it set.
    """

    rank: int = 0
    world: int = 1
    reduce_gradients: Callable[[Any], Any] = _same
    any_rank: Callable[[bool], bool] = _same

    @classmethod
    def connect(cls, rank: int, world: int) -> Ranks:
        """Return this process's ranks, joined by all-reduce when there are several.

        The process group must exist (``runtime`` starts it with the device).
        """
        if world == 1:
            return cls(rank, world)
        import mindspore as ms
        from mindspore import ops

        reduce: Any = ops.AllReduce(ops.ReduceOp.SUM)

        def any_rank(flag: bool) -> bool:
            return float(reduce(ms.Tensor([float(flag)], ms.float32)).asnumpy()[0]) > 0

        return cls(rank, world, reduce, any_rank)
