"""Which layers of a network low-rank adaptation changes, in the order published LoRA files list them.

The files (cloneofsimo's format) are flat lists of factors without names; only the module order ties a factor to its
layer: torch's ``named_modules``, a module before its children, children as registered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from videogen_cli.nets.layers import Conv2d, Conv3d, Linear

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
