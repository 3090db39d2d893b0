"""Sketch simplification: a rough drawing to its clean lines.

Simo-Serra et al., "Mastering Sketching: Adversarial Augmentation for Structured Prediction" (arXiv 1703.08966);
structure and names as in ali-vilab/videocomposer, tools/annotator/sketch/sketch_simplification.py.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, ConvTranspose2d, ReLU, Sequential
from videogen_cli.nets.params.sketch import SketchSimplificationParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

# Channels of each convolution and what it does to the size; the first has a kernel of 5, the last one channel.
_KEEP, _HALVE, _DOUBLE = "keep", "halve", "double"
_LAYERS = (
    (48, _HALVE),
    (128, _KEEP),
    (128, _KEEP),
    (128, _HALVE),
    (256, _KEEP),
    (256, _KEEP),
    (256, _HALVE),
    (512, _KEEP),
    *((1024, _KEEP),) * 4,
    (512, _KEEP),
    (256, _KEEP),
    (256, _DOUBLE),
    (256, _KEEP),
    (128, _KEEP),
    (128, _DOUBLE),
    (128, _KEEP),
    (48, _KEEP),
    (48, _DOUBLE),
    (24, _KEEP),
)


class SketchSimplification(Cell):
    """Dark strokes on white, before and after; convolutions only, so images of any size that 8 divides.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: SketchSimplificationParams) -> None:
        super().__init__()
        params.check()
        self.mean, self.std = params.mean, params.std
        steps: list[Cell] = []
        width = 1
        for channels, change in _LAYERS:
            out = max(channels // params.width_divisor, 1)
            if change == _DOUBLE:
                steps.append(ConvTranspose2d(width, out, 4, stride=2, padding=1))
            else:
                steps.append(Conv2d(width, out, 3 if steps else 5, stride=2 if change == _HALVE else 1))
            steps.append(ReLU())
            width = out
        self.layers = Sequential(*steps, Conv2d(width, 1))

    def construct(self, drawings: Any) -> Any:
        """Map drawings (n 1 h w) in [0, 1] to clean ones; h and w must be multiples of 8."""
        return F.sigmoid(self.layers((drawings - self.mean) / self.std))
