"""Methods of second order over noise levels, with two calls per step: Heun's, and DPM-Solver-2 with ancestral noise.

Karras et al. 2022, arXiv:2206.00364, algorithms 1 and 2; k-diffusion ``sample_heun`` and ``sample_dpm_2_ancestral``.
Their last step, to clean latents, is Euler's, so N steps are 2 N - 1 calls. ``state`` is what the first call leaves to
the second: None before first calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.solvers.base import SigmaSolver, SpacedOptions, ancestral, bounded, required
from videogen_cli.diffusion.solvers.timesteps import to_timesteps


@dataclass(frozen=True)
class KDPM2AncestralOptions(SpacedOptions):
    """Options of :class:`KDPM2Ancestral`."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    timestep_spacing: str = "linspace"
    use_karras_sigmas: bool = False


@dataclass(frozen=True)
class HeunOptions(KDPM2AncestralOptions):
    """Options of :class:`Heun`."""

    clip_sample: bool = False
    clip_sample_range: float = 1.0


class Heun(SigmaSolver):
    """The trapezoidal rule: the slope at both ends of a step."""

    options_type = HeunOptions
    options: HeunOptions
    calls_per_step = 2

    def __init__(self, options: HeunOptions, steps: int) -> None:
        super().__init__(options, steps)
        timesteps, sigmas = self.levels()
        self.timesteps = np.append(timesteps[:1], np.repeat(timesteps[1:], 2))
        self.start_from(np.concatenate([sigmas[:1], np.repeat(sigmas[1:], 2), [0.0]]))

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Make one of a step's two calls; see :meth:`Solver.step`."""
        denoised = bounded(self.denoised(prediction, latents, self.level(index)), self.options)
        slope = (latents - denoised) / self.level(index)
        if state is None:
            extent = self.level(index + 1) - self.level(index)
            return latents + slope * extent, (latents, slope, extent)
        start, first, extent = state
        return start + (first + slope) / 2 * extent, None


class KDPM2Ancestral(SigmaSolver):
    """The midpoint rule in the logarithm of the noise level, to below the next level, and noise up to it."""

    options_type = KDPM2AncestralOptions
    options: KDPM2AncestralOptions
    calls_per_step = 2
    predictions = ("epsilon", "v_prediction")

    def __init__(self, options: KDPM2AncestralOptions, steps: int) -> None:
        super().__init__(options, steps)
        timesteps, sigmas = self.levels()
        if options.use_karras_sigmas:
            timesteps = timesteps.round()
        levels = np.append(sigmas, 0.0).astype(np.float32)
        self.down, self.up = ancestral(levels[:-1], levels[1:])
        self.middles = _geometric_means(levels[:-1], self.down)
        between = to_timesteps(self.table, self.middles[:-1])
        self.timesteps = np.append(timesteps[:1], np.stack([between, timesteps[1:]], axis=1).ravel())
        # upstream repeats each level for both calls, and the 0 at the end
        self.start_from(np.concatenate([levels[:1], np.repeat(levels[1:], 2), levels[-1:]]))

    def draws(self, index: int) -> bool:
        """Second calls do."""
        return index % 2 == 1

    def level(self, index: int) -> np.ndarray:
        """Return the noise level of call ``index``: second calls are at the middle of the step."""
        step = index // 2
        return self.middles[step : step + 1] if index % 2 else super().level(index)

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Make one of a step's two calls; ``state`` is the latents it began with. See :meth:`Solver.step`."""
        slope = (latents - self.denoised(prediction, latents, self.level(index))) / self.level(index)
        start, step = super().level(index - index % 2), slice(index // 2, index // 2 + 1)
        if index % 2 == 0:
            return latents + slope * (self.middles[step] - start), latents
        return state + slope * (self.down[step] - start) + required(noise, index) * self.up[step], None


@np.errstate(divide="ignore", invalid="ignore")
def _geometric_means(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return them by logarithms; 0 where one is 0."""
    first, second = np.log(high), np.log(low)
    return np.where(low > 0, np.exp(second - (second - first) * 0.5), 0).astype(high.dtype)
