"""Euler's method over noise levels, plain and ancestral (Karras et al. 2022, arXiv:2206.00364; k-diffusion)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.solvers.base import SigmaSolver, SpacedOptions, ancestral, required
from videogen_cli.errors import UsageError, did_you_mean

INTERPOLATIONS = ("linear", "log_linear")
TIMESTEP_TYPES = ("discrete", "continuous")
_MOST_CHURN = 2**0.5 - 1


@dataclass(frozen=True)
class EulerOptions(SpacedOptions):
    """Options of :class:`Euler`; the last four are of its steps (Karras et al. 2022, algorithm 2)."""

    timestep_spacing: str = "linspace"
    interpolation_type: str = "linear"  # of noise levels between timesteps: linear | log_linear
    use_karras_sigmas: bool = False
    sigma_min: float | None = None  # ends of Karras' levels; None = those of the schedule
    sigma_max: float | None = None
    timestep_type: str = "discrete"  # what a v-predicting network is given: discrete | continuous, log(sigma) / 4
    rescale_betas_zero_snr: bool = False
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = float("inf")
    s_noise: float = 1.0


@dataclass(frozen=True)
class EulerAncestralOptions(SpacedOptions):
    """Options of :class:`EulerAncestral`."""

    timestep_spacing: str = "linspace"
    rescale_betas_zero_snr: bool = False


class Euler(SigmaSolver):
    """One call per step, with as much noise put back before it as ``s_churn`` says.

    Raises:
        UsageError: an unknown interpolation or kind of timestep.
    """

    options_type = EulerOptions
    options: EulerOptions
    keeps_signal = True

    def __init__(self, options: EulerOptions, steps: int) -> None:
        super().__init__(options, steps)
        for name, known in (("interpolation_type", INTERPOLATIONS), ("timestep_type", TIMESTEP_TYPES)):
            if (word := getattr(options, name)) not in known:
                raise UsageError(
                    f"'{word}' is not one of {', '.join(known)}", where=name, hint=did_you_mean(word, known)
                )
        timesteps, sigmas = self.levels()
        if options.timestep_type == "continuous" and options.prediction_type == "v_prediction":
            timesteps = 0.25 * np.log(sigmas)
        self.timesteps = timesteps.astype(np.float32)
        self.start_from(np.append(sigmas, 0.0))

    def interpolate(self, timesteps: np.ndarray) -> np.ndarray:
        """Return the noise levels at ``timesteps``; ``log_linear`` ones are one more, as upstream."""
        if self.options.interpolation_type == "linear":
            return super().interpolate(timesteps)
        highest, lowest = np.log(self.table[[-1, 0]].astype(np.float64))
        return np.exp(np.linspace(highest, lowest, self.steps + 1))

    def _churn(self, index: int) -> float:
        options, sigma = self.options, float(self.sigmas[index])
        inside = options.s_tmin <= sigma <= options.s_tmax
        return min(options.s_churn / (len(self.sigmas) - 1), _MOST_CHURN) if inside else 0.0

    def draws(self, index: int) -> bool:
        """Steps with churn do."""
        return self._churn(index) > 0

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next level; see :meth:`Solver.step`."""
        sigma, following = self.level(index), self.level(index + 1)
        raised = sigma * (self._churn(index) + 1)
        if self.draws(index):
            latents = latents + self.options.s_noise * required(noise, index) * (raised**2 - sigma**2) ** 0.5
        # upstream raises the level for noise predictions only
        level = raised if self.options.prediction_type == "epsilon" else sigma
        slope = (latents - self.denoised(prediction, latents, level)) / raised
        return latents + slope * (following - raised), None


class EulerAncestral(SigmaSolver):
    """Each step goes below the next level, and adds noise up to it."""

    options_type = EulerAncestralOptions
    options: EulerAncestralOptions
    predictions = ("epsilon", "v_prediction")
    keeps_signal = True

    def __init__(self, options: EulerAncestralOptions, steps: int) -> None:
        super().__init__(options, steps)
        self.timesteps, sigmas = self.levels()
        self.start_from(np.append(sigmas, 0.0))

    def draws(self, index: int) -> bool:
        """All do; the last multiplies by 0."""
        return True

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next level; see :meth:`Solver.step`."""
        sigma = self.level(index)
        down, up = ancestral(sigma, self.level(index + 1))
        slope = (latents - self.denoised(prediction, latents, sigma)) / sigma
        return latents + slope * (down - sigma) + required(noise, index) * up, None
