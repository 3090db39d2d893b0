"""Sizes of patch discriminators."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.nets.params.checks import positive


@dataclass
class PatchDiscriminatorParams:
    """The patch discriminator of images or, with ``video``, of clips; defaults are taming-transformers'."""

    in_channels: int = 3
    base_channels: int = 64
    num_layers: int = 3  # strided convolutions
    video: bool = False

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive.
        """
        positive("discriminator", self, "in_channels", "base_channels", "num_layers")
