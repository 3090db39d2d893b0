"""CLIP under OpenCLIP's names (mlfoundations/open_clip 2.24.0, open_clip/transformer.py and model.py).

Diffusion models read its hidden states, so ``text_projection`` and ``logit_scale`` take no part in them: they are here
because they are in the published files, which convert both ways without loss. So are the last ``skip_last`` blocks.
Hugging Face's CLIPTextModel is the same network under other names (see :mod:`videogen_cli.weights.keys.clip`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Conv2d, Embedding, LayerNorm, Linear, constant
from videogen_cli.nets.params.clip import CLIPTextParams, CLIPVisionParams, OpenCLIPParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, CellList, Init, parameter

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
        self.layers, self.blocks_run = params.layers, params.layers - params.skip_last
        self.causal_mask = constant(np.triu(np.full((length, length), -np.inf, np.float32), 1))
        self.positional_embedding = parameter((length, width), Init("normal", 0.01))
        self.projection = params.projection
        start = Init("normal", width**-0.5)
        if params.projection == "matrix":
            self.text_projection = parameter((width, params.embed_dim), start)
            self.logit_scale = parameter((), Init("normal", 0.0, np.log(1 / 0.07)))
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
        return self.states(ids, self.blocks_run, keep)

    def states(self, ids: Any, blocks: int, keep: Any = None) -> Any:
        """Return the states (b l width) after the first ``blocks`` blocks and the final norm."""
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        mask = self.causal_mask[:length, :length].astype(x.dtype)
        if keep is not None:
            mask = mask + (1.0 - keep.astype(x.dtype)).reshape(-1, 1, 1, length) * MASKED
        for block in self.transformer.resblocks[:blocks]:
            x = block(x, mask)
        return self.ln_final(x)

    def features(self, ids: Any) -> Any:
        """Return features (b embed_dim), not normalised, read after all blocks at each text's largest id, its end."""
        return self.project(F.take_row(self.states(ids, self.layers), F.argmax(ids, 1)))

    def project(self, pooled: Any) -> Any:
        """Map states at the end of each text (b width) to the joint space (b embed_dim), not normalised."""
        if self.projection == "linear":
            return self.text_projection(pooled)
        return F.linear(pooled, self.text_projection.permute(1, 0))


class Transformer(Cell):
    """Holds the blocks under their published name."""

    def __init__(self, params: CLIPTextParams | CLIPVisionParams) -> None:
        super().__init__()
        self.resblocks = CellList([ResidualAttentionBlock(params) for _ in range(params.layers)])

    def construct(self, x: Any, mask: Any = None) -> Any:
        """Map (b l width) to itself through all blocks."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ResidualAttentionBlock(Cell):
    """A pre-norm transformer block; the number of blocks scales how it starts (OpenCLIP's ``init_parameters``)."""

    def __init__(self, params: CLIPTextParams | CLIPVisionParams) -> None:
        super().__init__()
        width, depth = params.width, params.layers
        self.ln_1 = LayerNorm(width, params.norm_eps)
        self.attn = MultiheadAttention(width, params.heads, depth)
        self.ln_2 = LayerNorm(width, params.norm_eps)
        self.mlp = MLP(width, params.mlp_width or 4 * width, depth, params.activation)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map x (b l width) to itself; ``mask`` (l l) or (b 1 l l), if any, is added to the attention scores."""
        x = self.attn(self.ln_1(x), mask, x)
        return self.mlp(self.ln_2(x), x)


class MultiheadAttention(Cell):
    """Self-attention with queries, keys and values from one matrix."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = parameter((3 * width, width), Init("normal", width**-0.5))
        self.in_proj_bias = parameter((3 * width,), ZEROS)
        self.out_proj = Linear(width, width, init=Init("normal", (2 * width * depth) ** -0.5))

    def construct(self, x: Any, mask: Any, residual: Any) -> Any:
        """Map (b l width) to itself; ``residual`` of that shape is added."""
        q, k, v = F.chunk(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3, -1)
        return self.out_proj(F.attention(q, k, v, self.heads, mask), residual)


class MLP(Cell):
    """Two layers with a GELU in between, exact or "quick"."""

    def __init__(self, width: int, inner: int, depth: int, activation: str) -> None:
        super().__init__()
        self.quick = activation == "quick_gelu"
        self.c_fc = Linear(width, inner, init=Init("normal", (2 * width) ** -0.5))
        self.c_proj = Linear(inner, width, init=Init("normal", (2 * width * depth) ** -0.5))

    def construct(self, x: Any, residual: Any) -> Any:
        """Map (... width) to itself; ``residual`` of that shape is added."""
        x = self.c_fc(x)
        return self.c_proj(F.silu(x * 1.702) * (1 / 1.702) if self.quick else F.gelu(x), residual)


class CLIPVision(Cell):
    """Images to features: patches and a class token through a transformer, read at the class token.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: CLIPVisionParams) -> None:
        super().__init__()
        params.check()
        width, patch = params.width, params.patch_size
        start = Init("normal", width**-0.5)
        self.class_embedding = parameter((width,), start)
        self.positional_embedding = parameter((params.tokens, width), start)
        self.proj = parameter((width, params.embed_dim), start)
        self.conv1 = Conv2d(3, width, patch, stride=patch, padding=(0, 0, 0, 0), bias=False)
        self.ln_pre = LayerNorm(width, params.norm_eps)
        self.transformer = Transformer(params)
        self.ln_post = LayerNorm(width, params.norm_eps)

    def construct(self, images: Any) -> Any:
        """Map normalised images (n 3 image_size image_size) to features (n embed_dim), which are not normalised."""
        patches = self.conv1(images)
        n, width = patches.shape[0], patches.shape[1]
        patches = patches.reshape(n, width, -1).permute(0, 2, 1)
        first = F.broadcast_to(self.class_embedding.astype(patches.dtype), (n, 1, width))
        x = F.concat([first, patches], 1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        return F.linear(self.ln_post(x[:, 0]), self.proj.permute(1, 0))


class OpenCLIP(Cell):
    """Both towers of a CLIP model; trained on images and texts whose features have a large cosine when they match.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: OpenCLIPParams) -> None:
        super().__init__()
        params.check()
        self.visual = CLIPVision(params.vision)
        self.text = CLIPText(params.text)

    def encode_image(self, images: Any) -> Any:
        """Return features (n embed_dim) of length 1 of normalised images (n 3 image_size image_size)."""
        return F.l2_normalize(self.visual(images))

    def encode_text(self, ids: Any) -> Any:
        """Return features (b embed_dim) of length 1 of token ids (b l)."""
        return F.l2_normalize(self.text.features(ids))

    def construct(self, images: Any, ids: Any) -> Any:
        """Return the cosine (n,) of each image (n 3 h w) and its text (n l)."""
        return (self.encode_image(images) * self.encode_text(ids)).sum(-1)
