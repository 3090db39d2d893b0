"""Sizes of CLIP towers."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import not_negative, one_of, positive

ACTIVATIONS = ("gelu", "quick_gelu")
PROJECTIONS = ("matrix", "linear", "none")


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
    mlp_width: int = 0  # between the two layers of a block's MLP; 0 = 4 times the width
    activation: str = "gelu"  # gelu | quick_gelu (x * sigmoid(1.702 x), of OpenAI's and MetaCLIP's towers)
    norm_eps: float = 1e-5
    # what the file holds of the joint space: matrix = OpenCLIP's text_projection (width embed_dim) and logit_scale,
    # linear = Hugging Face's text_projection.weight (embed_dim width), none = nothing
    projection: str = "matrix"

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, heads do not divide the width, a word is unknown, or no block is left
                to run.
        """
        positive("text", self, "vocab_size", "context_length", "width", "heads", "layers", "embed_dim")
        not_negative("text", self, "skip_last", "mlp_width")
        one_of("text", self, ACTIVATIONS, "activation")
        one_of("text", self, PROJECTIONS, "projection")
        if self.width % self.heads:
            raise UsageError(f"a width of {self.width} does not divide into {self.heads} heads", where="text.heads")
        if self.skip_last >= self.layers:
            raise UsageError(f"skipping {self.skip_last} of {self.layers} layers leaves none", where="text.skip_last")
