"""Low-rank factors of a PyTorch network as the original has them: a wrapper in place of every adapted layer.

After cloneofsimo/lora (``LoraInjectedLinear``, ``...Conv2d``, ``...Conv3d``) in Ji4chenLi/t2v-turbo, utils/lora.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

KINDS = (nn.Linear, nn.Conv2d, nn.Conv3d)


class Adapted(nn.Module):
    """A layer, and what its factors add: ``layer(x) + up(down(x))``."""

    def __init__(self, layer: Any, rank: int) -> None:
        super().__init__()
        out_size, in_size, *kernel = layer.weight.shape
        r = min(rank, in_size, out_size)
        self.layer, self.on = layer, True
        if kernel:
            self.down = type(layer)(in_size, r, tuple(kernel), layer.stride, layer.padding, bias=False)
            self.up = type(layer)(r, out_size, 1, bias=False)
        else:
            self.down, self.up = nn.Linear(in_size, r, bias=False), nn.Linear(r, out_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer returns; with the factors' share unless they are off."""
        return self.layer(x) + self.up(self.down(x)) if self.on else self.layer(x)

    @torch.no_grad()
    def merged(self) -> Any:
        """Return the layer with the factors in its weight."""
        product = self.up.weight.flatten(1) @ self.down.weight.flatten(1)
        self.layer.weight += product.reshape(self.layer.weight.shape)
        return self.layer


def adapt(network: nn.Module, rank: int, draw: Callable[[str, str, tuple[int, ...]], np.ndarray]) -> list[nn.Parameter]:
    """Wrap every layer that adaptation changes; return the factors, which alone are trained.

    Args:
        network: any.
        rank: of the factors.
        draw: (name of a layer's weight, ``up`` or ``down``, shape) -> the factor's values.
    """
    network.requires_grad_(False)
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, KINDS)]
    factors = []
    for name, layer in layers:
        adapted = Adapted(layer, rank)
        for key, factor in (("up", adapted.up.weight), ("down", adapted.down.weight)):
            factor.data.copy_(torch.from_numpy(draw(f"{name}.weight", key, tuple(factor.shape))))
            factors.append(factor)
        _replace(network, name, adapted)
    return factors


def merge(network: nn.Module) -> None:
    """Put the factors into the weights, and the layers back where they were."""
    for name, module in list(network.named_modules()):
        if isinstance(module, Adapted):
            _replace(network, name, module.merged())


@contextmanager
def without_factors(network: nn.Module) -> Iterator[None]:
    """Let the network be what it was before it was adapted."""
    adapted = [module for module in network.modules() if isinstance(module, Adapted)]
    for module in adapted:
        module.on = False
    yield
    for module in adapted:
        module.on = True


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, key = name.rpartition(".")
    setattr(network.get_submodule(parent), key, module)
