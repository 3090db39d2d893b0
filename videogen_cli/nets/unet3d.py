"""The latent video UNet shared by VideoCrafter2, ModelScope, VideoComposer and DEMO.

A latent-diffusion UNet over frames folded into the batch, with convolutions and transformers over frames in between.
Cells carry VideoCrafter's names (AILab-CVC/VideoCrafter, lvdm/modules/networks/openaimodel3d.py: UNetModel) and are
registered in its order; what differs between the systems is in :class:`~videogen_cli.nets.params.UNet3DParams`.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.attention import SpatialTransformer, TemporalTransformer
from videogen_cli.nets.blocks import Downsample, InputConv, ResBlock, Stage, Upsample
from videogen_cli.nets.layers import (
    Conv2d,
    GroupNorm,
    Linear,
    Sequential,
    SiLU,
    constant,
    timestep_embedding,
    timestep_frequencies,
)
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import ZEROS, Cell, CellList


class UNet3D(Cell):
    """Predicts what a schedule asks of it (noise, velocity) from noisy latents, a timestep, and a text.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: UNet3DParams) -> None:
        super().__init__()
        params.check()
        self.params = params
        channels = params.model_channels
        self.frequencies = constant(timestep_frequencies(channels))
        self.time_embed = _embedding_mlp(channels)
        self.fps_embedding = _embedding_mlp(channels) if params.fps_condition else None
        self.time_cond_proj: Any = _condition(params.time_cond_proj_dim, channels)
        self.motion_cond_proj: Any = _condition(params.motion_cond_proj_dim, channels)
        self.combine_proj: Any = _condition(2 * channels if params.motion_cond_proj_dim else 0, channels)
        down, skips = _down_stages(params)
        self.input_blocks = CellList(down)
        self.init_attn = Stage(_init_attention(params)) if params.init_attention else None
        self.middle_block = _middle_stage(params)
        self.output_blocks = CellList(_up_stages(params, skips))
        self.out = Sequential(
            GroupNorm(params.norm_groups, params.widths[0], params.norm_eps),
            SiLU(),
            Conv2d(params.widths[0], params.out_channels, init=ZEROS),
        )

    def construct(
        self,
        latents: Any,
        timesteps: Any,
        context: Any,
        fps: Any = None,
        timestep_cond: Any = None,
        motion_cond: Any = None,
        motion_context: Any = None,
        motion_token: Any = None,
    ) -> Any:
        """Return the prediction, shaped like the latents.

        Args:
            latents: (b c f h w).
            timesteps: (b,) diffusion steps.
            context: text states (b l context_dim).
            fps: (b,) frames per second, for a UNet with ``fps_condition``; without them nothing is added.
            timestep_cond: guidance-scale embedding (b time_cond_proj_dim) of a distilled UNet.
            motion_cond: motion-guidance embedding (b motion_cond_proj_dim) of T2V-Turbo-v2.
            motion_context: motion text states (b l context_dim), for a UNet with ``motion_attention``.
            motion_token: position (b,) in the motion text; with it the result is the prediction and a tuple of how
                much each pixel attends to that token, mean over heads (b h w f), in the order blocks run.
        """
        emb = self.embed(timesteps, fps, timestep_cond, motion_cond, latents.dtype)
        return self.denoise(latents, emb, context, motion_context, motion_token)

    def denoise(
        self, latents: Any, emb: Any, context: Any, motion_context: Any = None, motion_token: Any = None
    ) -> Any:
        """Run all blocks on ``latents`` (b first_channels f h w) and return what ``construct`` does."""
        b, c, f, height, width = latents.shape
        h = F.permute(latents, (0, 2, 1, 3, 4)).reshape(b * f, c, height, width)
        texts = (context, motion_context)
        skips, maps = (), ()
        for index, stage in enumerate(self.input_blocks):
            h, seen = _run(stage, h, emb, texts, None, motion_token)
            if index == 0 and self.init_attn is not None:
                h = self.init_attn(h, emb, context, motion_context)
            skips, maps = (*skips, h), (*maps, *seen)
        h, seen = _run(self.middle_block, h, emb, texts, None, motion_token)
        maps = (*maps, *seen)
        for index, stage in enumerate(self.output_blocks):
            following = skips[max(len(skips) - 2 - index, 0)]
            h, seen = _run(stage, F.concat([h, skips[-1 - index]], 1), emb, texts, following.shape, motion_token)
            maps = (*maps, *seen)
        out = F.permute(self.out(h).reshape(b, f, -1, height, width), (0, 2, 1, 3, 4))
        return out if motion_token is None else (out, maps)

    def embed(self, timesteps: Any, fps: Any, timestep_cond: Any, motion_cond: Any, dtype: Any) -> Any:
        """Return the time embedding (b 4*model_channels) of all scalar conditions."""
        emb = timestep_embedding(timesteps, self.frequencies).astype(dtype)
        if timestep_cond is not None:
            cond = self.time_cond_proj(timestep_cond)
            if motion_cond is not None:
                cond = self.combine_proj(F.concat([cond, self.motion_cond_proj(motion_cond)], -1))
            emb = emb + cond
        emb = self.time_embed(emb)
        if self.fps_embedding is not None and fps is not None:
            emb = emb + self.fps_embedding(timestep_embedding(fps, self.frequencies).astype(dtype))
        return emb


