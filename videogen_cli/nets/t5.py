"""T5's text encoder under Hugging Face's names (huggingface/transformers, models/t5/modeling_t5.py).

Raffel et al., arXiv 1910.10683; the gated feed-forward is version 1.1's (Shazeer, arXiv 2002.05202). UL2 (arXiv
2205.05131) and ByT5 (arXiv 2105.13626) are the same network in other sizes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from videogen_cli.nets.layers import Embedding, Linear, RMSNorm, constant
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList, Init

MASKED = -1e30  # added to the scores of padding; finite, so that a row of nothing but padding stays finite


class T5Encoder(Cell):
    """Token ids to hidden states.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        params.check()
        self.layers, self.max_distance = params.layers, params.max_distance
        distances = np.arange(-params.max_distance, params.max_distance + 1)
        self.bucket_of_distance = constant(relative_buckets(distances, params.buckets, params.max_distance))
        self.shared = Embedding(params.vocab_size, params.width)
        self.encoder = Stack(params)

    def construct(self, ids: Any, keep: Any = None) -> Any:
        """Map integer token ids (b l) to states (b l width).

        ``keep`` (b l) is 1 for tokens and 0 for padding, which is then not attended to; the states of padding are
        computed like all others. None attends to everything.
        """
        return self.encoder.final_layer_norm(self.states(ids, self.layers, keep))

    def states(self, ids: Any, blocks: int, keep: Any = None) -> Any:
        """Return the states (b l width) after the first ``blocks`` blocks, before the final norm."""
        x = self.shared(ids)
        mask = self.position_bias(ids.shape[1])
        if keep is not None:
            mask = mask + (1.0 - keep.astype(x.dtype)).reshape(-1, 1, 1, ids.shape[1]) * MASKED
        for block in self.encoder.block[:blocks]:
            x = block(x, mask)
        return x

    def position_bias(self, length: int) -> Any:
        """Return what every block adds to its scores for the distance of query and key: (1 heads length length)."""
        positions = F.arange(length)
        distances = positions.reshape(1, -1) - positions.reshape(-1, 1)
        distances = distances.clip(-self.max_distance, self.max_distance) + self.max_distance
        table = self.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        return table(F.embedding(distances, self.bucket_of_distance)).permute(2, 0, 1).expand_dims(0)


def relative_buckets(distances: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
    """Return the int32 bucket of each distance from query to key (``T5Attention._relative_position_bucket``).

    Keys behind the query have the lower half of the buckets. In each half, the first half of the buckets hold one
    distance each and the others ever more, up to ``max_distance``. In float32, as the original rounds.
    """
    half = buckets // 2
    exact = half // 2
    length = np.abs(distances)
    ratio = np.log(np.maximum(length, exact).astype(np.float32) / np.float32(exact))
    wide = exact + (ratio / np.float32(math.log(max_distance / exact)) * (half - exact)).astype(np.int32)
    bucket = np.where(length < exact, length, np.minimum(wide, half - 1))
    return (bucket + half * (distances > 0)).astype(np.int32)


class Stack(Cell):
    """Holds the blocks and the final norm under their published names."""

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.block = CellList([Block(params, has_table=index == 0) for index in range(params.layers)])
        self.final_layer_norm = RMSNorm(params.width, params.norm_eps)


class Block(Cell):
    """Self-attention, then feed-forward."""

    def __init__(self, params: T5Params, has_table: bool) -> None:
        super().__init__()
        self.layer = CellList([AttentionLayer(params, has_table), FeedForwardLayer(params)])

    def construct(self, x: Any, mask: Any) -> Any:
        """Map x (b l width) to itself; ``mask`` (b heads l l) is added to the attention scores."""
        return self.layer[1](self.layer[0](x, mask))


class AttentionLayer(Cell):
    """A norm, self-attention, and the residual."""

    def __init__(self, params: T5Params, has_table: bool) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(params, has_table)
        self.layer_norm = RMSNorm(params.width, params.norm_eps)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map x (b l width) to itself."""
        return self.SelfAttention(self.layer_norm(x), mask, x)


class SelfAttention(Cell):
    """Multi-head attention whose scores are not scaled; the initial weights make up for it.

    The first block's holds the table of position biases, which all blocks share.
    """

    def __init__(self, params: T5Params, has_table: bool) -> None:
        super().__init__()
        width, inner = params.width, params.heads * params.head_dim
        self.heads = params.heads
        start = Init("normal", width**-0.5)
        self.q = Linear(width, inner, bias=False, init=Init("normal", (width * params.head_dim) ** -0.5))
        self.k = Linear(width, inner, bias=False, init=start)
        self.v = Linear(width, inner, bias=False, init=start)
        self.o = Linear(inner, width, bias=False, init=Init("normal", inner**-0.5))
        if has_table:
            self.relative_attention_bias = Embedding(params.buckets, params.heads, scale=width**-0.5)

    def construct(self, x: Any, mask: Any, residual: Any) -> Any:
        """Map x (b l width) to itself; ``residual`` of that shape is added."""
        return self.o(F.attention(self.q(x), self.k(x), self.v(x), self.heads, mask, 1.0), residual)


class FeedForwardLayer(Cell):
    """A norm, the feed-forward network, and the residual."""

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.DenseReluDense = GatedFeedForward(params) if params.gated else FeedForward(params)
        self.layer_norm = RMSNorm(params.width, params.norm_eps)

    def construct(self, x: Any) -> Any:
        """Map x (... width) to itself."""
        return self.DenseReluDense(self.layer_norm(x), x)


class GatedFeedForward(Cell):
    """``wo(activation(wi_0 x) * wi_1 x)``."""

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        width, inner = params.width, params.mlp_width
        self.activation = params.activation
        self.wi_0 = Linear(width, inner, bias=False, init=Init("normal", width**-0.5))
        self.wi_1 = Linear(width, inner, bias=False, init=Init("normal", width**-0.5))
        self.wo = Linear(inner, width, bias=False, init=Init("normal", inner**-0.5))

    def construct(self, x: Any, residual: Any) -> Any:
        """Map (... width) to itself; ``residual`` of that shape is added."""
        return self.wo(_activated(self.wi_0(x), self.activation) * self.wi_1(x), residual)


class FeedForward(Cell):
    """``wo(activation(wi x))``, as before version 1.1."""

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        width, inner = params.width, params.mlp_width
        self.activation = params.activation
        self.wi = Linear(width, inner, bias=False, init=Init("normal", width**-0.5))
        self.wo = Linear(inner, width, bias=False, init=Init("normal", inner**-0.5))

    def construct(self, x: Any, residual: Any) -> Any:
        """Map (... width) to itself; ``residual`` of that shape is added."""
        return self.wo(_activated(self.wi(x), self.activation), residual)


def _activated(x: Any, kind: str) -> Any:
    """Apply one of :data:`videogen_cli.nets.params.t5.ACTIVATIONS`."""
    if kind == "gelu_tanh":
        return F.gelu_tanh(x)
    if kind == "silu":
        return F.silu(x)
    return F.gelu(x) if kind == "gelu" else F.relu(x)
