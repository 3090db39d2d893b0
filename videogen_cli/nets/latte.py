"""LatteT2V, Open-Sora-Plan v1.0's transformer (opensora/models/diffusion/latte/modeling_latte.py).

Blocks alternate between attention within frames, which also reads the text, and attention over frames at each patch.
Tokens are (b f t d): samples, frames, patches, width. Cells have the published names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.attention import CrossAttention, FeedForward
from videogen_cli.nets.dit import TimestepEmbedder, modulations, sincos_grid, sincos_positions, unpatchify
from videogen_cli.nets.layers import Conv2d, LayerNorm, Linear, constant_function
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList, Init, parameter

MASKED = -10000.0  # added to the scores of padding
CAPTION_TOKENS = 120  # of PixArt's empty caption, which the published files carry along
_BASE_SIZE, _BASE_FRAMES = 64, 5  # what positions are scaled to: 512 pixels, 17 frames


def _patch_positions(width: int, rows: int, columns: int, base: int, scale: int) -> np.ndarray:
    """Return (1 1 rows*columns width): positions as if the grid had ``base`` rows and columns, over ``scale``."""
    coordinates = [np.arange(n, dtype=np.float32) / np.float32(n / base) / np.float32(scale) for n in (rows, columns)]
    return sincos_grid(width, *coordinates)[None, None]


def _frame_positions(width: int, frames: int) -> np.ndarray:
    """Return (1 frames 1 width)."""
    scale = max(frames // _BASE_FRAMES, 1)
    return sincos_positions(width, np.arange(frames, dtype=np.float32) / np.float32(scale))[None, :, None]


patch_positions = constant_function(_patch_positions)
frame_positions = constant_function(_frame_positions)


class Latte(Cell):
    """Noisy latents, timesteps and text states to the predicted noise and, behind it, how to interpolate its variance.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: LatteParams) -> None:
        super().__init__()
        params.check()
        width = params.width
        self.width, self.patch, self.video_length = width, params.patch_size, params.video_length
        self.base, self.scale = params.sample_size // params.patch_size, max(params.sample_size // _BASE_SIZE, 1)
        self.joint_positions = params.joint_positions
        self.scale_shift_table = parameter((2, width), Init("normal", width**-0.5))
        self.pos_embed = PatchEmbed(params.in_channels, width, params.patch_size)
        self.transformer_blocks = CellList([SpatialBlock(params) for _ in range(params.num_layers)])
        self.temporal_transformer_blocks = CellList([TemporalBlock(params) for _ in range(params.num_layers)])
        self.norm_out = LayerNorm(width, 1e-6, affine=False)
        self.proj_out = Linear(width, params.patch_size**2 * params.out_channels)
        self.adaln_single = TimestepModulation(width)
        self.caption_projection = CaptionProjection(params.caption_channels, width)

    def construct(
        self, latents: Any, timesteps: Any, captions: Any, mask: Any = None, images: int = 0, temporal: bool = True
    ) -> Any:
        """Predict.

        Args:
            latents: (b c f+n h w), the n images after the frames.
            timesteps: (b,), also fractional.
            captions: text states (b l d), or with images (b 1+n l d): the video's, then one per image.
            mask: 1 for text, 0 for padding, of the captions' shape without d.
            images: n.
            temporal: whether frames see each other; without, every frame is an image.

        Returns:
            (b out_channels f+n h w).
        """
        b, frames = latents.shape[0], latents.shape[2] - images
        rows, columns = latents.shape[3] // self.patch, latents.shape[4] // self.patch
        embedded, modulation = self.adaln_single(timesteps)
        context, bias = self.text(captions, mask, frames, images)
        x = self.pos_embed(latents) + patch_positions(self.width, rows, columns, self.base, self.scale)
        for index in range(len(self.transformer_blocks)):
            x = self.transformer_blocks[index](x, modulation, context, bias)
            if temporal:
                video = F.leading(x, frames, 1)
                if index == 0 and (images == 0 or self.joint_positions):
                    video = video + frame_positions(self.width, self.video_length)
                video = self.temporal_transformer_blocks[index](video, modulation)
                x = video if images == 0 else F.concat((video, x[:, frames:]), 1)
        shift, scale = modulations(self.scale_shift_table, embedded, 2)
        x = self.proj_out(self.norm_out(x, shift, scale))
        x = unpatchify(x.reshape(b * (frames + images), rows * columns, -1), (rows, columns), (self.patch, self.patch))
        return F.permute(x.reshape((b, frames + images, *x.shape[1:])), (0, 2, 1, 3, 4))

    def text(self, captions: Any, mask: Any, frames: int, images: int) -> Any:
        """Return what cross-attention reads, (b l width) or with images (b*(f+n) l width), and what it adds: bias.

        Without images all frames of a sample read the same text, so one copy will do.
        """
        context = self.caption_projection(captions)
        bias = None if mask is None else (1.0 - mask.astype(context.dtype)) * MASKED
        if images > 0:
            b, _, length, width = context.shape
            video = F.broadcast_to(context[:, :1], (b, frames, length, width))
            context = F.concat((video, context[:, 1:]), 1).reshape(-1, length, width)
            if bias is not None:
                bias = F.concat((F.broadcast_to(bias[:, :1], (b, frames, length)), bias[:, 1:]), 1)
        if bias is not None:
            bias = bias.reshape(context.shape[0], 1, 1, context.shape[1])
        return context, bias


