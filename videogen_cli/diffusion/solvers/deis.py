"""DEIS (Zhang & Chen 2023, arXiv:2204.13902): the noise as a polynomial in the logarithm of the noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import predict_noise, predict_x0
from videogen_cli.diffusion.solvers.base import Solver, SpacedOptions, ThresholdOptions, bounded, sigma_table
from videogen_cli.diffusion.solvers.dpm import FEW_STEPS, alpha_sigma, step_weights
from videogen_cli.diffusion.solvers.timesteps import at_timesteps, karras, spaced, to_timesteps
from videogen_cli.errors import UsageError

# the only ones there are, and the words of other solvers that diffusers takes for them
_ALGORITHMS = ("deis", "dpmsolver", "dpmsolver++")
_RULES = ("logrho", "midpoint", "heun", "bh1", "bh2")


@dataclass(frozen=True)
class DEISOptions(ThresholdOptions, SpacedOptions):
    """Options of :class:`DEIS`."""

    timestep_spacing: str = "linspace"
    solver_order: int = 2  # 1 to 3
    algorithm_type: str = "deis"
    solver_type: str = "logrho"
    lower_order_final: bool = True  # with few steps, lower orders at the end
    use_karras_sigmas: bool = False


class DEIS(Solver):
    """Multistep log-rho DEIS; ``state`` holds the noise estimates of the last steps.

    Raises:
        UsageError: an unknown word, or an order that is not 1 to 3.
    """

    options_type = DEISOptions
    options: DEISOptions

    def __init__(self, options: DEISOptions, steps: int) -> None:
        super().__init__(options, steps)
        for name, known in (("algorithm_type", _ALGORITHMS), ("solver_type", _RULES), ("solver_order", (1, 2, 3))):
            if (value := getattr(options, name)) not in known:
                raise UsageError(f"'{value}' is not one of {', '.join(map(str, known))}", where=name)
        table = sigma_table(self.schedule)
        timesteps = spaced(
            options.timestep_spacing, steps, options.num_train_timesteps, offset=options.steps_offset, spare=1
        )
        sigmas = at_timesteps(table, timesteps)
        if options.use_karras_sigmas:
            sigmas = karras(float(table[-1]), float(table[0]), steps)
            timesteps = to_timesteps(table, sigmas).round()
        self.timesteps = timesteps.astype(np.int64)
        self.sigmas = np.append(sigmas, sigmas[-1] if options.use_karras_sigmas else table[0]).astype(np.float32)

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next level; see :meth:`Solver.step`."""
        options = self.options
        levels, arrival = self.sigmas[index::-1][: options.solver_order], self.sigmas[index + 1 : index + 2]
        (alpha, sigma), (arrival_alpha, arrival_sigma) = alpha_sigma(levels), alpha_sigma(arrival)
        point = alpha[:1], sigma[:1]
        denoised = bounded(predict_x0(prediction, latents, *point, options.prediction_type), options)
        estimates = (*(state or ()), predict_noise(denoised, latents, *point, "sample"))[-options.solver_order :]
        left = len(self.timesteps) - index
        few = options.lower_order_final and len(self.timesteps) < FEW_STEPS
        order = min(len(estimates), left) if few else len(estimates)
        if order == 1:
            weights = step_weights("dpmsolver", levels[:1], arrival)
            return weights.latents * latents + weights.mean * estimates[-1], estimates
        moved = latents / alpha[:1]
        weights = _integrals((sigma / alpha)[:order], arrival_sigma / arrival_alpha)
        for weight, past in zip(weights, reversed(estimates), strict=False):
            moved = moved + weight * past
        return arrival_alpha * moved, estimates


def _integrals(levels: np.ndarray, arrival: np.ndarray) -> list[np.ndarray]:
    """Integrate, from the first of ``levels`` to ``arrival``, the polynomials in log(level) that interpolate there.

    Returns:
        For every one of ``levels`` (2 or 3 of them) the integral of the Lagrange polynomial that is 1 there and 0 at
        the others, (1,).
    """
    logs, weights = np.log(levels), []
    for index, log in enumerate(logs):
        others = np.roll(logs, -index)[1:]
        height = np.prod(log - others, dtype=np.float32)
        weights.append(_antiderivative(arrival, others) / height - _antiderivative(levels[:1], others) / height)
    return weights


def _antiderivative(level: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Return that of the product of (log(level) - root), over one or two ``roots``, with respect to the level."""
    log = np.log(level)
    if len(roots) == 1:
        return level * (-roots[0] + log - 1)
    c, d = roots[:1], roots[1:]
    return level * (c * (d - log + 1) - d * log + d + log**2 - 2 * log + 2)
