"""PiDiNet: edges of images by convolutions over differences of pixels, under its published names.

Su et al., "Pixel Difference Networks for Efficient Edge Detection" (arXiv 2108.07009); structure as in
ali-vilab/videocomposer, tools/annotator/sketch/pidinet.py (PiDiNet, convert_pidinet).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Conv2d, constant, torch_uniform
from videogen_cli.nets.params.pidinet import OPERATORS, PiDiNetParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList, parameter

_ANGULAR_NEIGHBOUR = [3, 0, 1, 6, 4, 2, 7, 8, 5]  # of each tap of a 3x3 kernel, clockwise
_OUTER_RING = [0, 2, 4, 10, 14, 20, 22, 24]  # of a 5x5 kernel, the ends of eight radii
_INNER_RING = [6, 7, 8, 11, 13, 16, 17, 18]
_DILATIONS = (5, 7, 9, 11)
_ATTENTION_CHANNELS = 4


def plain_kernel_matrix(operator: str) -> np.ndarray:
    """Return the (taps 9) matrix that makes a plain convolution's kernel of a pixel-difference one.

    ``operator`` is ``c``, ``a`` or ``r`` (see ``nets.params.pidinet.OPERATORS``); taps are 9, or 25 for ``r``.
    """
    taps = np.eye(9, dtype=np.float32)
    if operator == "c":
        matrix = taps.copy()
        matrix[4] -= 1
        return matrix
    if operator == "a":
        return taps - taps[_ANGULAR_NEIGHBOUR]
    matrix = np.zeros((25, 9), np.float32)
    matrix[_OUTER_RING], matrix[_INNER_RING] = taps[1:], -taps[1:]
    return matrix


class DifferenceConv(Cell):
    """A convolution without bias that keeps the size, of the pixels or of their differences.

    With ``depthwise`` every channel has a kernel of its own; else all are mixed.
    """

    def __init__(self, in_channels: int, channels: int, operator: str, *, converted: bool, depthwise: bool) -> None:
        super().__init__()
        self.depthwise, self.size = depthwise, 5 if operator == "r" else 3
        stored = self.size if converted else 3
        inputs = 1 if depthwise else in_channels
        self.weight = parameter((channels, inputs, stored, stored), torch_uniform(inputs * stored * stored))
        self.matrix = None if converted or operator == "v" else constant(plain_kernel_matrix(operator))

    def kernel(self) -> Any:
        """Return the kernel (channels in size size) of the plain convolution that does the same."""
        if self.matrix is None:
            return self.weight
        o, i = self.weight.shape[:2]
        plain = F.linear(self.weight.reshape(o * i, -1), self.matrix.astype(self.weight.dtype))
        return plain.reshape(o, i, self.size, self.size)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w)."""
        padding = (self.size // 2, self.size // 2, self.size // 2, self.size // 2)
        if self.depthwise:
            return F.depthwise_conv2d(x, self.kernel(), padding)
        return F.conv2d(x, self.kernel(), None, 1, padding)


class PiDiNet(Cell):
    """Images to edge maps: a map from each of four stages, blended.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: PiDiNetParams) -> None:
        super().__init__()
        params.check()
        base, operators, kept = params.channels, OPERATORS[params.operators], {"converted": params.converted}
        widths = [base, 2 * base, 4 * base, 4 * base]
        self.init_block = DifferenceConv(3, base, operators[0], depthwise=False, **kept)
        self.block1_1, self.block1_2, self.block1_3 = (
            DifferenceBlock(base, base, operator, **kept) for operator in operators[1:4]
        )
        self.block2_1, self.block2_2, self.block2_3, self.block2_4 = _stage(base, widths[1], operators[4:8], **kept)
        self.block3_1, self.block3_2, self.block3_3, self.block3_4 = _stage(
            widths[1], widths[2], operators[8:12], **kept
        )
        self.block4_1, self.block4_2, self.block4_3, self.block4_4 = _stage(
            widths[2], widths[3], operators[12:16], **kept
        )
        read = [params.dilation_channels or width for width in widths]
        self.conv_reduces = CellList([MapReduce(channels) for channels in read])
        self.attentions = CellList([SpatialAttention(channels) for channels in read]) if params.attention else None
        self.dilations = (
            CellList([DilatedConvs(width, params.dilation_channels) for width in widths])
            if params.dilation_channels
            else None
        )
        self.classifier = Conv2d(len(widths), 1, 1)

    def construct(self, images: Any) -> Any:
        """Map images (n 3 h w), normalised as ImageNet's, to edges (n 1 h w) in [0, 1]."""
        size = images.shape[2:]
        x1 = self.block1_3(self.block1_2(self.block1_1(self.init_block(images))))
        x2 = self.block2_4(self.block2_3(self.block2_2(self.block2_1(x1))))
        x3 = self.block3_4(self.block3_3(self.block3_2(self.block3_1(x2))))
        x4 = self.block4_4(self.block4_3(self.block4_2(self.block4_1(x3))))
        maps = ()
        for index, features in enumerate((x1, x2, x3, x4)):
            read = features if self.dilations is None else self.dilations[index](features)
            read = read if self.attentions is None else self.attentions[index](read)
            maps += (F.resize(self.conv_reduces[index](read), size, "bilinear"),)
        return F.sigmoid(self.classifier(F.concat(maps, 1)))


def _stage(in_channels: int, channels: int, operators: str, converted: bool) -> list[Cell]:
    """Return four blocks of which the first halves the size."""
    first = DifferenceBlock(in_channels, channels, operators[0], converted=converted, halve=True)
    return [first, *(DifferenceBlock(channels, channels, operator, converted=converted) for operator in operators[1:])]


class DifferenceBlock(Cell):
    """A convolution per channel, then one over channels, with a residual; optionally at half the size."""

    def __init__(self, in_channels: int, channels: int, operator: str, *, converted: bool, halve: bool = False) -> None:
        super().__init__()
        self.shortcut = Conv2d(in_channels, channels, 1) if halve else None
        self.conv1 = DifferenceConv(in_channels, in_channels, operator, converted=converted, depthwise=True)
        self.conv2 = Conv2d(in_channels, channels, 1, bias=False)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w), or to (n channels h//2 w//2)."""
        if self.shortcut is None:
            return self.conv2(F.relu(self.conv1(x))) + x
        x = F.max_pool2d(x)
        return self.conv2(F.relu(self.conv1(x))) + self.shortcut(x)


class DilatedConvs(Cell):
    """Fewer channels, then the sum of convolutions of four dilations (``CDCM``)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 1)
        self.conv2_1, self.conv2_2, self.conv2_3, self.conv2_4 = (
            Conv2d(channels, channels, dilation=dilation, bias=False) for dilation in _DILATIONS
        )

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h w)."""
        x = self.conv1(F.relu(x))
        return self.conv2_1(x) + self.conv2_2(x) + self.conv2_3(x) + self.conv2_4(x)


class SpatialAttention(Cell):
    """Weighs pixels (``CSAM``)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, _ATTENTION_CHANNELS, 1)
        self.conv2 = Conv2d(_ATTENTION_CHANNELS, 1, bias=False)

    def construct(self, x: Any) -> Any:
        """Map (n channels h w) to itself."""
        return x * F.sigmoid(self.conv2(self.conv1(F.relu(x))))


class MapReduce(Cell):
    """One map of many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, 1, 1)

    def construct(self, x: Any) -> Any:
        """Map (n channels h w) to (n 1 h w)."""
        return self.conv(x)
