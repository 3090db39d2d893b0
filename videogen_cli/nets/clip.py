"""CLIP's text tower under OpenCLIP's names (mlfoundations/open_clip 2.24.0, open_clip/transformer.py).

Diffusion models read its hidden states, so ``text_projection`` and ``logit_scale`` take no part in them: they are here
because they are in the published files, which convert both ways without loss. So are the last ``skip_last`` blocks.
Hugging Face's CLIPTextModel is the same network under other names (see :mod:`videogen_cli.weights.clip_keys`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Embedding, LayerNorm, Linear, constant
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ONES, ZEROS, Cell, CellList, Init, parameter

MASKED = -1e30  # added to the scores of padding; finite, so that a row with nothing else stays finite


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
        self.projection = params.projection
        start = Init("normal", width**-0.5)
        if params.projection == "matrix":
            self.text_projection = parameter((width, params.embed_dim), start)
            self.logit_scale = parameter((), ONES)
        self.transformer = Transformer(params)
        self.token_embedding = Embedding(params.vocab_size, width, scale=0.02)
        self.ln_final = LayerNorm(width, params.norm_eps)
        if params.projection == "linear":
            self.text_projection = Linear(width, params.embed_dim, bias=False, init=start)

    def construct(self, ids: Any, keep: Any = None) -> Any:
        """Map integer token ids (b l), l at most ``context_length``, to states (b l width).

        ``keep`` (b l) is 1 for tokens and 0 for padding, which is then not attended to; None attends to all of it, as
        diffusion models that read OpenCLIP's states do.
        """
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        mask = self.causal_mask[:length, :length].astype(x.dtype)
        if keep is not None:
            mask = mask + (1.0 - keep.astype(x.dtype)).reshape(-1, 1, 1, length) * MASKED
        for block in self.transformer.resblocks[: self.blocks_run]:
            x = block(x, mask)
        return self.ln_final(x)

    def project(self, pooled: Any) -> Any:
        """Map states at the end of each text (b width) to the joint space (b embed_dim), not normalised."""
        if self.projection == "linear":
            return self.text_projection(pooled)
        return F.linear(pooled, self.text_projection.permute(1, 0))


class Transformer(Cell):
    """Holds the blocks under their published name."""

    def __init__(self, params: CLIPTextParams) -> None:
        super().__init__()
        self.resblocks = CellList([ResidualAttentionBlock(params) for _ in range(params.layers)])

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself through all blocks."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ResidualAttentionBlock(Cell):
    """A pre-norm transformer block; the number of blocks scales how it starts (OpenCLIP's ``init_parameters``)."""

    def __init__(self, params: CLIPTextParams) -> None:
        super().__init__()
        width, depth = params.width, params.layers
        self.ln_1 = LayerNorm(width, params.norm_eps)
        self.attn = MultiheadAttention(width, params.heads, depth)
        self.ln_2 = LayerNorm(width, params.norm_eps)
        self.mlp = MLP(width, params.mlp_width or 4 * width, depth, params.activation)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map x (b l width) to itself; ``mask`` (l l) or (b 1 l l) is added to the attention scores."""
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
    """Two layers with a GELU in between, exact or "quick"."""

    def __init__(self, width: int, inner: int, depth: int, activation: str) -> None:
        super().__init__()
        self.quick = activation == "quick_gelu"
        self.c_fc = Linear(width, inner, init=Init("normal", (2 * width) ** -0.5))
        self.c_proj = Linear(inner, width, init=Init("normal", (2 * width * depth) ** -0.5))

    def construct(self, x: Any) -> Any:
        """Map (... width) to itself."""
        x = self.c_fc(x)
        return self.c_proj(F.silu(x * 1.702) * (1 / 1.702) if self.quick else F.gelu(x))
