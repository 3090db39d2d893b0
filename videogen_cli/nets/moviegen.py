"""Movie Gen's transformer: Llama 3 blocks that read noisy latents, a timestep and three kinds of text states.

Polyak et al., "Movie Gen" (arXiv 2410.13720, section 3.1.3); names and details are those of mindspore-lab/mindone,
examples/moviegen ``LlamaModel``. Latents are (b f c h w): frames before channels, unlike anywhere else.
"""

from __future__ import annotations

import math
from typing import Any

from videogen_cli.nets.dit import TIMESTEP_WIDTH, modulations
from videogen_cli.nets.layers import (
    Embedding,
    LayerNorm,
    Linear,
    RMSNorm,
    Sequential,
    SiLU,
    constant,
    timestep_embedding,
    timestep_frequencies,
)
from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, CellList, Init, parameter


class Attention(Cell):
    """Attention whose queries share keys and values in ``heads / kv_heads`` groups (Ainslie et al. 2305.13245)."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        init = Init("normal", params.init_std)
        self.heads = params.heads
        kv_width = params.width // params.heads * params.kv_heads
        self.q_proj = Linear(params.width, params.width, params.attention_bias, init)
        self.k_proj = Linear(params.width, kv_width, params.attention_bias, init)
        self.v_proj = Linear(params.width, kv_width, params.attention_bias, init)
        self.o_proj = Linear(params.width, params.width, params.attention_bias, init)

    def construct(self, x: Any, context: Any, residual: Any = None) -> Any:
        """Attend from x (b n width) to context (b m width); ``residual`` (b n width) is added."""
        k, v = self.k_proj(context), self.v_proj(context)
        return self.o_proj(F.attention(self.q_proj(x), k, v, self.heads), residual)


class MLP(Cell):
    """``down(silu(gate(x)) * up(x))`` (Shazeer, arXiv 2002.05202), without biases."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        init = Init("normal", params.init_std)
        self.gate_proj = Linear(params.width, params.ffn_width, False, init)
        self.up_proj = Linear(params.width, params.ffn_width, False, init)
        self.down_proj = Linear(params.ffn_width, params.width, False, init)

    def construct(self, x: Any) -> Any:
        """Map (... width) to itself."""
        return self.down_proj(F.swiglu(self.gate_proj(x), self.up_proj(x)))


class DecoderLayer(Cell):
    """Self-attention, attention to the text and feed-forward; the first and last are modulated by the timestep."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        self.scale_shift_table = parameter((1, 6, params.width), Init("normal", params.width**-0.5))
        self.self_attn = Attention(params)
        self.cross_attn = Attention(params)
        self.mlp = MLP(params)
        self.input_layernorm = RMSNorm(params.width, params.norm_eps)
        self.post_attention_layernorm = RMSNorm(params.width, params.norm_eps)

    def construct(self, x: Any, text: Any, modulation: Any, positions: Any) -> Any:
        """Map tokens x (b n width) to themselves.

        ``modulation`` (b 6*width) is one for all layers, ``positions`` (1 n width) are added before each, and the
        attention to ``text`` (b l width) has neither norm nor gate.
        """
        table = self.scale_shift_table.astype(x.dtype).reshape(6, x.shape[2])
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations(table, modulation, 1)
        x = x + positions
        tokens = self.input_layernorm(x, shift1, scale1)
        x = F.gated_add(x, gate1, self.self_attn(tokens, tokens))
        x = self.cross_attn(x, text, x)
        return F.gated_add(x, gate2, self.mlp(self.post_attention_layernorm(x, shift2, scale2)))


class FinalLayer(Cell):
    """A modulated norm and the projection of tokens to patches, zero at the start."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        self.scale_shift_table = parameter((2, params.width), Init("normal", params.width**-0.5))
        self.input_layernorm = RMSNorm(params.width, params.norm_eps)
        self.proj = Linear(params.width, math.prod(params.patch_size) * params.channels_out, False, ZEROS)

    def construct(self, x: Any, embedding: Any) -> Any:
        """Map tokens (b n width) to patches (b n pf*ph*pw*channels); ``embedding`` (b width) is the timestep's."""
        shift, scale = modulations(self.scale_shift_table.astype(x.dtype), embedding, 1)
        return self.proj(self.input_layernorm(x, shift, scale))


