"""The training loss of :class:`videogen_cli.diffusion.gaussian.GaussianDiffusion`, as a part of a graph."""

from __future__ import annotations

import math
from typing import Any

from videogen_cli.diffusion.gaussian import Coefficients, GaussianDiffusion
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

_LEAST_PROBABILITY = 1e-12
_HALF_BIN = 1 / 255  # latents are binned like 8 bit pixels in [-1, 1]
_EDGE = 0.999  # bins beyond reach to infinity


class GaussianLoss(Cell):
    """Mean squared error of the prediction, plus the variational bound that a learned variance is trained on.

    In the losses ``mse`` and ``rescaled_mse`` the bound's gradient does not reach the prediction (Nichol & Dhariwal
    2021, section 3.1: the hybrid loss, here with weight 1, or ``steps / 1000``); ``rescaled_kl`` is the bound alone,
    times the number of steps.
    """

    def __init__(self, diffusion: GaussianDiffusion) -> None:
        super().__init__()
        self.predicts_x0, self.variance = diffusion.predicts_x0, diffusion.variance
        self.learned = diffusion.variance == "learned_range"
        self.bound_only = diffusion.loss == "rescaled_kl"
        self.weight = {"mse": 1.0, "rescaled_mse": diffusion.steps / 1000, "rescaled_kl": float(diffusion.steps)}[
            diffusion.loss
        ]

    def construct(self, output: Any, x0: Any, xt: Any, noise: Any, tables: Any) -> Any:
        """Compare.

        Args:
            output: the network's, (b c or 2c f h w).
            x0: clean latents (b c f h w).
            xt: noisy latents, of the same shape.
            noise: what was added, of the same shape.
            tables: rows of :attr:`GaussianDiffusion.tables` (b n).

        Returns:
            The loss, mean squared error and bound (bits per element) of each sample, each (b,); there is no bound, but
            0, without a learned variance.
        """
        prediction, share = output, None
        if self.learned:
            prediction, share = F.chunk(output, 2, 1)
        target = x0 if self.predicts_x0 else noise
        mse = _mean_of_samples((target - prediction) * (target - prediction))
        if self.bound_only:
            bound = self.weight * self.bound(prediction, share, x0, xt, tables)
            return bound, mse, bound
        if not self.learned:
            return mse, mse, mse * 0.0
        bound = self.weight * self.bound(F.stop_gradient(prediction), share, x0, xt, tables)
        return mse + bound, mse, bound

    def bound(self, prediction: Any, share: Any, x0: Any, xt: Any, tables: Any) -> Any:
        """Return (b,) KL(q(x_{t-1} | x_t, x_0) || p) in bits, and at the last step -log p(x_0)."""
        b = tables.shape[0]
        at = Coefficients(*[tables[:, i].reshape(b, 1, 1, 1, 1) for i in range(tables.shape[1])])
        mean = at.mean(prediction if self.predicts_x0 else at.clean(xt, prediction), xt)
        log_variance = at.log_variance(self.variance, share)
        divergence = _divergence(at.mean(x0, xt), at.least_log, mean, log_variance)
        surprise = _surprise(x0, mean, 0.5 * log_variance)
        return _mean_of_samples(F.where(at.first > 0.5, surprise, divergence)) / math.log(2.0)


def _mean_of_samples(x: Any) -> Any:
    """Return the mean of each sample, (b,) for (b ...)."""
    return x.reshape(x.shape[0], -1).mean(1)


def _divergence(mean: Any, log_variance: Any, other: Any, other_log_variance: Any) -> Any:
    """Return the Kullback-Leibler divergence of two normal distributions, in nats."""
    gap = mean - other
    ratio = F.exp(log_variance - other_log_variance)
    return 0.5 * (other_log_variance - log_variance - 1.0 + ratio + gap * gap * F.exp(-other_log_variance))


def _surprise(x: Any, mean: Any, log_scale: Any) -> Any:
    """Return minus the log probability of the bin that ``x`` lies in, in nats (Ho et al. 2020, equation 13)."""
    inverse = F.exp(-log_scale)
    below = _normal_distribution(inverse * (x - mean + _HALF_BIN))
    above = _normal_distribution(inverse * (x - mean - _HALF_BIN))
    inside = F.where(x > _EDGE, 1.0 - above, below - above)
    return -F.log(F.maximum(F.where(x < -_EDGE, below, inside), _LEAST_PROBABILITY))


def _normal_distribution(x: Any) -> Any:
    """Return the normal distribution function by the original's tanh formula, which is 3e-4 off."""
    return 0.5 * (1.0 + F.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
