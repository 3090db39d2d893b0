"""DEMO's training losses (arXiv 2410.24219, section 3; upstream tools/train/{train_t2v_deepspeed,loss_utils}.py).

Shapes: b samples, c channels, f frames, h w latents, l tokens. All but the last class return one value per sample.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.models.demo import LossConfig
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

KINDS = ("mse", "l1", "rescaled_mse", "rescaled_l1")  # rescaled ones differ in a learned variance only, never used here
SMALLEST_FLOW_INPUT = 128  # pixels; what RAFT's four levels need


def diffusion(output: Any, target: Any, kind: str = "mse") -> Any:
    """Return the mean squared (or absolute) difference (b,); arrays and tensors alike.

    Raises:
        DataError: ``kind`` is not one of ``KINDS``.
    """
    if kind not in KINDS:
        raise DataError(f"there is no loss '{kind}'", where="loss_type", hint=did_you_mean(kind, KINDS))
    error = (output - target).reshape(output.shape[0], -1)
    return abs(error).mean(1) if kind.endswith("l1") else (error * error).mean(1)


def video_motion(output: Any, target: Any) -> Any:
    """Return how the sizes of differences between consecutive frames differ (b,), of (b c f h w)."""
    moved = abs(output[:, :, 1:] - output[:, :, :-1]) - abs(target[:, :, 1:] - target[:, :, :-1])
    return (moved * moved).reshape(output.shape[0], -1).mean(1)


def stillness(x0: Any) -> Any:
    """Return a penalty (b,) on clean latents (b c f h w) that change little over frames (``use_div_loss``)."""
    f = x0.shape[2]
    centred = x0 - F.mean(x0, 2, True)
    deviation = ((centred * centred).sum(2) / (f - 1)) ** 0.5
    return 0.001 / (deviation.reshape(x0.shape[0], -1).mean(1) + 1e-4)


def regularization(states: Any, end: Any, image: Any) -> Any:
    """Return the negative cosine (b,) of the motion text's state at ``end`` (b,) and its video's image features (b d).

    The state (b l d) is not projected, the features are projected and not normalised.
    """
    return -_cosine(F.take_row(states, end), image)


class TextMotion(Cell):
    """How little attention to the end of the motion text moves as the video does."""

    def __init__(self, raft: Any) -> None:
        super().__init__()
        self.raft = raft

    def video_flow(self, frames: Any) -> Any:
        """Return the flow (b f-1 2 h w) between frames (b f 3 h w), enlarged if they are too small to see flow in."""
        b, f, c, height, width = frames.shape
        if height < SMALLEST_FLOW_INPUT:
            size = (SMALLEST_FLOW_INPUT, SMALLEST_FLOW_INPUT)
            frames = F.resize(frames.reshape(b * f, c, height, width), size, "bilinear").reshape(b, f, c, *size)
        return self.raft.video_flow(frames)

    def construct(self, flow: Any, maps: Any) -> Any:
        """Return the negative mean cosine (b,) of the video's ``flow`` (b f-1 2 H W) and that of ``maps``.

        Maps (b h w f) of the same height are averaged first. The video's flow is resized, its values are not rescaled.
        """
        total, seen = 0.0, ()
        for first in maps:
            if first.shape[1] not in seen:
                seen = (*seen, first.shape[1])
                total = total + self.agreement(flow, _mean_of_height(maps, first.shape[1]))
        return total * (-1.0 / len(seen))

    def agreement(self, flow: Any, attention: Any) -> Any:
        """Return the cosine (b,) of the flow (b f-1 2 H W) and that of the attention (b h w f)."""
        b, h, w, f = attention.shape
        frames = F.broadcast_to(attention.permute(0, 3, 1, 2).reshape(b, f, 1, h, w), (b, f, 3, h, w))
        moved = self.video_flow(frames)
        height, width = moved.shape[3], moved.shape[4]
        if flow.shape[3] != height or flow.shape[4] != width:
            flow = F.resize(flow.reshape(-1, 2, flow.shape[3], flow.shape[4]), (height, width), "bilinear")
        return _cosine(moved.reshape(b, -1), flow.reshape(b, -1))


class DemoLoss(Cell):
    """The whole loss of a batch: what trains the UNet's motion blocks and the motion encoder."""

    def __init__(self, unet: Any, motion: Any, raft: Any, config: LossConfig, kind: str = "mse") -> None:
        super().__init__()
        self.unet, self.motion, self.text_motion = unet, motion, TextMotion(raft)
        self.config, self.kind = config, kind

    def construct(
        self,
        noisy: Any,
        timesteps: Any,
        target: Any,
        content: Any,
        tokens: Any,
        end: Any,
        image: Any,
        flow: Any,
    ) -> Any:
        """Return the loss, then its parts before weighting (b,), then the motion text's states (b l d).

        Args:
            noisy: latents (b c f h w) at ``timesteps`` (b,).
            timesteps: diffusion steps.
            target: what the UNet should predict, shaped like ``noisy``.
            content: states of the captions, or of the negative prompt where they are dropped (b l d).
            tokens: ids of the captions (b l), for the motion encoder.
            end: place of each caption's end (b,).
            image: CLIP features of each video's middle frame (b d).
            flow: of each video (b f-1 2 H W), see :meth:`TextMotion.video_flow`.
        """
        states = self.motion(tokens)
        output, maps = self.unet(noisy, timesteps, content, None, None, None, states, end)
        if self.config.detach_attention:
            cut = ()
            for seen in maps:
                cut = (*cut, F.stop_gradient(seen))
            maps = cut
        denoising, moving = diffusion(output, target, self.kind), video_motion(output, target)
        following, staying = self.text_motion(flow, maps), regularization(states, end, image)
        total = (
            denoising
            + self.config.video_motion * moving
            + self.config.text_motion * following
            + self.config.regularization * staying
        )
        return total.mean(), denoising, moving, following, staying, states


def _mean_of_height(maps: Any, height: int) -> Any:
    """Return the mean of the maps (b h w f) of one height."""
    chosen = [seen for seen in maps if seen.shape[1] == height]
    total = chosen[0]
    for seen in chosen[1:]:
        total = total + seen
    return total * (1.0 / len(chosen))


def _cosine(x: Any, y: Any) -> Any:
    """Return the cosines (b,) of the rows of x and y (b d); lengths count as at least 1e-8."""
    lengths = F.sqrt(F.maximum((x * x).sum(1), 1e-16)) * F.sqrt(F.maximum((y * y).sum(1), 1e-16))
    return (x * y).sum(1) / lengths
