"""CLIP's text tower under OpenCLIP's names (mlfoundations/open_clip 2.24.0, open_clip/transformer.py).

Diffusion models read its hidden states, so ``text_projection`` and ``logit_scale`` take no part: they are here because
they are in the published files, which convert both ways without loss. So are the last ``skip_last`` blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Embedding, LayerNorm, Linear, constant
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ONES, ZEROS, Cell, CellList, Init, parameter


class CLIPText(Cell):
    """Token ids to hidden states: all blocks but the last ``skip_last``, then the final norm.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: CLIPTextParams) -> None:
        super().__init__()
        params.check()
        width, length = params.width, params.context_length
        self.blocks_run = params.layers - params.skip_last
        self.causal_mask = constant(np.triu(np.full((length, length), -np.inf, np.float32), 1))
        self.positional_embedding = parameter((length, width), Init("normal", 0.01))
        self.text_projection = parameter((width, params.embed_dim), Init("normal", width**-0.5))
        self.logit_scale = parameter((), ONES)
        self.transformer = Transformer(width, params.heads, params.layers)
        self.token_embedding = Embedding(params.vocab_size, width, scale=0.02)
        self.ln_final = LayerNorm(width)

    def construct(self, ids: Any) -> Any:
        """Map integer token ids (b l), l at most ``context_length``, to states (b l width)."""
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        mask = self.causal_mask[:length, :length].astype(x.dtype)
        for block in self.transformer.resblocks[: self.blocks_run]:
            x = block(x, mask)
        return self.ln_final(x)


class Transformer(Cell):
    """Holds the blocks under their published name."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.resblocks = CellList([ResidualAttentionBlock(width, heads, layers) for _ in range(layers)])

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself through all blocks."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ResidualAttentionBlock(Cell):
    """A pre-norm transformer block; ``depth`` scales how it starts, as in OpenCLIP's ``init_parameters``."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = MultiheadAttention(width, heads, depth)
        self.ln_2 = LayerNorm(width)
        self.mlp = MLP(width, depth)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map x (b l width) to itself; ``mask`` (l l) is added to the attention scores."""
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class MultiheadAttention(Cell):
    """Self-attention with queries, keys and values from one matrix."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = parameter((3 * width, width), Init("normal", width**-0.5))
        self.in_proj_bias = parameter((3 * width,), ZEROS)
        self.out_proj = Linear(width, width, init=Init("normal", (2 * width * depth) ** -0.5))

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself."""
        q, k, v = F.chunk(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3, -1)
        return self.out_proj(F.attention(q, k, v, self.heads, mask))


class MLP(Cell):
    """Two layers with an exact GELU, four times as wide in between."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.c_fc = Linear(width, 4 * width, init=Init("normal", (2 * width) ** -0.5))
        self.c_proj = Linear(4 * width, width, init=Init("normal", (2 * width * depth) ** -0.5))

    def construct(self, x: Any) -> Any:
        """Map (... width) to itself."""
        return self.c_proj(F.gelu(self.c_fc(x)))
