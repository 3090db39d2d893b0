"""Sizes of the Latte video transformer."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import one_of, positive

ACTIVATIONS = ("gelu-approximate", "gelu", "geglu")


@dataclass
class LatteParams:
    """Open-Sora-Plan's LatteT2V; defaults are the published 17x256x256's. Its width is heads times their size."""

    in_channels: int = 4
    out_channels: int = 8  # twice in_channels when the variance is learned
    num_attention_heads: int = 16
    attention_head_dim: int = 72
    num_layers: int = 28  # of each kind: spatial and temporal
    patch_size: int = 2
    sample_size: int = 32  # latent height and width that positions are scaled to
    video_length: int = 5  # latent frames
    caption_channels: int = 4096  # width of the text states
    attention_bias: bool = True
    activation: str = "gelu-approximate"  # of the feed-forward layers: gelu-approximate | gelu | geglu
    norm_affine: bool = False  # whether the blocks' norms have weights of their own
    norm_eps: float = 1e-6
    joint_positions: bool = True  # frame positions in batches with images; the original forgets them if not recomputing

    @property
    def width(self) -> int:
        """Return the number of features of a token."""
        return self.num_attention_heads * self.attention_head_dim

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, positions do not divide into sines and cosines of rows and columns,
                or a word is unknown.
        """
        where = "transformer"
        positive(where, self, "in_channels", "out_channels", "num_attention_heads", "attention_head_dim")
        positive(where, self, "num_layers", "patch_size", "sample_size", "video_length", "caption_channels")
        one_of(where, self, ACTIVATIONS, "activation")
        if self.width % 4:
            what = f"a width of {self.width} does not divide by 4: sines and cosines of rows and columns"
            raise UsageError(what, where=f"{where}.attention_head_dim")
        if self.sample_size < self.patch_size:
            raise UsageError(f"is smaller than a patch of {self.patch_size}", where=f"{where}.sample_size")
