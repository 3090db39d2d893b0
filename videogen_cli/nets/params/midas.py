"""Sizes of MiDaS's depth transformer."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import positive

STAGES = 4


@dataclass
class MiDaSParams:
    """MiDaS v3's DPT; defaults are DPT-Large's."""

    image_size: int = 384  # pixels the position table was made for; other sizes resize it
    patch_size: int = 16
    width: int = 1024
    heads: int = 16
    layers: int = 24
    # channels of the four maps read from the transformer, at 1/4, 1/8, 1/16 and 1/32 of the image
    neck_channels: list[int] = field(default_factory=lambda: [256, 512, 1024, 1024])
    fusion_channels: int = 256

    @property
    def grid(self) -> int:
        """Patches along each side of the position table."""
        return self.image_size // self.patch_size

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, or does not divide as the network needs it to.
        """
        positive("midas", self, "image_size", "patch_size", "width", "heads", "layers", "fusion_channels")
        if self.image_size % self.patch_size:
            what = f"patches of {self.patch_size} pixels do not tile an image of {self.image_size}"
            raise UsageError(what, where="midas.patch_size")
        if self.width % self.heads:
            raise UsageError(f"a width of {self.width} does not divide into {self.heads} heads", where="midas.heads")
        if self.layers % STAGES:
            raise UsageError(f"{self.layers} layers do not divide into {STAGES} stages", where="midas.layers")
        if len(self.neck_channels) != STAGES or min(self.neck_channels) < 1:
            raise UsageError(f"must hold {STAGES} positive numbers", where="midas.neck_channels")
        if self.fusion_channels < 2:
            raise UsageError("must be at least 2: the head halves it", where="midas.fusion_channels")
