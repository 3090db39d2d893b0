"""Low-rank adaptation: which layers of a network it changes, in the order published LoRA files list them, and how.

The files (cloneofsimo's format) are flat lists of factors without names; only the module order ties a factor to its
layer: torch's ``named_modules``, a module before its children, children as registered.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from videogen_cli.nets.layers import Conv2d, Conv3d, Linear
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, Init, parameter

ADAPTED = {"Linear": Linear, "Conv2d": Conv2d, "Conv3d": Conv3d}  # one-dimensional convolutions are not


class AdaptedModule(NamedTuple):
    """A layer that takes a low-rank update; ``kind`` is Linear, Conv2d or Conv3d."""

    name: str
    kind: str
    weight_shape: tuple[int, ...]


def adapted_modules(cell: Any) -> list[AdaptedModule]:
    """List the adapted layers of a network or skeleton in registration order."""
    found = []
    for name, module in cell.cells_and_names():
        for kind, layer in ADAPTED.items():
            if isinstance(module, layer):
                found.append(AdaptedModule(name, kind, tuple(module.weight.shape)))
    return found


class LowRank(Cell):
    """What adaptation adds to a layer: ``scale * up(down(x))``, ``down`` of the layer's own kernel, ``up`` of size one.

    ``r`` is the rank, or less in a layer that has fewer inputs or outputs (Hu et al. 2021, arXiv 2106.09685; as
    cloneofsimo/lora starts it, so that nothing is added at first).
    """

    def __init__(self, layer: Any, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        out_size, in_size, *kernel = layer.weight.shape
        r = min(rank, in_size, out_size)
        self.scale, self.dims = scale, len(kernel)
        self.stride, self.padding = (layer.stride, layer.padding) if kernel else (1, ())
        self.repeat_frames = len(kernel) == 3 and layer.repeat_frames
        self.dropout: Any = None  # see nets.dropout
        self.weight_shape, self.matrices = tuple(layer.weight.shape), ((out_size, r), (r, in_size * math.prod(kernel)))
        self.up = parameter((out_size, r, *(1 for _ in kernel)), ZEROS)
        self.down = parameter((r, in_size, *kernel), Init("normal", 1 / r))

    def construct(self, x: Any) -> Any:
        """Map what the layer takes to what is added to its output."""
        if self.dims == 0:
            out = F.linear(F.linear(x, self.down), self.up)
        elif self.dims == 2:
            out = F.conv2d(F.conv2d(x, self.down, None, self.stride, self.padding), self.up)
        else:
            low = F.conv3d(x, self.down, None, self.stride, self.padding, None, self.repeat_frames)
            out = F.conv3d(low, self.up)
        out = out * self.scale
        return out if self.dropout is None else self.dropout(out)

    def added_to(self, weight: Any) -> Any:
        """Return ``weight`` plus what makes the layer do the same, ``scale * up @ down``."""
        up, down = self.matrices
        product = F.matmul(self.up.reshape(up), self.down.reshape(down))
        return weight + (product * self.scale).reshape(self.weight_shape)


def adapt(cell: Any, rank: int, scale: float = 1.0, *, merged: bool = False) -> list[str]:
    """Add low-rank factors to every layer of a network that adaptation changes; return the names of those layers.

    The factors of the layer ``name`` are the parameters ``<name>.lora.up`` and ``<name>.lora.down``.

    Args:
        cell: the network.
        rank: of the factors.
        scale: of what they add.
        merged: whether a layer adds the factors' product to its weight and then runs once, which saves time where
            activations are larger than weights; else the factors run beside it, which saves the memory of the sums.
    """
    modules = dict(cell.cells_and_names())
    names = [module.name for module in adapted_modules(cell)]
    for name in names:
        factors = LowRank(modules[name], rank, scale)
        for key, value in factors.parameters_and_names():
            value.name = f"{name}.lora.{key}"  # MindSpore names parameters when cells are put together, which is over
        modules[name].lora, modules[name].beside = factors, not merged
    return names


def drop_factors(cell: Any, masks: Any, rate: float) -> None:
    """Let what the factors of an adapted network add be dropped at random, but for those of 3D convolutions.

    ``masks`` is a :class:`videogen_cli.nets.dropout.Masks`. Upstream's wrappers have dropout on what comes out of
    ``up`` for two of the three kinds of layers (Ji4chenLi/t2v-turbo, utils/lora.py).
    """
    for _, factors in cell.cells_and_names():
        if isinstance(factors, LowRank) and factors.dims < 3:
            factors.dropout = masks.dropout(rate)
