"""Sizes of CLIP's towers, and of the whole model."""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass
class CLIPVisionParams:
    """A CLIP image tower; defaults are OpenCLIP ViT-H-14's."""

    image_size: int = 224  # pixels, height and width
    patch_size: int = 14
    width: int = 1280
    heads: int = 16
    layers: int = 32
    embed_dim: int = 1024  # width of the joint image-text space
    mlp_width: int = 0  # between the two layers of a block's MLP; 0 = 4 times the width
    activation: str = "gelu"  # gelu | quick_gelu
    norm_eps: float = 1e-5

    @property
    def tokens(self) -> int:
        """Number of patches, plus the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, heads do not divide the width, a word is unknown, or no patch fits.
        """
        positive("vision", self, "image_size", "patch_size", "width", "heads", "layers", "embed_dim")
        not_negative("vision", self, "mlp_width")
        one_of("vision", self, ACTIVATIONS, "activation")
        if self.width % self.heads:
            raise UsageError(f"a width of {self.width} does not divide into {self.heads} heads", where="vision.heads")
        if self.patch_size > self.image_size:
            what = f"a patch of {self.patch_size} pixels does not fit an image of {self.image_size}"
            raise UsageError(what, where="vision.patch_size")


@dataclass
class OpenCLIPParams:
    """Both towers of a CLIP model; defaults are OpenCLIP ViT-H-14's."""

    text: CLIPTextParams = field(default_factory=lambda: CLIPTextParams(skip_last=0))
    vision: CLIPVisionParams = field(default_factory=CLIPVisionParams)

    def check(self) -> None:
        """Check that both towers exist and meet.

        Raises:
            UsageError: a tower does not exist, or they end in spaces of different width.
        """
        self.text.check()
        self.vision.check()
        if self.text.projection == "none":
            raise UsageError("a text tower without a projection has no joint space", where="text.projection")
        if self.text.embed_dim != self.vision.embed_dim:
            what = f"text ends in {self.text.embed_dim} dimensions, images in {self.vision.embed_dim}"
            raise UsageError(what, where="vision.embed_dim")
