"""Sizes of CLIP towers."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import not_negative, positive


@dataclass
class CLIPTextParams:
    """A CLIP text tower; defaults are OpenCLIP ViT-H-14's, read at its penultimate layer."""

    vocab_size: int = 49408
    context_length: int = 77
    width: int = 1024
    heads: int = 16
    layers: int = 24
    embed_dim: int = 1024  # width of the joint image-text space, of which only a parameter remains
    skip_last: int = 1  # blocks at the end that are not run

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, heads do not divide the width, or no block is left to run.
        """
        positive("text", self, "vocab_size", "context_length", "width", "heads", "layers", "embed_dim")
        not_negative("text", self, "skip_last")
        if self.width % self.heads:
            raise UsageError(f"a width of {self.width} does not divide into {self.heads} heads", where="text.heads")
        if self.skip_last >= self.layers:
            raise UsageError(f"skipping {self.skip_last} of {self.layers} layers leaves none", where="text.skip_last")
