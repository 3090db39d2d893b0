"""A distillation step as one graph: clips to latents, prompts to text states, the student's loss and its rewards.

Shapes: b samples, latents (b c f h w), pixels (b f 3 H W).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.models.t2v_turbo.distillation import DistillationLoss, rows_of
from videogen_cli.nets.layers import constant
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell


class CachedMoments(Cell):
    """Clips that were encoded before training: what a batch holds are their latents' moments."""

    def construct(self, moments: Any, noise: Any) -> Any:
        """Return codes (b c f h w) of mean and standard deviation (b 2c f h w)."""
        mean, std = F.chunk(moments, 2, 1)
        return mean + std * noise


class EncodedPixels(Cell):
    """Clips that are encoded in each step, a few images at a time; no gradient reaches the autoencoder."""

    def __init__(self, vae: Any, per_call: int) -> None:
        super().__init__()
        self.vae, self.per_call = vae, per_call

    def construct(self, clips: Any, noise: Any) -> Any:
        """Return codes (b c f h w) of clips (b f 3 H W) in [-1, 1], for posterior noise of their shape."""
        b, f = clips.shape[:2]
        images = clips.reshape(b * f, *clips.shape[2:])
        means, deviations = (), ()
        for first in range(0, b * f, self.per_call):
            mean, logvar = self.vae.encode(images[first : first + self.per_call])
            means, deviations = (*means, mean), (*deviations, F.exp(0.5 * logvar))
        mean, std = F.concat(means, 0), F.concat(deviations, 0)
        grid = (b, f, *mean.shape[1:])
        mean, std = F.permute(mean.reshape(grid), (0, 2, 1, 3, 4)), F.permute(std.reshape(grid), (0, 2, 1, 3, 4))
        return F.stop_gradient(mean + std * noise)


class StageLoss(Cell):
    """The sum of distillation and of the rewards that are on.

    Args:
        source: turns clips into codes (:class:`CachedMoments`, :class:`EncodedPixels`).
        text: the text tower.
        agreement: a ``DistillationLoss``; or a ``Consistency``, where only rewards are learnt from.
        null_ids: token ids of the empty prompt (l,).
        mean: of codes per channel (c 1 1 1), subtracted to get latents.
        std: what codes are then divided by.
        image_reward: an ``ImageRewardLoss``, or None.
        video_reward: a ``VideoRewardLoss``, or None.
        drops: whether the student has dropout.
    """

    def __init__(
        self,
        source: Any,
        text: Any,
        agreement: Any,
        null_ids: np.ndarray,
        mean: np.ndarray,
        std: np.ndarray,
        image_reward: Any = None,
        video_reward: Any = None,
        drops: bool = False,
    ) -> None:
        super().__init__()
        self.source, self.text, self.agreement = source, text, agreement
        self.distils = isinstance(agreement, DistillationLoss)
        self.null_ids = constant(np.asarray(null_ids, np.int32)[None])
        self.mean, self.std = constant(np.asarray(mean, np.float32)), constant(np.asarray(std, np.float32))
        self.image_reward, self.video_reward, self.drops = image_reward, video_reward, drops

    def construct(
        self,
        clips: Any,
        posterior: Any,
        noise: Any,
        start: Any,
        end: Any,
        coefficients: Any,
        w: Any,
        guidance: Any,
        ids: Any,
        fps: Any,
        draws: Any,
        *judged: Any,
    ) -> Any:
        """Return the loss, and of what is on: the distillation loss, the image reward, the video reward.

        Args:
            clips: what ``source`` takes.
            posterior: noise of the codes (b c f h w).
            noise: of the forward process (b c f h w).
            start: timesteps (b,), see :class:`DistillationLoss`.
            end: timesteps (b,).
            coefficients: (b 10).
            w: guidance scales (b,).
            guidance: their embedding (b d).
            ids: the prompts' token ids (b l).
            fps: (b,).
            draws: what dropout's masks follow from (2 k), see ``nets.dropout.Masks``.
            judged: for the image reward, which samples (s,) and which of their frames (n,) are judged, and the
                samples' token ids (s k); for the video reward, samples, frames, the corner of the crop (2,), token
                ids (s k), and 1 for tokens and 0 for padding (s k).
        """
        latents = F.stop_gradient((self.source(clips, posterior) - self.mean) / self.std)
        row = rows_of(coefficients)
        noisy = row[2] * latents + row[3] * noise
        states: Any = F.stop_gradient(self.text(F.concat([ids, self.null_ids], 0)))
        context, null = states[:-1], F.broadcast_to(states[-1:], (ids.shape[0], *states.shape[1:]))
        masks = (draws[0], draws[1]) if self.drops else (None, None)
        parts = ()
        if self.distils:
            loss, predicted, _, _ = self.agreement(
                noisy, start, end, coefficients, w, guidance, context, null, fps, masks
            )
            parts = (loss,)
        else:
            predicted = self.agreement(noisy, start, row[:4], context, fps, guidance, masks[0])
            loss = 0.0
        if self.image_reward is not None:
            chosen = F.take(predicted, judged[0], 0)
            penalty, score = self.image_reward(chosen, judged[1], judged[2])
            loss, parts = loss + penalty, (*parts, score)
        if self.video_reward is not None:
            shown = judged[-5:]
            penalty, score = self.video_reward(F.take(predicted, shown[0], 0), *shown[1:])
            loss, parts = loss + penalty, (*parts, score)
        return (loss, *parts)
