"""The Gaussian diffusion of the VGen lineage (ModelScope, VideoComposer, DEMO), whose tables are in double precision.

Source: ali-vilab/VGen tools/modules/diffusions/{schedules,diffusion_ddim}.py. Notation as in :mod:`.schedules`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from videogen_cli.diffusion.samplers import ddim_timesteps
from videogen_cli.diffusion.schedules import NoiseSchedule, beta_schedule, expand, zero_terminal_snr
from videogen_cli.errors import DataError, did_you_mean

# What the network predicts -> the prediction type of a NoiseSchedule; the last is turned into x0 first.
MEAN_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample", "x_{t-1}": "sample"}


def _linear(steps: int, init_beta: float | None = None, last_beta: float | None = None, **_: Any) -> np.ndarray:
    first, last = init_beta or 0.1 / steps, last_beta or 20.0 / steps
    return beta_schedule("linear", steps, first, last, np.float64)


def _linear_in_root(steps: int, init_beta: float, last_beta: float, **_: Any) -> np.ndarray:
    return beta_schedule("scaled_linear", steps, init_beta, last_beta, np.float64)


def _quadratic(steps: int, init_beta: float | None = None, last_beta: float | None = None, **_: Any) -> np.ndarray:
    return beta_schedule("scaled_linear", steps, init_beta or 0.0015, last_beta or 0.0195, np.float64)


def _cosine(steps: int, cosine_s: float = 0.008, **_: Any) -> np.ndarray:
    abar = np.cos((np.arange(steps + 1) / steps + cosine_s) / (1 + cosine_s) * math.pi / 2) ** 2
    return np.minimum(1 - abar[1:] / abar[:-1], 0.999)


def _logsnr_cosine(
    steps: int,
    scale_min: float = 2,
    scale_max: float = 4,
    logsnr_min: float = -15,
    logsnr_max: float = 15,
    **_: Any,
) -> np.ndarray:
    """Interpolate two shifted cosine schedules in log SNR; the original returns sigmas in place of betas.

    Angles are rounded to float32 as in the original, which decides the first values: they are differences of nearly
    equal numbers.
    """
    share = beta_schedule("linear", steps, 1.0, 0.0)  # an even fall in float32, rounded as torch does
    start, end = math.atan(math.exp(-0.5 * logsnr_min)), math.atan(math.exp(-0.5 * logsnr_max))
    angles = np.float32(start) + share * np.float32(end - start)
    logsnr = (-2 * np.log(np.tan(angles.astype(np.float64)))).astype(np.float32)
    low, high = (logsnr + np.float32(2 * math.log(1 / scale)) for scale in (scale_min, scale_max))
    mixed = share * low + (1 - share) * high
    return np.sqrt(1 / (1 + np.exp(mixed.astype(np.float64)))).astype(np.float32).astype(np.float64)


_SCHEDULES = {
    "linear": _linear,
    "linear_sd": _linear_in_root,
    "quadratic": _quadratic,
    "cosine": _cosine,
    "logsnr_cosine_interp": _logsnr_cosine,
}


def noise_betas(schedule: str, param: Mapping[str, Any]) -> np.ndarray:
    """Return the variances beta_t, float64 (num_timesteps,).

    Args:
        schedule: ``linear``, ``linear_sd`` (linear in the square root), ``quadratic`` (the same with other defaults),
            ``cosine``, or ``logsnr_cosine_interp``.
        param: the original's ``schedule_param``: ``num_timesteps``, ``init_beta``, ``last_beta``, ``cosine_s``,
            ``scale_min``, ``scale_max``, ``logsnr_min``, ``logsnr_max``, ``zero_terminal_snr``.

    Raises:
        DataError: an unknown schedule, or one that lacks a number it has no default of.
    """
    if schedule not in _SCHEDULES:
        hint = did_you_mean(schedule, _SCHEDULES)
        raise DataError(f"there is no schedule '{schedule}'", where="schedule", hint=hint)
    numbers = {key: value for key, value in param.items() if key not in ("num_timesteps", "zero_terminal_snr")}
    if schedule == "linear_sd":
        for key in ("init_beta", "last_beta"):
            if numbers.get(key) is None:
                raise DataError("is missing", where=f"schedule_param.{key}")
    betas = _SCHEDULES[schedule](param.get("num_timesteps", 1000), **numbers)
    if param.get("zero_terminal_snr") and betas.max() != 1.0:
        betas = zero_terminal_snr(betas)
    return betas


@dataclass(frozen=True)
class GaussianDiffusion:
    """Betas (t,) in double precision and what the network predicts (see :data:`MEAN_TYPES`)."""

    betas: np.ndarray
    mean_type: str = "eps"

    def __post_init__(self) -> None:
        if self.mean_type not in MEAN_TYPES:
            hint = did_you_mean(self.mean_type, MEAN_TYPES)
            raise DataError(f"there is no prediction '{self.mean_type}'", where="mean_type", hint=hint)

    @classmethod
    def create(cls, config: Mapping[str, Any]) -> GaussianDiffusion:
        """Build it from the original's ``schedule``, ``schedule_param`` and ``mean_type``.

        Raises:
            DataError: an unknown word, or a missing number.
        """
        betas = noise_betas(config.get("schedule", "linear_sd"), config.get("schedule_param", {}))
        return cls(betas, config.get("mean_type", "eps"))

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The cumulative products, for samplers and noising."""
        return NoiseSchedule(np.cumprod(1 - self.betas), MEAN_TYPES[self.mean_type])

    @cached_property
    def posterior(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variance of q(x_{t-1} | x_t, x_0), and the factors of x_0 and x_t in its mean (Ho et al. 2020, eq. 7)."""
        abar = self.schedule.alphas_cumprod
        previous = np.concatenate([[1.0], abar[:-1]])
        variance = self.betas * (1 - previous) / (1 - abar)
        return (
            variance,
            self.betas * np.sqrt(previous) / (1 - abar),
            (1 - previous) * np.sqrt(1 - self.betas) / (1 - abar),
        )

    def steps(self, count: int) -> tuple[list[int], list[int]]:
        """Return DDIM's timesteps, highest first, and where each arrives: a stride lower, and never below 0."""
        total = len(self.betas)
        visited = ddim_timesteps(count, total)
        return visited, [max(t - total // count, 0) for t in visited]

    def prediction(self, output: Any, latents: Any, timestep: int) -> Any:
        """Return the network's ``output`` for ``latents`` as what :attr:`schedule` calls a prediction."""
        if self.mean_type != "x_{t-1}":
            return output
        _, of_x0, of_xt = (float(table[timestep]) for table in self.posterior)
        return (output - of_xt * latents) / of_x0

    def target(self, x0: np.ndarray, xt: np.ndarray, noise: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
        """Return what the network should predict for ``xt`` (b ...) at ``timesteps`` (b,)."""
        if self.mean_type != "x_{t-1}":
            return self.schedule.target(x0, noise, timesteps).astype(x0.dtype)
        _, of_x0, of_xt = (expand(table[timesteps], x0.ndim).astype(x0.dtype) for table in self.posterior)
        return of_x0 * x0 + of_xt * xt
