"""The causal video autoencoder of Open-Sora-Plan v1.0, under its published names.

Source: PKU-YuanGroup/Open-Sora-Plan v1.0.0, opensora/models/ae/videobase (``CausalVAEModel``). Convolutions see frames
of the past only, the first frame standing in for those before it; normalisation, and attention in its published form,
mix all frames. Clips of 4n+1 frames become n+1 latent ones.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import GroupNorm, Identity
from videogen_cli.nets.params.vae3d import CausalVAEParams
from videogen_cli.nets.vae3d_blocks import ATTENTIONS, CONVOLUTIONS, RESAMPLERS, RESNETS
from videogen_cli.nets.vae_blocks import EPS, LOGVAR_MAX, LOGVAR_MIN, Level, LevelDecoder, Middle
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList


class CausalVAE(Cell):
    """Maps clips to the mean and log-variance of latents, and latents to clips; scales nothing.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: CausalVAEParams) -> None:
        super().__init__()
        params.check()
        self.encoder = Encoder(params)
        self.decoder = Decoder(params)
        conv = CONVOLUTIONS[params.q_conv]
        self.quant_conv = conv(2 * params.z_channels, 2 * params.embed_dim, 1)
        self.post_quant_conv = conv(params.embed_dim, params.z_channels, 1)

    def moments(self, video: Any) -> Any:
        """Return mean and unclamped log-variance on the channel axis (b 2*embed_dim f' h' w')."""
        return self.quant_conv(self.encoder(video))

    def encode(self, video: Any) -> tuple[Any, Any]:
        """Return mean and log-variance (b embed_dim f' h' w') of clips (b 3 f h w) in [-1, 1]."""
        return posterior(self.moments(video))

    def decode(self, latents: Any) -> Any:
        """Return clips (b 3 f h w), about in [-1, 1], of latents (b embed_dim f' h' w')."""
        return self.decoder(self.post_quant_conv(latents))

    def construct(self, video: Any) -> Any:
        """Return the reconstruction of clips (b 3 f h w) from their latents' mean."""
        return self.decode(self.encode(video)[0])


def posterior(moments: Any) -> tuple[Any, Any]:
    """Return mean and clamped log-variance (b c ...) of moments (b 2*c ...)."""
    mean, logvar = F.chunk(moments, 2, 1)
    return mean, logvar.clip(LOGVAR_MIN, LOGVAR_MAX)


class Encoder(Cell):
    """Clips to the moments of latents, before ``quant_conv``."""

    def __init__(self, params: CausalVAEParams) -> None:
        super().__init__()
        groups, conv = params.norm_groups, CONVOLUTIONS[params.encoder_conv_in]
        widths = [params.hidden_size * multiple for multiple in params.hidden_size_mult]
        self.conv_in = conv(3, params.hidden_size, 3)
        size, start = params.resolution, params.hidden_size
        cells: list[Any] = []
        for level, width in enumerate(widths):
            spatial = params.encoder_spatial_downsample[level]
            cells.append(
                ResampledLevel(
                    (start, width, params.num_res_blocks, groups),
                    resnet=params.encoder_resnet_blocks[level],
                    attention=params.encoder_attention if size in params.attn_resolutions else "",
                    downsample=spatial,
                    time_downsample=params.encoder_temporal_downsample[level],
                )
            )
            size, start = size // 2 if spatial else size, width
        self.down = CellList(cells)
        self.mid = Middle(start, groups, RESNETS[params.encoder_mid_resnet], ATTENTIONS[params.encoder_attention])
        self.norm_out = GroupNorm(groups, start, EPS, silu=True)
        self.conv_out = CONVOLUTIONS[params.encoder_conv_out](start, 2 * params.z_channels, 3)

    def construct(self, x: Any) -> Any:
        """Map (b 3 f h w) to (b 2*z_channels f' h' w')."""
        x = self.conv_in(x)
        for index in range(len(self.down) - 1):
            x = self.down[index](x)
        # what the original configures to follow the last level's blocks, it does not use
        x = self.mid(self.down[-1].refine(x))
        return self.conv_out(self.norm_out(x))


class Decoder(LevelDecoder):
    """Latents after ``post_quant_conv`` to clips."""

    def __init__(self, params: CausalVAEParams) -> None:
        super().__init__()
        groups = params.norm_groups
        widths = [params.hidden_size * multiple for multiple in params.hidden_size_mult]
        count, start = len(widths), widths[-1]
        self.conv_in = CONVOLUTIONS[params.decoder_conv_in](params.z_channels, start, 3)
        self.mid = Middle(start, groups, RESNETS[params.decoder_mid_resnet], ATTENTIONS[params.decoder_attention])
        size = params.resolution // 2 ** (count - 1)
        cells: list[Any] = []
        for level in reversed(range(count)):  # levels are numbered from full resolution
            spatial = params.decoder_spatial_upsample[level]
            cells.append(
                ResampledLevel(
                    (start, widths[level], params.num_res_blocks + 1, groups),
                    resnet=params.decoder_resnet_blocks[level],
                    attention=params.decoder_attention if size in params.attn_resolutions else "",
                    upsample=spatial,
                    time_upsample=params.decoder_temporal_upsample[level],
                )
            )
            size, start = size * 2 if spatial else size, widths[level]
        self.up = CellList(cells[::-1])
        self.norm_out = GroupNorm(groups, start, EPS, silu=True)
        self.conv_out = CONVOLUTIONS[params.decoder_conv_out](start, 3, 3)


class ResampledLevel(Level):
    """One level: residual blocks with attention behind each where wanted, then changes of size, in space before time.

    Args:
        sizes: channels of input and output, number of residual blocks, groups of normalisation.
        resnet: kind of the residual blocks.
        attention: kind of attention, empty for none.
        resamplers: name of the cell -> kind of the change of size, empty for none.
    """

    def __init__(self, sizes: tuple[int, int, int, int], resnet: str, attention: str, **resamplers: str) -> None:
        super().__init__(*sizes, RESNETS[resnet], ATTENTIONS[attention] if attention else None)
        self.steps = tuple(RESAMPLERS[kind](sizes[1]) if kind else Identity() for kind in resamplers.values())
        for name, cell in zip(resamplers, self.steps, strict=True):
            setattr(self, name, cell)

    def construct(self, x: Any) -> Any:
        """Map (b in_channels f h w) to (b channels f' h' w')."""
        x = self.refine(x)
        for step in self.steps:
            x = step(x)
        return x
