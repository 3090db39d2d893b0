"""Transformers over space and over frames, as in latent diffusion's UNets.

Activations between blocks are ``((b f) c h w)`` with the frames of a sample one after the other. Cells are registered
in the original's order, which the published LoRA files depend on (AILab-CVC/VideoCrafter, lvdm/modules/attention.py).
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import GroupNorm, Identity, LayerNorm, Linear, Pointwise, Sequential
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, CellList


class CrossAttention(Cell):
    """Multi-head attention of tokens to a context, or to themselves when ``context_dim`` is 0."""

    def __init__(self, width: int, heads: int, head_dim: int, context_dim: int = 0, bias: bool = False) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_dim
        self.to_q = Linear(width, inner, bias=bias)
        self.to_k = Linear(context_dim or width, inner, bias=bias)
        self.to_v = Linear(context_dim or width, inner, bias=bias)
        self.to_out = Sequential(Linear(inner, width), Identity())

    def construct(self, x: Any, context: Any, mask: Any = None, residual: Any = None) -> Any:
        """Attend from x (n t width) to context (b m d), where n is a multiple of b; ``residual`` (n t width) is added.

        Queries that share a context sample are laid end to end, so that a context is projected once per sample
        instead of once per frame or pixel. ``mask`` is added to the scores: (b 1 1 m).
        """
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        out = F.attention(q.reshape(k.shape[0], -1, k.shape[2]), k, v, self.heads, mask)
        return self.to_out(out.reshape(*x.shape[:2], -1), residual)

    def attention_to(self, token: Any, x: Any, context: Any) -> Any:
        """Return the probability (n t), mean over heads, with which x attends to token (b,) of its context (b m d)."""
        q, k = self.to_q(x), self.to_k(context)
        b, m, inner = k.shape
        width = inner // self.heads
        q = q.reshape(b, -1, self.heads, width).permute(0, 2, 1, 3)
        k = k.reshape(b, m, self.heads, width).permute(0, 2, 3, 1)
        probabilities = F.mean(F.softmax(F.matmul(q, k) * width**-0.5), 1)
        return F.take_row(probabilities.permute(0, 2, 1), token).reshape(x.shape[:2])


class GEGLU(Cell):
    """A projection into values and gates: ``value * gelu(gate)`` (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)

    def construct(self, x: Any) -> Any:
        """Map (... width) to (... inner)."""
        return F.geglu(self.proj(x))


class GELU(Cell):
    """A projection and an activation: ``gelu`` | ``gelu-approximate``, the tanh formula."""

    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.exact = activation == "gelu"
        self.proj = Linear(width, inner)

    def construct(self, x: Any) -> Any:
        """Map (... width) to (... inner)."""
        return F.gelu(self.proj(x)) if self.exact else F.gelu_tanh(self.proj(x))


class FeedForward(Cell):
    """Two layers, four times as wide in between; ``activation``: geglu | gelu | gelu-approximate."""

    def __init__(self, width: int, activation: str = "geglu") -> None:
        super().__init__()
        first = GEGLU(width, 4 * width) if activation == "geglu" else GELU(width, 4 * width, activation)
        self.net = Sequential(first, Identity(), Linear(4 * width, width))

    def construct(self, x: Any, residual: Any = None) -> Any:
        """Map (... width) to itself; ``residual`` of that shape is added."""
        return self.net(x, residual)


class BasicTransformerBlock(Cell):
    """Self-attention, then attention to a context (a second self-attention without one), then feed-forward."""

    def __init__(self, width: int, heads: int, head_dim: int, context_dim: int = 0) -> None:
        super().__init__()
        self.reads_context = context_dim > 0
        self.attn1 = CrossAttention(width, heads, head_dim)
        self.ff = FeedForward(width)
        self.attn2 = CrossAttention(width, heads, head_dim, context_dim)
        self.norm1, self.norm2, self.norm3 = LayerNorm(width), LayerNorm(width), LayerNorm(width)

    def construct(self, x: Any, context: Any, token: Any = None) -> Any:
        """Map x (n t width) to itself; ``context`` (b m context_dim) is not looked at without a ``context_dim``.

        Given a ``token`` (b,) of the context, also return how much x attends to it (n t).
        """
        tokens = self.norm1(x)
        x = self.attn1(tokens, tokens, None, x)
        tokens = self.norm2(x)
        x = self.attn2(tokens, context if self.reads_context else tokens, None, x)
        out = self.ff(self.norm3(x), x)
        return out if token is None else (out, self.attn2.attention_to(token, tokens, context))


class SpatialTransformer(Cell):
    """A transformer over the pixels of each frame that reads the text; a block of the UNet."""

    def __init__(self, channels: int, heads: int, head_dim: int, *, depth: int, context_dim: int, groups: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = Linear(channels, inner)
        self.transformer_blocks = CellList(
            [BasicTransformerBlock(inner, heads, head_dim, context_dim) for _ in range(depth)]
        )
        self.proj_out = Linear(inner, channels, init=ZEROS)

    def construct(self, h: Any, emb: Any, context: Any, motion_context: Any) -> Any:
        """Map h ((b f) c h w) to itself, reading ``context`` (b l d)."""
        x = self.proj_in.from_images(self.norm(h))
        for block in self.transformer_blocks:
            x = block(x, context)
        return self.proj_out.to_images(x, h)


class TemporalTransformer(Cell):
    """A transformer over the frames at each pixel; a block of the UNet.

    Without a ``context_dim`` both attentions of its blocks are among frames; with one, the second reads the motion
    text (DEMO, arXiv 2410.24219: TemporalTransformer4Cross). It knows no positions, so frame order is left to the
    temporal convolutions. Without ``single_frames`` a lone frame passes it by.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        *,
        depth: int,
        groups: int,
        projection: str = "linear",
        context_dim: int = 0,
        single_frames: bool = True,
    ) -> None:
        super().__init__()
        self.fewest_frames = 1 if single_frames else 2
        self.records = context_dim > 0
        inner = heads * head_dim
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        dims = 1 if projection == "conv1d" else 0
        self.proj_in = Pointwise(channels, inner, dims) if dims else Linear(channels, inner)
        self.transformer_blocks = CellList(
            [BasicTransformerBlock(inner, heads, head_dim, context_dim) for _ in range(depth)]
        )
        self.proj_out = Pointwise(inner, channels, dims, init=ZEROS) if dims else Linear(inner, channels, init=ZEROS)

    def construct(self, h: Any, emb: Any, context: Any, motion_context: Any, token: Any = None) -> Any:
        """Map h ((b f) c h w) to itself; ``b`` is that of ``emb`` (b d).

        Given a ``token`` (b,) of the motion text, also return how much each pixel attends to it in the last of the
        blocks (b h w f), mean over heads.
        """
        b, f = emb.shape[0], h.shape[0] // emb.shape[0]
        if f < self.fewest_frames:
            return h
        x = self.proj_in.from_images(self.norm(h, f), f)
        seen: Any = None
        for block in self.transformer_blocks:
            if token is None:
                x = block(x, motion_context)
            else:
                x, seen = block(x, motion_context, token)
        out = self.proj_out.to_images(x, h, f)
        return out if token is None else (out, seen.reshape(b, *h.shape[2:], f))