def _run(stage: Any, h: Any, emb: Any, texts: Any, shape: Any, token: Any) -> Any:
    """Return a stage's output, and how much pixels attend to ``token`` in its blocks (nothing without one)."""
    if token is None:
        return stage(h, emb, *texts, shape), ()
    return stage(h, emb, *texts, shape, token)


def _embedding_mlp(channels: int) -> Sequential:
    return Sequential(Linear(channels, 4 * channels), SiLU(), Linear(4 * channels, 4 * channels))


def _condition(dim: int, channels: int) -> Linear | None:
    return Linear(dim, channels, bias=False) if dim else None


def _over_frames(params: UNet3DParams) -> dict[str, Any]:
    """Return what transformers over frames have in common."""
    return {
        "depth": params.transformer_depth,
        "groups": params.norm_groups,
        "single_frames": params.single_frames == "all",
    }


def _init_attention(params: UNet3DParams) -> TemporalTransformer:
    return TemporalTransformer(
        params.model_channels,
        params.init_attention_heads,
        params.num_head_channels,
        projection=params.init_projection,
        **_over_frames(params),
    )


def _res_block(params: UNet3DParams, in_channels: int, channels: int, *, middle: bool = False) -> ResBlock:
    """Return a residual block; in ModelScope the first of the ``middle`` convolves over lone frames too."""
    return ResBlock(
        in_channels,
        channels,
        4 * params.model_channels,
        params.norm_groups,
        params.temporal_conv,
        eps=params.norm_eps,
        single_frames=middle or params.single_frames == "all",
    )


def _transformers(params: UNet3DParams, channels: int) -> list[Cell]:
    """Return the transformers that follow a residual block: over space, over frames with motion text, over frames."""
    sizes = (channels, channels // params.num_head_channels, params.num_head_channels)
    depth, groups = params.transformer_depth, params.norm_groups
    cells: list[Cell] = [SpatialTransformer(*sizes, context_dim=params.context_dim, depth=depth, groups=groups)]
    if params.motion_attention:
        cells.append(TemporalTransformer(*sizes, context_dim=params.context_dim, **_over_frames(params)))
    if params.temporal_attention:
        cells.append(TemporalTransformer(*sizes, projection=params.temporal_projection, **_over_frames(params)))
    return cells


def _down_stages(params: UNet3DParams) -> tuple[list[Stage], list[int]]:
    """Return the stages on the way down, and the channels each leaves for the way up."""
    channels = params.model_channels
    stages, skips = [Stage(InputConv(params.first_channels, channels))], [channels]
    for level, width in enumerate(params.widths):
        if level:
            stages.append(Stage(Downsample(channels)))
            skips.append(channels)
        for _ in range(params.num_res_blocks):
            cells: list[Cell] = [_res_block(params, channels, width)]
            if 2**level in params.attention_resolutions:
                cells += _transformers(params, width)
            stages.append(Stage(*cells))
            channels = width
            skips.append(channels)
    return stages, skips


def _middle_stage(params: UNet3DParams) -> Stage:
    width = params.widths[-1]
    first, last = _res_block(params, width, width, middle=True), _res_block(params, width, width)
    return Stage(first, *_transformers(params, width), last)


def _up_stages(params: UNet3DParams, skips: list[int]) -> list[Stage]:
    """Return the stages on the way up; each takes the last of ``skips`` not yet taken."""
    channels, left, stages = skips[-1], list(skips), []
    for level, width in reversed(list(enumerate(params.widths))):
        for index in range(params.num_res_blocks + 1):
            cells: list[Cell] = [_res_block(params, channels + left.pop(), width)]
            if 2**level in params.attention_resolutions:
                cells += _transformers(params, width)
            last = level and index == params.num_res_blocks
            stages.append(Stage(*cells, upsample=Upsample(width) if last else None))
            channels = width
    return stages
