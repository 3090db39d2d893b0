"""InternVideo2 stage 2: a video tower and a text tower that meet in one space (Wang et al. 2024, arXiv 2403.15377).

Names and order of OpenGVLab/InternVideo2 ``PretrainInternVideo2`` and ``InternVideo2_Stage2``, without the heads that
only pre-training has. The published model runs fused GPU kernels whose GELU is the tanh approximation; this is the
plain path, with the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.nets.bert import Bert
from videogen_cli.nets.dit import sincos_grid, sincos_positions
from videogen_cli.nets.layers import LayerNorm, Linear, RMSNorm, torch_uniform
from videogen_cli.nets.params.internvideo2 import InternVideo2Params, VideoTowerParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, CellList, Init, parameter

_TOKEN = Init("normal", 0.02)


@dataclass(frozen=True)
class GridPositions(Init):
    """Sines and cosines, as the original starts: a quarter of the width tells the time, the rest column and row.

    The class token, which comes first, has zeros.
    """

    times: int = 1
    grid: int = 1

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return float32 (1 1+times*grid*grid width)."""
        places, frames = np.arange(self.grid), np.arange(self.times)
        space = sincos_grid(shape[-1] // 4 * 3, places, places)
        time = sincos_positions(shape[-1] // 4, frames)
        rows = np.concatenate([np.repeat(time, len(space), 0), np.tile(space, (self.times, 1))], 1)
        table = np.zeros(shape, np.float32)
        table[0, -len(rows) :, : rows.shape[1]] = rows
        return table


class InternVideo2(Cell):
    """Scores how well videos and texts match, by the cosine of their features.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: InternVideo2Params) -> None:
        super().__init__()
        params.check()
        self.vision_encoder = VideoTower(params.video)
        self.text_encoder = Bert(params.text)
        self.vision_proj = Linear(params.video.pool_width, params.embed_dim)
        self.text_proj = Linear(params.text.width, params.embed_dim)

    def encode_video(self, frames: Any) -> Any:
        """Return features (b embed_dim) of length 1 of normalised videos (b f 3 h w)."""
        return F.l2_normalize(self.vision_proj(self.vision_encoder(frames)))

    def encode_text(self, ids: Any, keep: Any) -> Any:
        """Return features (b embed_dim) of length 1 of token ids (b l), read at the first; ``keep`` as in ``Bert``."""
        return F.l2_normalize(self.text_proj(self.text_encoder(ids, keep)[:, 0]))

    def construct(self, frames: Any, ids: Any, keep: Any) -> Any:
        """Return the cosine (b,) of each video (b f 3 h w) and its text (b l)."""
        return (self.encode_video(frames) * self.encode_text(ids, keep)).sum(-1)


class VideoTower(Cell):
    """Videos to pooled features: patches of all frames, and a class token, through one transformer."""

    def __init__(self, params: VideoTowerParams) -> None:
        super().__init__()
        params.check()
        self.times, self.origin_times = params.times, params.origin_times
        width, patches = params.width, params.grid**2
        self.cls_token = parameter((1, 1, width), _TOKEN)
        everywhere = GridPositions(times=params.origin_times, grid=params.grid)
        self.pos_embed = parameter((1, params.origin_times * patches + 1, width), everywhere)
        at_once = GridPositions(grid=params.grid)
        self.img_pos_embed = parameter((1, patches + 1, width), at_once) if params.image_positions else None
        self.patch_embed = TubeletEmbed(params)
        self.blocks = CellList([VideoBlock(params) for _ in range(params.depth)])
        self.clip_projector = AttentionPool(width, params.pool_heads, params.pool_width)

    def construct(self, frames: Any) -> Any:
        """Map normalised videos (b f 3 h w) to (b pool_width)."""
        return self.pool(self.tokens(frames))

    def tokens(self, frames: Any) -> Any:
        """Map (b f 3 h w), f being ``num_frames`` or 1, to tokens (b 1+f*h*w width), the class token first."""
        patches = self.patch_embed(frames)
        first = F.broadcast_to(self.cls_token.astype(patches.dtype), (patches.shape[0], 1, patches.shape[2]))
        x = F.concat([first, patches], 1)
        x = x + (self.image_positions() if frames.shape[1] == 1 else self.positions()).astype(x.dtype)
        for block in self.blocks:
            x = block(x)
        return x

    def pool(self, tokens: Any) -> Any:
        """Map tokens (b n width) to (b pool_width)."""
        return self.clip_projector(tokens)

    def positions(self) -> Any:
        """Return the positions (1 n width) of videos, interpolated over time where the file has other lengths."""
        if self.times == self.origin_times:
            return self.pos_embed
        over_time = F.resampling(self.origin_times, self.times, "bilinear")
        placed = F.permute(F.linear(F.permute(self._by_time(), (1, 0)), over_time), (1, 0))
        return F.concat([self.pos_embed[:, :1], placed.reshape(1, -1, self.pos_embed.shape[2])], 1)

    def image_positions(self) -> Any:
        """Return the positions (1 n width) of single images."""
        if self.img_pos_embed is not None:
            return self.img_pos_embed
        mean = self._by_time().mean(0).reshape(1, -1, self.pos_embed.shape[2])
        return F.concat([self.pos_embed[:, :1], mean], 1)

    def _by_time(self) -> Any:
        return self.pos_embed[0, 1:].reshape(self.origin_times, -1)


class TubeletEmbed(Cell):
    """A convolution whose kernels do not overlap, as a product with what lies under each."""

    def __init__(self, params: VideoTowerParams) -> None:
        super().__init__()
        self.kernel = (params.tubelet_size, params.patch_size)
        self.proj = TubeletKernel(params.width, 3, *self.kernel)

    def construct(self, frames: Any) -> Any:
        """Map (b f 3 h w) to tokens (b n width), frame by frame, row by row."""
        b, f, c, height, width = frames.shape
        t, p = self.kernel
        x = F.permute(frames.reshape(b, f // t, t, c, height // p, p, width // p, p), (0, 1, 4, 6, 3, 2, 5, 7))
        return self.proj(x.reshape(b, -1, c * t * p * p))


class TubeletKernel(Cell):
    """The kernel of a convolution over frames, height and width, in the layout of one."""

    def __init__(self, width: int, channels: int, frames: int, patch: int) -> None:
        super().__init__()
        init = torch_uniform(channels * frames * patch * patch)
        self.weight = parameter((width, channels, frames, patch, patch), init)
        self.bias = parameter((width,), init)

    def construct(self, x: Any) -> Any:
        """Map (b n channels*frames*patch*patch) to (b n width)."""
        return F.linear(x, self.weight.reshape(self.weight.shape[0], -1), self.bias)


class VideoBlock(Cell):
    """A pre-norm transformer block whose branches are scaled per channel."""

    def __init__(self, params: VideoTowerParams) -> None:
        super().__init__()
        self.norm1 = RMSNorm(params.width)
        self.attn = NormedAttention(params)
        self.ls1 = LayerScale(params.width, params.layer_scale_start) if params.layer_scale else None
        self.norm2 = RMSNorm(params.width)
        self.mlp = VideoMLP(params.width, params.mlp_width)
        self.ls2 = LayerScale(params.width, params.layer_scale_start) if params.layer_scale else None

    def construct(self, x: Any) -> Any:
        """Map (b n width) to itself."""
        mixed = self.attn(self.norm1(x))
        x = x + (mixed if self.ls1 is None else self.ls1(mixed))
        mixed = self.mlp(self.norm2(x))
        return x + (mixed if self.ls2 is None else self.ls2(mixed))


class LayerScale(Cell):
    """Scales each channel (Touvron et al. 2021, arXiv 2103.17239)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = parameter((width,), Init("normal", 0.0, start))

    def construct(self, x: Any) -> Any:
        """Map (... width) to itself."""
        return x * self.gamma.astype(x.dtype)


class NormedAttention(Cell):
    """Self-attention whose queries and keys are normalised before they are cut into heads."""

    def __init__(self, params: VideoTowerParams) -> None:
        super().__init__()
        self.heads = params.heads
        self.qkv = Linear(params.width, 3 * params.width, bias=params.qkv_bias)
        self.proj = Linear(params.width, params.width)
        self.q_norm = RMSNorm(params.width) if params.qk_norm else None
        self.k_norm: Any = RMSNorm(params.width) if params.qk_norm else None

    def construct(self, x: Any) -> Any:
        """Map (b n width) to itself."""
        q, k, v = F.chunk(self.qkv(x), 3, -1)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return self.proj(F.attention(q, k, v, self.heads))


class VideoMLP(Cell):
    """Two layers with an exact GELU in between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, inner)
        self.fc2 = Linear(inner, width)

    def construct(self, x: Any) -> Any:
        """Map (... width) to itself."""
        return self.fc2(F.gelu(self.fc1(x)))


class AttentionPool(Cell):
    """Pools tokens by attention from their mean."""

    def __init__(self, width: int, heads: int, out_width: int) -> None:
        super().__init__()
        self.norm1_q = LayerNorm(width)
        self.norm1_k = LayerNorm(width)
        self.norm1_v = LayerNorm(width)
        self.cross_attn = PoolAttention(width, heads, out_width)

    def construct(self, x: Any) -> Any:
        """Map (b n width) to (b out_width)."""
        query = self.norm1_q(x.mean(1, keep_dims=True))
        return self.cross_attn(query, self.norm1_k(x), self.norm1_v(x))[:, 0]


class PoolAttention(Cell):
    """Attention whose biases are parameters beside its matrices."""

    def __init__(self, width: int, heads: int, out_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = parameter((width,), ZEROS)
        self.k_bias = parameter((width,), ZEROS)
        self.v_bias = parameter((width,), ZEROS)
        self.q = Linear(width, width, bias=False)
        self.k = Linear(width, width, bias=False)
        self.v = Linear(width, width, bias=False)
        self.proj = Linear(width, out_width)

    def construct(self, query: Any, key: Any, value: Any) -> Any:
        """Attend from query (b m width) to key and value (b n width): (b m out_width)."""
        q = F.linear(query, self.q.weight, self.q_bias)
        k = F.linear(key, self.k.weight, self.k_bias)
        return self.proj(F.attention(q, k, F.linear(value, self.v.weight, self.v_bias), self.heads))
