"""Sizes of the network that cleans sketches."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import positive


@dataclass
class SketchSimplificationParams:
    """The sketch simplification network; defaults are ``sketch_simplification_gan.pth``'s."""

    mean: float = 0.9664114577640158  # of the training images' pixels, 1 being white
    std: float = 0.0858381272736797
    width_divisor: int = 1  # all numbers of channels inside are divided by this, and are at least 1

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: ``width_divisor`` or ``std`` is not positive.
        """
        positive("sketch", self, "width_divisor")
        if self.std <= 0:
            raise UsageError(f"must be positive, is {self.std}", where="sketch.std")
