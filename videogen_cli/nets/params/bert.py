"""Sizes of BERT."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.checks import one_of, positive

ACTIVATIONS = ("gelu", "gelu_new")


@dataclass
class BertParams:
    """A BERT that reads text; defaults are the 19 layers of BERT-large in InternVideo2 that see text alone."""

    vocab_size: int = 30522
    width: int = 1024
    layers: int = 19
    heads: int = 16
    inner_width: int = 4096  # between the two layers of a feed-forward part
    activation: str = "gelu"  # gelu (exact) | gelu_new (by tanh)
    max_positions: int = 512
    token_types: int = 2
    norm_eps: float = 1e-12

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, heads do not divide the width, or an unknown activation.
        """
        positive("bert", self, "vocab_size", "width", "layers", "heads", "inner_width", "max_positions", "token_types")
        one_of("bert", self, ACTIVATIONS, "activation")
        if self.width % self.heads:
            raise UsageError(f"a width of {self.width} does not divide into {self.heads} heads", where="bert.heads")