class PatchProjection(Cell):
    """A linear layer whose weight may be kept as a convolution's kernel."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        kernel = (params.in_channels, *params.patch_size)
        self.matrix = (params.width, math.prod(kernel))
        shape = self.matrix if params.linear_patches else (params.width, *kernel)
        self.weight = parameter(shape, Init("normal", params.init_std))

    def construct(self, x: Any) -> Any:
        """Map (... c*pf*ph*pw) to (... width)."""
        return F.linear(x, self.weight.reshape(self.matrix))


class LatentEmbedder(Cell):
    """Cuts latents into patches, channels first in each, and projects them to tokens."""

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        self.patch = tuple(params.patch_size)
        self.proj = PatchProjection(params)

    def construct(self, latents: Any) -> Any:
        """Map (b f c h w) to (b n width), n running over frames, then rows, then columns."""
        b, f, c, h, w = latents.shape
        pf, ph, pw = self.patch
        x = F.permute(latents.reshape(b, f // pf, pf, c, h // ph, ph, w // pw, pw), (0, 1, 4, 6, 3, 2, 5, 7))
        return self.proj(x.reshape(b, (f // pf) * (h // ph) * (w // pw), c * pf * ph * pw))


class TimestepEmbedder(Cell):
    """Two layers over the sinusoids of a timestep in 0..1000."""

    def __init__(self, width: int, init: Init) -> None:
        super().__init__()
        self.frequencies = constant(timestep_frequencies(TIMESTEP_WIDTH))
        self.mlp = Sequential(Linear(TIMESTEP_WIDTH, width, False, init), SiLU(), Linear(width, width, False, init))

    def construct(self, timesteps: Any) -> Any:
        """Map (b,) to (b width)."""
        return self.mlp(timestep_embedding(timesteps, self.frequencies))


class TextProjector(Cell):
    """Brings the states of three text encoders to one width and lays them end to end.

    Raises:
        UsageError: the params describe no projection (see their ``check``).
    """

    def __init__(self, params: TextProjectorParams, init: Init | None = None) -> None:
        super().__init__()
        params.check()
        norm = RMSNorm if params.norm == "rms" else LayerNorm
        self.ul2_linear = Linear(params.ul2_dim, params.width, False, init)
        self.ul2_layernorm = norm(params.width, params.norm_eps)
        self.metaclip_linear = Linear(params.metaclip_dim, params.width, False, init)
        self.metaclip_layernorm = norm(params.width, params.norm_eps)
        self.byt5_linear = Linear(params.byt5_dim, params.width, False, init)
        self.byt5_layernorm = norm(params.width, params.norm_eps)

    def construct(self, ul2: Any, metaclip: Any, byt5: Any) -> Any:
        """Map (b l1 ul2_dim), (b l2 metaclip_dim) and (b l3 byt5_dim) to (b l1+l2+l3 width)."""
        ul2 = self.ul2_layernorm(self.ul2_linear(ul2))
        metaclip = self.metaclip_layernorm(self.metaclip_linear(metaclip))
        byt5 = self.byt5_layernorm(self.byt5_linear(byt5))
        return F.concat((ul2, metaclip, byt5), 1)


class MovieGenTransformer(Cell):
    """Predicts the velocity from noise to latents. No attention is masked: padded text is read like any other.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: MovieGenParams) -> None:
        super().__init__()
        params.check()
        init, width = Init("normal", params.init_std), params.width
        frames, height, columns = params.max_length
        self.patch, self.channels, self.width = tuple(params.patch_size), params.channels_out, width
        self.layers = CellList([DecoderLayer(params) for _ in range(params.layers)])
        self.final_layer = FinalLayer(params)
        self.pos_embedding_table_t = Embedding(frames, width, params.init_std)
        self.pos_embedding_table_h = Embedding(height, width, params.init_std)
        self.pos_embedding_table_w = Embedding(columns, width, params.init_std)
        self.latent_embedder = LatentEmbedder(params)
        self.timestep_embedder = TimestepEmbedder(width, init)
        self.adaLN_modulation = Sequential(SiLU(), Linear(width, 6 * width, False, ZEROS))
        self.text_projector = TextProjector(params.text_projector, init)

    def construct(self, latents: Any, timesteps: Any, ul2: Any, metaclip: Any, byt5: Any) -> Any:
        """Map latents (b f c h w) at ``timesteps`` (b,) in 0..1000 to their velocity, of the same shape.

        Text states are (b l1 4096), (b l2 1280) and (b l3 1472) of UL2, MetaCLIP and ByT5. The latents' size must
        have passed :meth:`videogen_cli.nets.params.moviegen.MovieGenParams.grid`.
        """
        _, f, _, h, w = latents.shape
        pf, ph, pw = self.patch
        grid = (f // pf, h // ph, w // pw)
        positions = self.positions(grid).astype(latents.dtype)
        embedding = self.timestep_embedder(timesteps).astype(latents.dtype)
        modulation = self.adaLN_modulation(embedding)
        text = self.text_projector(ul2, metaclip, byt5)
        x = self.latent_embedder(latents)
        for layer in self.layers:
            x = layer(x, text, modulation, positions)
        return self.unpatchify(self.final_layer(x, embedding), grid)

    def positions(self, grid: Any) -> Any:
        """Return the embedding (1 n width) of all places in ``grid`` (frames, rows, columns): the sum of three."""
        frames, rows, columns = grid
        t = self.pos_embedding_table_t.weight[:frames].reshape(frames, 1, 1, self.width)
        h = self.pos_embedding_table_h.weight[:rows].reshape(1, rows, 1, self.width)
        w = self.pos_embedding_table_w.weight[:columns].reshape(1, 1, columns, self.width)
        return (t + h + w).reshape(1, frames * rows * columns, self.width)

    def unpatchify(self, x: Any, grid: Any) -> Any:
        """Lay patches (b n pf*ph*pw*c), channels last in each, out as (b f c h w)."""
        b, (frames, rows, columns), (pf, ph, pw) = x.shape[0], grid, self.patch
        x = F.permute(x.reshape(b, frames, rows, columns, pf, ph, pw, self.channels), (0, 1, 4, 7, 2, 5, 3, 6))
        return x.reshape(b, frames * pf, self.channels, rows * ph, columns * pw)
