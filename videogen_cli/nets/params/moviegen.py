"""Sizes of Movie Gen's transformer and of the projection that its text states go through."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import not_negative, one_of, positive

NORMS = ("rms", "layer")


@dataclass
class TextProjectorParams:
    """One linear layer and norm for each of three text encoders; defaults are the 5B model's."""

    ul2_dim: int = 4096
    metaclip_dim: int = 1280
    byt5_dim: int = 1472
    width: int = 3072
    norm: str = "rms"  # rms | layer
    norm_eps: float = 1e-5

    def check(self) -> None:
        """Check that such a projection exists.

        Raises:
            UsageError: a width is not positive, or the norm is unknown.
        """
        positive("text_projector", self, "ul2_dim", "metaclip_dim", "byt5_dim", "width")
        one_of("text_projector", self, NORMS, "norm")


@dataclass
class MovieGenParams:
    """A flow-matching transformer over latent patches; defaults are the published recipes' 5B model.

    ``patch_size`` and ``max_length`` are (frames, height, width): of a patch in latents, of the largest video in
    patches.
    """

    in_channels: int = 16
    out_channels: int = 0  # 0 = as many as in_channels
    width: int = 3072
    ffn_width: int = 8192
    heads: int = 24
    kv_heads: int = 24  # fewer than heads: groups of queries share keys and values
    layers: int = 32
    norm_eps: float = 1e-5
    attention_bias: bool = False
    init_std: float = 0.02
    patch_size: list[int] = field(default_factory=lambda: [1, 2, 2])
    max_length: list[int] = field(default_factory=lambda: [128, 64, 64])
    linear_patches: bool = True  # False keeps the patch embedding in the shape of a convolution's kernel
    ul2_dim: int = 4096
    metaclip_dim: int = 1280
    byt5_dim: int = 1472

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, or sizes do not divide.
        """
        sizes = ("in_channels", "width", "ffn_width", "heads", "kv_heads", "layers")
        positive("transformer", self, *sizes, "ul2_dim", "metaclip_dim", "byt5_dim")
        not_negative("transformer", self, "out_channels")
        for name in ("patch_size", "max_length"):
            value = getattr(self, name)
            if len(value) != 3 or min(value) < 1:
                raise UsageError(f"must be frames, height and width, not {value}", where=f"transformer.{name}")
        if self.width % self.heads:
            what = f"a width of {self.width} does not divide into {self.heads} heads"
            raise UsageError(what, where="transformer.heads")
        if self.heads % self.kv_heads:
            what = f"{self.heads} heads do not divide into {self.kv_heads} groups"
            raise UsageError(what, where="transformer.kv_heads")

    @property
    def channels_out(self) -> int:
        """Channels of the predicted velocity."""
        return self.out_channels or self.in_channels

    @property
    def text_projector(self) -> TextProjectorParams:
        """Sizes of the transformer's own text projection."""
        return TextProjectorParams(
            self.ul2_dim, self.metaclip_dim, self.byt5_dim, width=self.width, norm_eps=self.norm_eps
        )

    def grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Return how many patches latents of a size have along each axis.

        Raises:
            UsageError: the size does not divide into patches, or is beyond the position tables.
        """
        sizes = (frames, height, width)
        if any(size % patch for size, patch in zip(sizes, self.patch_size, strict=True)):
            raise UsageError(f"latents of {sizes} do not divide into patches of {tuple(self.patch_size)}")
        counts = tuple(size // patch for size, patch in zip(sizes, self.patch_size, strict=True))
        if any(count > limit for count, limit in zip(counts, self.max_length, strict=True)):
            hint = "Take a smaller video, or raise transformer.max_length: the position tables are resized on the way."
            raise UsageError(f"{counts} patches are more than {tuple(self.max_length)}", hint=hint)
        return counts[0], counts[1], counts[2]
