"""DDIM (Song et al. 2021, arXiv:2010.02502) and DDPM (Ho et al. 2020, arXiv:2006.11239) at chosen timesteps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.samplers import ddim_sigma
from videogen_cli.diffusion.schedules import mix, predict_noise, predict_x0
from videogen_cli.diffusion.solvers.base import ClipOptions, Solver, SpacedOptions, bounded, required
from videogen_cli.diffusion.solvers.timesteps import spaced
from videogen_cli.errors import UsageError, did_you_mean

VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range")
_LEAST_VARIANCE = 1e-20


@dataclass(frozen=True)
class DDIMOptions(ClipOptions, SpacedOptions):
    """Options of :class:`DDIM`."""

    set_alpha_to_one: bool = True  # the last step arrives at clean latents, not at timestep 0
    rescale_betas_zero_snr: bool = False
    eta: float = 0.0  # share of DDPM's fresh noise
    use_clipped_model_output: bool = False  # derive the noise estimate from the bounded clean latents


@dataclass(frozen=True)
class DDPMOptions(ClipOptions, SpacedOptions):
    """Options of :class:`DDPM`."""

    variance_type: str = "fixed_small"  # one of VARIANCES; the learned ones are in the prediction's second half
    rescale_betas_zero_snr: bool = False


class _TimestepSolver(Solver):
    """A solver over whole timesteps."""

    def __init__(self, options: Any, steps: int) -> None:
        super().__init__(options, steps)
        train, offset = options.num_train_timesteps, options.steps_offset
        self.timesteps = spaced(options.timestep_spacing, steps, train, offset=offset).astype(np.int64)

    def _abars(self, index: int, clean: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return abar where the step at ``index`` starts and where it arrives.

        Below timestep 0 it is that of ``clean`` latents, 1, or else of timestep 0.
        """
        t = int(self.timesteps[index])
        arrival, abar = t - self.stride, self.schedule.alphas_cumprod
        last = np.ones(1, abar.dtype) if clean else abar[:1]
        return abar[t : t + 1], abar[arrival : arrival + 1] if arrival >= 0 else last


class DDIM(_TimestepSolver):
    """Denoising diffusion implicit models (equation 12)."""

    options_type = DDIMOptions
    options: DDIMOptions

    def draws(self, index: int) -> bool:
        """Every step does, with ``eta``."""
        return self.options.eta > 0

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next timestep; see :meth:`Solver.step`."""
        options = self.options
        abar, arrival = self._abars(index, options.set_alpha_to_one)
        point = abar**0.5, (1 - abar) ** 0.5
        denoised = bounded(predict_x0(prediction, latents, *point, options.prediction_type), options)
        if options.use_clipped_model_output:
            eps = predict_noise(denoised, latents, *point, "sample")
        else:
            eps = predict_noise(prediction, latents, *point, options.prediction_type)
        sigma = ddim_sigma(abar, arrival, options.eta)
        latents = mix(denoised, eps, arrival**0.5, np.maximum(1 - arrival - sigma**2, 0) ** 0.5)
        return latents + sigma * required(noise, index) if options.eta > 0 else latents, None


class DDPM(_TimestepSolver):
    """Ancestral sampling (equation 7), with the variances of Nichol & Dhariwal 2021.

    Raises:
        UsageError: an unknown variance type.
    """

    options_type = DDPMOptions
    options: DDPMOptions

    def __init__(self, options: DDPMOptions, steps: int) -> None:
        super().__init__(options, steps)
        if options.variance_type not in VARIANCES:
            hint = did_you_mean(options.variance_type, VARIANCES)
            raise UsageError(f"there is no variance '{options.variance_type}'", where="variance_type", hint=hint)

    def draws(self, index: int) -> bool:
        """All do but the one at timestep 0."""
        return int(self.timesteps[index]) > 0

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next timestep; a learned variance is the second half of the channels. See :meth:`Solver.step`."""
        options, channels = self.options, latents.shape[1]
        learned = None
        if options.variance_type.startswith("learned") and prediction.shape[1] == 2 * channels:
            prediction, learned = np.split(prediction, 2, axis=1)
        abar, arrival = self._abars(index)
        alpha = abar / arrival
        denoised = predict_x0(prediction, latents, abar**0.5, (1 - abar) ** 0.5, options.prediction_type)
        denoised = bounded(denoised, options)
        mean = arrival**0.5 * (1 - alpha) / (1 - abar) * denoised + alpha**0.5 * (1 - arrival) / (1 - abar) * latents
        if not self.draws(index):
            return mean, None
        return mean + self._deviation(abar, arrival, learned) * required(noise, index), None

    def _deviation(self, abar: np.ndarray, arrival: np.ndarray, learned: np.ndarray | None) -> Any:
        """Return the standard deviation of the fresh noise."""
        beta = 1 - abar / arrival
        least = np.maximum((1 - arrival) / (1 - abar) * beta, _LEAST_VARIANCE)
        kind = self.options.variance_type
        if kind.startswith("fixed"):
            return (beta if kind == "fixed_large" else least) ** 0.5
        if learned is None:
            what = f"the prediction has no second half that holds the variance of '{kind}'"
            raise UsageError(what, where="variance_type")
        if kind == "learned":
            return learned**0.5
        share = (learned + 1) / 2
        return np.exp(0.5 * (share * np.log(beta) + (1 - share) * np.log(least)))
