"""What the TAE is trained on: reconstruction, perceptual distance, divergence from the prior, and outliers.

Polyak et al., arXiv 2410.13720, section 3.1.1; upstream mindspore-lab/mindone, examples/moviegen/mg/models/tae/
losses.py (``GeneratorWithLoss``). There is no adversarial part.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.models.moviegen.params_tae import TAELossParams
from videogen_cli.nets.lpips import LPIPS
from videogen_cli.nets.tae import TemporalAutoencoder
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

_TINY = 1e-12  # keeps the gradient of a channel without variance 0 instead of undefined


class TAELoss(Cell):
    """The loss of a batch of videos, and its parts."""

    def __init__(self, tae: TemporalAutoencoder, lpips: LPIPS, params: TAELossParams) -> None:
        super().__init__()
        self.tae, self.lpips, self.params = tae, lpips, params

    def construct(self, video: Any, noise: Any) -> tuple[Any, ...]:
        """Return (loss without outliers, loss, reconstruction part, divergence part, outliers, l1, distance, recon, z).

        ``video`` is (b 3 f h w) in [-1, 1], ``noise`` standard normal of the latents' shape. Sums run over pixels,
        channels and latents, and are divided by the number of frames; the parts are weighted, ``outliers`` is not;
        ``l1`` is the absolute error summed per frame, ``distance`` (b*f 1 1 1).
        """
        params = self.params
        recon, latents, mean, logvar = self.tae(video, noise)
        frames, recon_frames = _as_images(video), _as_images(recon)
        count = frames.shape[0]
        error = (frames - recon_frames).abs()
        distance = self.lpips(frames, recon_frames)
        spread = F.exp(F.zeros((1,), error.dtype) + params.logvar)
        likelihood = ((error + params.perceptual_weight * distance) / spread + params.logvar).sum() / count
        divergence = params.kl_weight * 0.5 * (mean * mean + F.exp(logvar) - 1.0 - logvar).sum() / count
        outliers = outlier_penalty(latents, params.outlier_limit)
        loss = likelihood + divergence
        total = loss + params.outlier_weight * outliers
        return loss, total, likelihood, divergence, outliers, error.sum() / count, distance, recon, latents


def outlier_penalty(latents: Any, limit: float) -> Any:
    """Return by how much latents (b c f h w) exceed ``limit`` standard deviations from their channel's mean.

    Mean and (population) standard deviation are those of each channel of each frame; the excess is averaged over all.
    """
    centred = latents - F.mean(latents, (3, 4), True)
    spread = F.sqrt(F.maximum(F.mean(centred * centred, (3, 4), True), _TINY))
    return F.mean(F.relu(centred.abs() - limit * spread))


def _as_images(video: Any) -> Any:
    """Return the frames of (b c f h w) one after the other: (b*f c h w)."""
    b, c, f, h, w = video.shape
    return video.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w)
