"""Sizes of T5 encoders."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import one_of, positive

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")


@dataclass
class T5Params:
    """The encoder of a T5 model; defaults are T5 v1.1 XXL's."""

    vocab_size: int = 32128
    width: int = 4096
    head_dim: int = 64  # heads times this may differ from the width
    heads: int = 64
    mlp_width: int = 10240
    layers: int = 24
    buckets: int = 32  # of distances between tokens, half of them for keys behind the query
    max_distance: int = 128  # from here on all distances share a bucket
    activation: str = "gelu_tanh"  # relu | gelu | gelu_tanh | silu
    gated: bool = True  # the feed-forward's inner values are multiplied by a second projection (v1.1)
    norm_eps: float = 1e-6

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, a word is unknown, or the distances do not fill the buckets.
        """
        positive("text", self, "vocab_size", "width", "head_dim", "heads", "mlp_width", "layers")
        one_of("text", self, ACTIVATIONS, "activation")
        if self.buckets < 4 or self.buckets % 2:
            raise UsageError(f"must be even and at least 4, is {self.buckets}", where="text.buckets")
        if self.max_distance <= self.buckets // 4:
            what = f"must be above {self.buckets // 4}, the distances that have buckets of their own"
            raise UsageError(what, where="text.max_distance")
