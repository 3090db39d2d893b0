"""Learned perceptual distance between images (Zhang et al. 2018, arXiv:1801.03924), on VGG16.

Names are those of the PyPI package ``lpips`` and of CompVis/taming-transformers (``taming/modules/losses/lpips.py``),
with torchvision's numbers of the trunk's layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Conv2d, Identity, Sequential, constant
from videogen_cli.nets.params.lpips import LPIPSParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, Init

# Numbers of the convolutions in each stage; between them stand activations, before each stage but the first a pooling.
VGG16_LAYERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's, for images in [-1, 1]
_TINY = 1e-24  # keeps the gradient of a pixel without features 0 instead of undefined


class LPIPS(Cell):
    """Distance of images in [-1, 1]: weighted squared differences of unit-length VGG features, meaned over pixels.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: LPIPSParams) -> None:
        super().__init__()
        params.check()
        self.shift, self.scale = _per_channel(_SHIFT), _per_channel(_SCALE)
        self.net = VGG16(params)
        self.lin0, self.lin1, self.lin2, self.lin3, self.lin4 = (Head(width) for width in params.channels)

    def features(self, images: Any) -> tuple[Any, ...]:
        """Return the five stages' activations (n channels h' w') of images (n 3 h w) in [-1, 1]."""
        return self.net((images - self.shift) / self.scale)

    def construct(self, images: Any, others: Any) -> Any:
        """Return the distances (n 1 1 1) of images (n 3 h w) to others, both in [-1, 1]."""
        a, b = self.features(images), self.features(others)
        total = self.lin0(a[0], b[0]) + self.lin1(a[1], b[1]) + self.lin2(a[2], b[2])
        return total + self.lin3(a[3], b[3]) + self.lin4(a[4], b[4])


class VGG16(Cell):
    """The convolutions of VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556) in five stages."""

    def __init__(self, params: LPIPSParams) -> None:
        super().__init__()
        starts = [params.in_channels, *params.channels[:-1]]
        sizes = zip(VGG16_LAYERS, starts, params.channels, strict=True)
        stages = [VGGStage(layers, start, width, params.conv_bias) for layers, start, width in sizes]
        self.slice1, self.slice2, self.slice3, self.slice4, self.slice5 = stages

    def construct(self, x: Any) -> tuple[Any, ...]:
        """Return what each stage makes of x (n 3 h w); the last is 16 times smaller."""
        x1 = self.slice1(x)
        x2 = self.slice2(F.max_pool2d(x1))
        x3 = self.slice3(F.max_pool2d(x2))
        x4 = self.slice4(F.max_pool2d(x3))
        return x1, x2, x3, x4, self.slice5(F.max_pool2d(x4))


class VGGStage(Cell):
    """Rectified convolutions of one width, named by their numbers in the whole network."""

    def __init__(self, layers: tuple[int, ...], in_channels: int, channels: int, bias: bool) -> None:
        super().__init__()
        starts = [in_channels, *[channels] * (len(layers) - 1)]
        cells = [Conv2d(start, channels, bias=bias) for start in starts]
        for layer, cell in zip(layers, cells, strict=True):
            setattr(self, str(layer), cell)
        self.steps = tuple(cells)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w)."""
        for step in self.steps:
            x = F.relu(step(x))
        return x


class Head(Cell):
    """The weights of one stage's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # weights are positive by training; the layer before is the original's dropout, off when frozen
        self.model = Sequential(Identity(), Conv2d(channels, 1, kernel=1, bias=False, init=Init("normal", 0.1)))

    def construct(self, a: Any, b: Any) -> Any:
        """Map two activations (n channels h w) to their distance (n 1 1 1)."""
        difference = _unit(a) - _unit(b)
        return F.mean(self.model(difference * difference), (2, 3), True)


def _unit(features: Any) -> Any:
    """Scale the channels at each pixel of (n c h w) to unit length."""
    return features / (F.sqrt((features * features).sum(1, keepdims=True) + _TINY) + 1e-10)


def _per_channel(values: tuple[float, ...]) -> Any:
    return constant(np.array(values, np.float32).reshape(1, -1, 1, 1))
