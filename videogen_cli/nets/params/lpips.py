"""Sizes of the perceptual distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import positive

STAGES = 5


@dataclass
class LPIPSParams:
    """LPIPS on VGG16; defaults are the published trunk's."""

    in_channels: int = 3
    channels: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 512])  # of VGG's five stages
    conv_bias: bool = True  # the trunk of MindCV has none

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: there are not five stages, or a size is not positive.
        """
        positive("lpips", self, "in_channels")
        if len(self.channels) != STAGES or min(self.channels) < 1:
            raise UsageError(f"must hold {STAGES} positive widths, not {self.channels}", where="lpips.channels")


def lpips_params(config: Mapping[str, Any]) -> LPIPSParams:
    """Return the params for the originals' hyper-parameters; a key that is absent has the published value."""
    defaults = LPIPSParams()
    names = ("vgg_channels", "lpips_vgg_channels", "channels")
    channels = next((list(config[name]) for name in names if name in config), defaults.channels)
    return LPIPSParams(channels=channels, conv_bias=config.get("conv_bias", defaults.conv_bias))
