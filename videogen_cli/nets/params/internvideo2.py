"""Sizes of InternVideo2."""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.bert import BertParams
from videogen_cli.nets.params.checks import positive


@dataclass
class VideoTowerParams:
    """InternVideo2's video tower; defaults are the 1B model's, of 8 frames."""

    image_size: int = 224  # pixels, height and width
    patch_size: int = 14
    tubelet_size: int = 1  # frames per token
    num_frames: int = 8
    origin_num_frames: int = 4  # what the positions in the file were trained for; others interpolate them
    width: int = 1408
    depth: int = 40
    heads: int = 16
    mlp_width: int = 6144
    qkv_bias: bool = False
    qk_norm: bool = True  # queries and keys are normalised over all heads together
    layer_scale: bool = True
    layer_scale_start: float = 1e-5  # before training; a shallow tower sees motion sooner with more
    image_positions: bool = True  # single images have positions of their own
    pool_heads: int = 16  # of the attention that pools tokens
    pool_width: int = 768  # of what it gives

    @property
    def grid(self) -> int:
        """Patches along height, and along width."""
        return self.image_size // self.patch_size

    @property
    def times(self) -> int:
        """Tokens along time."""
        return self.num_frames // self.tubelet_size

    @property
    def origin_times(self) -> int:
        """Tokens along time that the file has positions for."""
        return self.origin_num_frames // self.tubelet_size

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, heads do not divide the width, or frames or pixels not into tokens.
        """
        where = "video"
        positive(where, self, "image_size", "patch_size", "tubelet_size", "num_frames", "origin_num_frames", "width")
        positive(where, self, "depth", "heads", "mlp_width", "pool_heads", "pool_width")
        for key in ("heads", "pool_heads"):
            if self.width % getattr(self, key):
                what = f"a width of {self.width} does not divide into {getattr(self, key)} heads"
                raise UsageError(what, where=f"{where}.{key}")
        if self.image_size % self.patch_size:
            what = f"{self.image_size} pixels do not divide into patches of {self.patch_size}"
            raise UsageError(what, where=f"{where}.image_size")
        for key in ("num_frames", "origin_num_frames"):
            if getattr(self, key) % self.tubelet_size:
                what = f"{getattr(self, key)} frames do not divide into groups of {self.tubelet_size}"
                raise UsageError(what, where=f"{where}.{key}")


@dataclass
class InternVideo2Params:
    """InternVideo2 stage 2: video and text towers, and the space they meet in; defaults are the 1B model's."""

    video: VideoTowerParams = field(default_factory=VideoTowerParams)
    text: BertParams = field(default_factory=BertParams)
    embed_dim: int = 512  # width of the joint video-text space
    max_text_length: int = 40  # tokens a prompt is padded or cut to

    def check(self) -> None:
        """Check that both towers exist.

        Raises:
            UsageError: a tower does not exist, or a size is not positive.
        """
        positive("internvideo2", self, "embed_dim", "max_text_length")
        self.video.check()
        self.text.check()
