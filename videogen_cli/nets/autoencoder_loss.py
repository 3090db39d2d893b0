"""The loss that video autoencoders are trained on (Esser et al. 2020, arXiv:2012.09841; Open-Sora-Plan's for clips).

Source: PKU-YuanGroup/Open-Sora-Plan v1.0.0, opensora/models/ae/videobase/losses/perceptual_loss.py.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.discriminators import PatchDiscriminator
from videogen_cli.nets.lpips import LPIPS
from videogen_cli.nets.params.autoencoder_loss import AutoencoderLossParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, Init, parameter

MAX_ADAPTIVE_WEIGHT = 1e4


class AutoencoderLoss(Cell):
    """Parts of the loss of clips x (b c f h w) and their reconstructions y, both in [-1, 1].

    Raises:
        UsageError: there is no such loss (see the params' ``check``).
    """

    def __init__(self, params: AutoencoderLossParams) -> None:
        super().__init__()
        params.check()
        self.perceptual_weight, self.kl_weight = params.perceptual_weight, params.kl_weight
        self.hinge, self.by_frame = params.disc_loss == "hinge", not params.discriminator.video
        self.logvar = parameter((), Init("normal", 0.0, mean=params.logvar_init))
        self.perceptual_loss = LPIPS(params.perceptual)
        self.discriminator: Any = PatchDiscriminator(params.discriminator) if params.adversarial else None

    def reconstruction(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """Return the negative log-likelihood per frame, the mean error with the distance in it, and the mean distance.

        The distance of a frame is added to the error of each of its values, which the likelihood sums.
        """
        x, y = frames(x), frames(y)
        error, distance = (x - y).abs(), 0.0 * self.logvar
        if self.perceptual_weight > 0:
            distance = self.perceptual_loss(x, y)
            error = error + self.perceptual_weight * distance
        nll = (error / F.exp(self.logvar) + self.logvar).sum() / x.shape[0]
        return nll, F.mean(error), F.mean(distance)

    def generator(self, x: Any, y: Any, mean: Any, logvar: Any, adversarial_weight: Any) -> tuple[Any, ...]:
        """Return the autoencoder's loss, then likelihood, divergence, mean error, mean distance and adversarial part.

        ``mean`` and ``logvar`` (b ...) are the posterior's; ``adversarial_weight`` multiplies the last part.
        """
        nll, error, distance = self.reconstruction(x, y)
        kl = kl_divergence(mean, logvar)
        loss = nll + self.kl_weight * kl
        if self.discriminator is None:
            return loss, nll, kl, error, distance, 0.0 * self.logvar
        doubt = self.doubt(y)
        return loss + adversarial_weight * doubt, nll, kl, error, distance, doubt

    def doubt(self, y: Any) -> Any:
        """Return how little the discriminator takes reconstructions for real: minus its mean logit."""
        return -F.mean(self.logits(y))

    def judgement(self, x: Any, y: Any, factor: Any) -> tuple[Any, Any, Any]:
        """Return the discriminator's loss times ``factor``, and its mean logits of clips and of reconstructions."""
        real, fake = self.logits(F.stop_gradient(x)), self.logits(F.stop_gradient(y))
        if self.hinge:
            loss = F.mean(F.relu(1.0 - real)) + F.mean(F.relu(1.0 + fake))
        else:
            loss = F.mean(softplus(-real)) + F.mean(softplus(fake))
        return factor * 0.5 * loss, F.mean(real), F.mean(fake)

    def logits(self, x: Any) -> Any:
        """Return the discriminator's logits of clips, for a 2D one of their frames."""
        return self.discriminator(frames(x) if self.by_frame else x)


def kl_divergence(mean: Any, logvar: Any) -> Any:
    """Return the divergence of diagonal normal posteriors (b ...) from the standard normal, per sample."""
    return 0.5 * (mean * mean + F.exp(logvar) - 1.0 - logvar).sum() / mean.shape[0]


def adaptive_weight(nll_gradient: Any, adversarial_gradient: Any) -> Any:
    """Return by what the adversarial part is multiplied so that both pull at the last layer with equal strength.

    Args:
        nll_gradient: of the likelihood by the last layer's weight, any shape.
        adversarial_gradient: of the adversarial part by the same.

    Returns:
        A number in [0, 1e4] that passes no gradient on (Esser et al., equation 7).
    """
    ratio = _length(nll_gradient) / (_length(adversarial_gradient) + 1e-4)
    return F.stop_gradient(ratio.clip(0.0, MAX_ADAPTIVE_WEIGHT))


def adversarial_factor(params: AutoencoderLossParams, step: int) -> float:
    """Return by what the discriminator's losses are multiplied at a step: nothing before it counts."""
    return params.disc_factor if step >= params.disc_start else 0.0


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)) without overflow."""
    return F.relu(x) + F.log(1.0 + F.exp(-x.abs()))


def frames(x: Any) -> Any:
    """Turn clips (b c f h w) into ((b f) c h w)."""
    b, c, f, height, width = x.shape
    return F.permute(x, (0, 2, 1, 3, 4)).reshape(b * f, c, height, width)


def _length(gradient: Any) -> Any:
    return F.sqrt((gradient * gradient).sum())
