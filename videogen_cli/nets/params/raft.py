"""Sizes of the optical-flow network."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import not_negative, positive

STRIDE = 8  # pixels per feature in each direction


@dataclass
class RAFTParams:
    """RAFT without a learned upsampling; defaults are torchvision's ``raft_small``."""

    feature_widths: list[int] = field(default_factory=lambda: [32, 32, 64, 96, 128])  # stem, three stages, output
    context_widths: list[int] = field(default_factory=lambda: [32, 32, 64, 96, 160])  # output: hidden and context
    correlation_levels: int = 4
    correlation_radius: int = 3
    correlation_convs: list[int] = field(default_factory=lambda: [96])  # one (1x1) or two (then 3x3)
    flow_convs: list[int] = field(default_factory=lambda: [64, 32])  # 7x7, then 3x3
    motion_channels: int = 82  # of what the recurrent part reads, the flow itself included
    hidden_channels: int = 96
    recurrent_kernels: list[int] = field(default_factory=lambda: [3])  # one gated unit each
    flow_head_channels: int = 128
    updates: int = 12

    @property
    def context_channels(self) -> int:
        """Channels of the context that every update reads."""
        return self.context_widths[-1] - self.hidden_channels

    @property
    def correlations(self) -> int:
        """Channels of the correlations around one position."""
        return self.correlation_levels * (2 * self.correlation_radius + 1) ** 2

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, a list has another length than the network has layers, a kernel is
                even, or no channels are left for the context.
        """
        where = "raft"
        positive(where, self, "correlation_levels", "hidden_channels", "flow_head_channels", "updates")
        not_negative(where, self, "correlation_radius")
        lengths = {"feature_widths": (5,), "context_widths": (5,), "correlation_convs": (1, 2), "flow_convs": (2,)}
        for name, allowed in lengths.items():
            values = getattr(self, name)
            if len(values) not in allowed or min(values) < 1:
                hint = f"It holds {' or '.join(map(str, allowed))} positive numbers."
                raise UsageError(f"{values} does not fit the network", where=f"{where}.{name}", hint=hint)
        for name in ("feature_widths", "context_widths"):
            stem, *stages = getattr(self, name)[:4]
            if stem != stages[0] or any(width % 4 for width in stages):
                what = "the first stage must be as wide as the stem, and stages multiples of 4"
                raise UsageError(what, where=f"{where}.{name}")
        if not self.recurrent_kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.recurrent_kernels):
            raise UsageError("must hold odd numbers", where=f"{where}.recurrent_kernels")
        if self.motion_channels < 3:
            raise UsageError("must be at least 3: two are the flow", where=f"{where}.motion_channels")
        if self.context_channels < 1:
            what = f"{self.context_widths[-1]} channels leave none for the context beside {self.hidden_channels} hidden"
            raise UsageError(what, where=f"{where}.context_widths")
