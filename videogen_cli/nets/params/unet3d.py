"""Sizes of the latent video UNet."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError, did_you_mean
from videogen_cli.nets.params.checks import levels, not_negative, one_of, positive

PROJECTIONS = ("linear", "conv1d")
SINGLE_FRAMES = ("all", "spatial")


@dataclass
class UNet3DParams:
    """The latent video UNet of VideoCrafter2, ModelScope, VideoComposer and DEMO; defaults are VideoCrafter2's teacher.

    Level ``i`` has ``model_channels * channel_mult[i]`` channels, at ``1 / 2**i`` of the latents' height and width.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: list[int] = field(default_factory=lambda: [1, 2, 4, 4])
    num_res_blocks: int = 2  # per level on the way down; one more on the way up
    # downsampling factors of the levels with attention; factors of no level are ignored, as in the original
    attention_resolutions: list[int] = field(default_factory=lambda: [4, 2, 1])
    num_head_channels: int = 64
    context_dim: int = 1024  # width of the text states
    transformer_depth: int = 1
    temporal_conv: bool = True  # four convolutions over frames in each residual block
    temporal_attention: bool = True  # a transformer over frames after each one over space
    temporal_projection: str = "linear"  # linear | conv1d: the layers into and out of temporal transformers
    init_attention: bool = True  # a temporal transformer right after the first convolution
    init_attention_heads: int = 8
    init_projection: str = "conv1d"  # linear | conv1d: the same two layers of that one
    motion_attention: bool = False  # DEMO: after the spatial transformer, one over frames that reads the motion text
    fps_condition: bool = True
    time_cond_proj_dim: int = 0  # width of the guidance-scale embedding of a distilled UNet; 0 = none
    motion_cond_proj_dim: int = 0  # width of T2V-Turbo-v2's motion-guidance embedding; 0 = none
    norm_groups: int = 32
    norm_eps: float = 1e-5  # of the residual blocks' and the last norm
    level_channels: list[int] = field(default_factory=list)  # where they are no multiples; empty = from channel_mult
    single_frames: str = "all"  # all | spatial: what a lone frame passes through; ModelScope's skips temporal layers

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return list(self.level_channels) or [self.model_channels * multiple for multiple in self.channel_mult]

    @property
    def first_channels(self) -> int:
        """Channels of what the first convolution reads."""
        return self.in_channels

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, channels do not divide into norm groups or are fewer than a head's, or a
                word is unknown.
        """
        where = "unet"
        positive(where, self, "in_channels", "out_channels", "model_channels", "num_res_blocks", "num_head_channels")
        positive(where, self, "context_dim", "transformer_depth", "init_attention_heads", "norm_groups")
        not_negative(where, self, "time_cond_proj_dim", "motion_cond_proj_dim")
        levels(where, self.model_channels, self.channel_mult, self.norm_groups)
        levels(where, 1, [self.model_channels, *self.widths], self.norm_groups)
        one_of(where, self, PROJECTIONS, "temporal_projection", "init_projection")
        one_of(where, self, SINGLE_FRAMES, "single_frames")
        if self.model_channels % 2:
            raise UsageError("must be even: half are cosines, half sines", where=f"{where}.model_channels")
        for level, width in enumerate(self.widths):
            last = level == len(self.widths) - 1  # the middle block, which always has attention
            if 2**level in self.attention_resolutions or last:
                self._heads(width)
        if self.motion_cond_proj_dim and not self.time_cond_proj_dim:
            hint = "The two conditions are combined: set unet.time_cond_proj_dim too."
            raise UsageError("needs a guidance-scale condition", where=f"{where}.motion_cond_proj_dim", hint=hint)

    def _heads(self, channels: int) -> None:
        """Heads share what they can of the channels evenly, as in the originals; there must be one."""
        if channels < self.num_head_channels:
            hint = "Every level with attention, and the last, needs a head."
            what = f"{channels} channels are fewer than a head of {self.num_head_channels} has"
            raise UsageError(what, where="unet.num_head_channels", hint=hint)


# Condition -> channels of its video, in the order in which their encodings are added.
SPATIAL_CONDITIONS = {
    "depth": 1,
    "local_image": 3,
    "motion": 2,
    "canny": 1,
    "sketch": 1,
    "single_sketch": 1,
    "masked": 4,
}
TOKEN_CONDITIONS = ("text", "image")


@dataclass
class ConditionedUNet3DParams(UNet3DParams):
    """VideoComposer's UNet, which reads further videos beside the noisy latents; defaults are the published model's."""

    temporal_projection: str = "conv1d"
    fps_condition: bool = False
    conditions: list[str] = field(
        default_factory=lambda: ["depth", "local_image", "motion", "sketch", "single_sketch", "masked"]
    )  # videos it has encoders for
    concat_dim: int = 8  # channels of the encoded conditions, which stand behind the latents'
    condition_layers: int = 1  # layers over frames in each encoder
    condition_fusion: bool = False  # a 1x1 convolution back to in_channels before the first one (training from scratch)

    @property
    def first_channels(self) -> int:
        """Channels of what the first convolution reads."""
        return self.in_channels if self.condition_fusion else self.in_channels + self.concat_dim

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: as for every UNet, or a condition is unknown.
        """
        super().check()
        positive("unet", self, "concat_dim", "condition_layers")
        for name in self.conditions:
            if name not in SPATIAL_CONDITIONS:
                hint = did_you_mean(name, SPATIAL_CONDITIONS)
                raise UsageError(f"there is no condition '{name}'", where="unet.conditions", hint=hint)


def latent_multiple(params: UNet3DParams) -> int:
    """Return what the latents' height and width must be a multiple of."""
    return 2 ** (len(params.widths) - 1)


def check_latent_size(params: UNet3DParams, height: int, width: int) -> None:
    """Check that latents of this size can be halved at every level and matched on the way up.

    Raises:
        UsageError: ``height`` or ``width`` is not a positive multiple of :func:`latent_multiple`.
    """
    multiple = latent_multiple(params)
    for name, size in (("height", height), ("width", width)):
        if size <= 0 or size % multiple:
            low = max(size // multiple, 1) * multiple
            hint = f"The UNet halves latents {len(params.widths) - 1} times: use {low} or {low + multiple}."
            raise UsageError(f"a latent {name} of {size} is not a multiple of {multiple}", where=name, hint=hint)