class PatchEmbed(Cell):
    """Frames cut into square patches, each projected."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = Conv2d(in_channels, width, patch, stride=patch, padding=(0, 0, 0, 0))

    def construct(self, latents: Any) -> Any:
        """Map (b c f h w) to (b f t width)."""
        b, c, f, h, w = latents.shape
        x = self.proj(F.permute(latents, (0, 2, 1, 3, 4)).reshape(b * f, c, h, w))
        return F.permute(x.reshape(b, f, x.shape[1], -1), (0, 1, 3, 2))


class ModulatedAttention(Cell):
    """What a block's modulation is added to, and its self-attention: how both kinds of block begin."""

    def __init__(self, params: LatteParams) -> None:
        super().__init__()
        self.scale_shift_table = parameter((6, params.width), Init("normal", params.width**-0.5))
        self.norm1 = _norm(params)
        self.attn1 = _attention(params)


def _norm(params: LatteParams) -> LayerNorm:
    return LayerNorm(params.width, params.norm_eps, params.norm_affine)


def _attention(params: LatteParams, context_dim: int = 0) -> CrossAttention:
    heads, head_dim = params.num_attention_heads, params.attention_head_dim
    return CrossAttention(params.width, heads, head_dim, context_dim, params.attention_bias)


class SpatialBlock(ModulatedAttention):
    """Attention within each frame, then to the text (neither normalised nor modulated), then feed-forward."""

    def __init__(self, params: LatteParams) -> None:
        super().__init__(params)
        self.norm2 = _norm(params)
        self.attn2 = _attention(params, params.width)
        self.ff = FeedForward(params.width, params.activation)

    def construct(self, x: Any, modulation: Any, context: Any, bias: Any) -> Any:
        """Map x (b f t d) to itself; ``context`` and ``bias`` are what :meth:`Latte.text` returns."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = modulations(self.scale_shift_table, modulation, 2)
        tokens = (-1, x.shape[2], x.shape[3])
        y = self.norm1(x, shift, scale).reshape(tokens)
        x = F.gated_add(x, gate, self.attn1(y, y).reshape(x.shape))
        flat = x.reshape(tokens)
        x = self.attn2(flat, context, bias, flat).reshape(x.shape)
        return F.gated_add(x, gate_ff, self.ff(self.norm2(x, shift_ff, scale_ff)))


class TemporalBlock(ModulatedAttention):
    """Attention over the frames at each patch, then feed-forward."""

    def __init__(self, params: LatteParams) -> None:
        super().__init__(params)
        self.norm3 = _norm(params)
        self.ff = FeedForward(params.width, params.activation)

    def construct(self, x: Any, modulation: Any) -> Any:
        """Map x (b f t d) to itself."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = modulations(self.scale_shift_table, modulation, 2)
        b, f, t, width = x.shape
        y = F.permute(self.norm1(x, shift, scale), (0, 2, 1, 3)).reshape(b * t, f, width)
        x = F.gated_add(x, gate, F.permute(self.attn1(y, y).reshape(b, t, f, width), (0, 2, 1, 3)))
        return F.gated_add(x, gate_ff, self.ff(self.norm3(x, shift_ff, scale_ff)))


class TimestepModulation(Cell):
    """The timestep's embedding, and its projection that all blocks are modulated by (``AdaLayerNormSingle``)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.emb = TimestepHolder(width)
        self.linear = Linear(width, 6 * width)

    def construct(self, timesteps: Any) -> Any:
        """Map (b,) to (b width) and (b 6*width)."""
        embedded = self.emb(timesteps)
        return embedded, self.linear(F.silu(embedded))


class TimestepHolder(Cell):
    """Holds the embedder under its published name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(width)

    def construct(self, timesteps: Any) -> Any:
        """Map (b,) to (b width)."""
        return self.timestep_embedder(timesteps)


class CaptionProjection(Cell):
    """Text states to the transformer's width; ``y_embedding`` takes no part, but the published files hold it."""

    def __init__(self, caption_channels: int, width: int) -> None:
        super().__init__()
        self.y_embedding = parameter((CAPTION_TOKENS, caption_channels), Init("normal", caption_channels**-0.5))
        self.linear_1 = Linear(caption_channels, width)
        self.linear_2 = Linear(width, width)

    def construct(self, captions: Any) -> Any:
        """Map (... caption_channels) to (... width)."""
        return self.linear_2(F.gelu_tanh(self.linear_1(captions)))
