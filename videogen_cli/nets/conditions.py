"""VideoComposer's conditions: encoders of videos that steer each place and moment, and the UNet that reads them.

Wang et al., "VideoComposer" (arXiv 2306.02018), section 3.2; ali-vilab/videocomposer tools/videocomposer/unet_sd.py
(UNetSD_temporal, Transformer_v2).
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Conv2d, LayerNorm, Linear, Sequential, SiLU
from videogen_cli.nets.params.unet3d import SPATIAL_CONDITIONS, TOKEN_CONDITIONS, ConditionedUNet3DParams
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList

_HEADS = 2
_HALVE = {"stride": 2, "padding": (1, 1, 1, 1)}


class FrameLayer(Cell):
    """Attention among the frames at a place, with a norm before it, then two layers without one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _HEADS * width
        self.norm = LayerNorm(width)
        self.to_qkv = Linear(width, 3 * inner, bias=False)
        self.to_out = Linear(inner, width)
        self.widen = Linear(width, 4 * width)
        self.narrow = Linear(4 * width, width)

    def construct(self, x: Any) -> Any:
        """Map x (n f width) to itself."""
        q, k, v = F.chunk(self.to_qkv(self.norm(x)), 3, -1)
        x = self.to_out(F.attention(q, k, v, _HEADS)) + x
        return self.narrow(F.gelu(self.widen(x))) + x


class ConditionEncoder(Cell):
    """The spatio-temporal condition encoder: convolutions down to the latents' size, then layers over frames."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, 4 * width)
        self.conv2 = Conv2d(4 * width, 4 * width, **_HALVE)
        self.conv3 = Conv2d(4 * width, width, **_HALVE)
        self.layers = CellList([FrameLayer(width) for _ in range(layers)])

    def construct(self, video: Any, height: int, width: int) -> Any:
        """Map video (b channels f H W) of any size to (b width f height width), the latents' size."""
        b, c, f, rows, columns = video.shape
        x = F.silu(self.conv1(F.permute(video, (0, 2, 1, 3, 4)).reshape(b * f, c, rows, columns)))
        x = self.conv3(F.silu(self.conv2(F.average_pool(x, (4 * height, 4 * width)))))
        x = F.permute(x.reshape(b, f, -1, height * width), (0, 3, 1, 2)).reshape(b * height * width, f, -1)
        for layer in self.layers:
            x = layer(x)
        return F.permute(x.reshape(b, height, width, f, -1), (0, 4, 3, 1, 2))


class Conditions(Cell):
    """All encoders, and the layers that make a token of a style image's features."""

    def __init__(self, params: ConditionedUNet3DParams) -> None:
        super().__init__()
        width = params.context_dim
        self.image = Sequential(Linear(width, width), SiLU(), Linear(width, width))
        encoders = []
        for name, channels in SPATIAL_CONDITIONS.items():
            if name in params.conditions:
                encoder = ConditionEncoder(channels, params.concat_dim, params.condition_layers)
                setattr(self, name, encoder)
                encoders.append(encoder)
            else:
                encoders.append(None)
        self.encoders = tuple(encoders)

    def construct(self, videos: Any, height: int, width: int, keep: Any = None) -> Any:
        """Return the sum (b concat_dim f height width) of the encoded ``videos``; None when there are none.

        Args:
            videos: one for each of ``SPATIAL_CONDITIONS``, or None in its place.
            height: of the latents.
            width: of the latents.
            keep: (b 2+n) factors of the text, the image and the videos, see :class:`ConditionedUNet3D`.
        """
        total = None
        for index, video in enumerate(videos):
            if video is not None:
                encoded = self.encoders[index](video, height, width)
                if keep is not None:
                    encoded = encoded * keep[:, len(TOKEN_CONDITIONS) + index].reshape(-1, 1, 1, 1, 1)
                total = encoded if total is None else total + encoded
        return total

    def tokens(self, text: Any, image: Any, keep: Any) -> Any:
        """Return the context (b l d): text states, and a token of the image's features (b 1 d) if there are any."""
        parts = (text,) if keep is None else (text * keep[:, 0].reshape(-1, 1, 1),)
        if image is not None:
            token = self.image(image)
            parts = (*parts, token if keep is None else token * keep[:, 1].reshape(-1, 1, 1))
        return F.concat(parts, 1) if len(parts) > 1 else parts[0]


class ConditionedUNet3D(UNet3D):
    """The latent video UNet with encoded conditions concatenated to its latents."""

    def __init__(self, params: ConditionedUNet3DParams) -> None:
        super().__init__(params)
        self.concat_dim = params.concat_dim
        self.conditions = Conditions(params)
        fused = Conv2d(params.in_channels + params.concat_dim, params.in_channels, kernel=1)
        self.fusion = fused if params.condition_fusion else None

    def construct(
        self,
        latents: Any,
        timesteps: Any,
        context: Any,
        image: Any = None,
        depth: Any = None,
        local_image: Any = None,
        motion: Any = None,
        canny: Any = None,
        sketch: Any = None,
        single_sketch: Any = None,
        masked: Any = None,
        fps: Any = None,
        keep: Any = None,
    ) -> Any:
        """Return the prediction, shaped like the latents. Every condition but the text may be left out.

        Args:
            latents: (b c f h w).
            timesteps: (b,) diffusion steps.
            context: text states (b l context_dim); without a text, those of the empty one.
            image: features (b 1 context_dim) of a style image.
            depth: (b 1 f H W), as are ``canny``, ``sketch`` and ``single_sketch`` (one sketch for all frames); the
                videos need not be of one size.
            local_image: (b 3 f H W) in [0, 1], one image for all frames.
            motion: (b 2 f H W) motion vectors in pixels, horizontal first.
            canny: see ``depth``.
            sketch: see ``depth``.
            single_sketch: see ``depth``.
            masked: (b 4 f H W) frames in [-1, 1] times what is kept, then what is kept (0 or 1).
            fps: (b,) frames per second, for a UNet with ``fps_condition``.
            keep: (b 9) factors 0 or 1 of what is dropped in training: the text states, the image's token, and the
                encoded videos in the order above. None keeps all.
        """
        b, _, f, height, width = latents.shape
        videos = (depth, local_image, motion, canny, sketch, single_sketch, masked)
        hints = self.conditions(videos, height, width, keep)
        if hints is None:
            hints = F.zeros((b, self.concat_dim, f, height, width), latents.dtype)
        x = F.concat([latents, hints.astype(latents.dtype)], 1)
        if self.fusion is not None:
            x = self.fusion(F.permute(x, (0, 2, 1, 3, 4)).reshape(b * f, -1, height, width))
            x = F.permute(x.reshape(b, f, -1, height, width), (0, 2, 1, 3, 4))
        emb = self.embed(timesteps, fps, None, None, latents.dtype)
        return self.denoise(x, emb, self.conditions.tokens(context, image, keep))
