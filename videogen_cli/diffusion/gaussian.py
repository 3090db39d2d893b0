"""Discrete Gaussian diffusion with a learned variance (Nichol & Dhariwal 2021, arXiv:2102.09672; guided-diffusion).

Tables are in double precision, sampling is numpy; the training loss is in
:mod:`videogen_cli.diffusion.gaussian_loss`. Notation: abar is the cumulative product of 1 - beta, x_t the noisy
latents, and the posterior q(x_{t-1} | x_t, x_0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import beta_schedule, expand, mix
from videogen_cli.errors import UsageError, did_you_mean

VARIANCES = ("learned_range", "fixed_large", "fixed_small")
LOSSES = ("mse", "rescaled_mse", "rescaled_kl")
_LINEAR_ENDS = 1e-4, 0.02  # of a process of 1000 steps; others are scaled to add as much noise
_SCHEDULES = ("linear", "squaredcos_cap_v2")


@dataclass(frozen=True)
class GaussianDiffusion:
    """A forward process at some or all of its timesteps; make it with :meth:`create`."""

    betas: np.ndarray  # (steps,) float64, of the steps that are left
    timestep_map: np.ndarray  # (steps,) the timestep of the whole process that the network is given at each
    predicts_x0: bool = False  # the network predicts clean latents instead of noise
    variance: str = "learned_range"  # of a step back; a learned one is the second half of the prediction's channels
    loss: str = "mse"

    def __post_init__(self) -> None:
        for name, word, known in (("variance", self.variance, VARIANCES), ("loss", self.loss, LOSSES)):
            if word not in known:
                raise UsageError(f"there is no {name} '{word}'", where=name, hint=did_you_mean(word, known))
        if len(self.betas) < 2:
            raise UsageError("needs at least two steps", where="timestep_respacing")

    @classmethod
    def create(
        cls,
        respacing: str = "",
        noise_schedule: str = "linear",
        train_timesteps: int = 1000,
        *,
        predicts_x0: bool = False,
        variance: str = "learned_range",
        loss: str = "mse",
    ) -> GaussianDiffusion:
        """Build a process and keep the timesteps that ``respacing`` asks for (see :func:`kept_timesteps`).

        Raises:
            UsageError: an unknown word, or a respacing that is not possible.
        """
        if noise_schedule not in _SCHEDULES:
            hint = did_you_mean(noise_schedule, _SCHEDULES)
            raise UsageError(f"there is no noise schedule '{noise_schedule}'", where="noise_schedule", hint=hint)
        start, end = (value * 1000 / train_timesteps for value in _LINEAR_ENDS)
        betas = beta_schedule(noise_schedule, train_timesteps, start, end, np.float64)
        kept = kept_timesteps(respacing, train_timesteps)
        abar = np.cumprod(1 - betas)[kept]
        return cls(1 - abar / np.append(1.0, abar[:-1]), kept, predicts_x0, variance, loss)

    @property
    def steps(self) -> int:
        """Return the number of steps that are left."""
        return len(self.betas)

    @cached_property
    def tables(self) -> np.ndarray:
        """What each step multiplies or adds, (steps, 9) float64; see :class:`Coefficients` for the columns."""
        betas, abar = self.betas, np.cumprod(1 - self.betas)
        before = np.append(1.0, abar[:-1])
        posterior = betas * (1 - before) / (1 - abar)
        least = np.log(np.append(posterior[1], posterior[1:]))  # the first is 0: clean latents have no noise
        most = np.log(np.append(posterior[1], betas[1:])) if self.variance == "fixed_large" else np.log(betas)
        columns = (
            np.sqrt(abar),
            np.sqrt(1 - abar),
            np.sqrt(1 / abar),
            np.sqrt(1 / abar - 1),
            betas * np.sqrt(before) / (1 - abar),
            (1 - before) * np.sqrt(1 - betas) / (1 - abar),
            least,
            most,
            np.arange(self.steps) == 0,
        )
        return np.stack(columns, axis=1)

    def coefficients(self, index: Any, ndim: int) -> Coefficients:
        """Return the tables at steps ``index`` (b,), each float32 (b 1 ... 1) of ``ndim`` axes."""
        rows = self.tables[np.asarray(index)].astype(np.float32)
        return Coefficients(*(expand(column, ndim) for column in rows.T))

    def add_noise(self, x0: np.ndarray, noise: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return x_t (b ...) at steps ``index`` (b,)."""
        at = self.coefficients(index, x0.ndim)
        return mix(x0, noise, at.alpha, at.sigma)

    def previous(
        self, output: np.ndarray, latents: np.ndarray, index: int, noise: np.ndarray, *, clip: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Go one step back (upstream ``p_sample``).

        Args:
            output: the network's, (b c or 2c ...).
            latents: x_t (b c ...).
            index: the step.
            noise: unit noise of the latents' shape; the last step, 0, does not look at it.
            clip: keep the estimate of x_0 within [-1, 1].

        Returns:
            x_{t-1} and the estimate of x_0.
        """
        at = self.coefficients(np.full(len(latents), index), latents.ndim)
        share = None
        if self.variance == "learned_range":
            output, share = np.split(output, 2, axis=1)
        x0 = output if self.predicts_x0 else at.clean(latents, output)
        x0 = np.clip(x0, -1, 1) if clip else x0
        mean, log_variance = at.mean(x0, latents), at.log_variance(self.variance, share)
        return mean + (1 - at.first) * np.exp(0.5 * log_variance) * noise, x0


@dataclass(frozen=True)
class Coefficients:
    """Numbers of a step; arrays or tensors that broadcast to latents (b c ...)."""

    alpha: Any  # sqrt(abar)
    sigma: Any  # sqrt(1 - abar)
    of_noisy: Any  # 1 / alpha, factor of x_t in the estimate of x_0
    of_noise: Any  # sigma / alpha, factor of the noise in it
    of_x0: Any  # factor of x_0 in the posterior's mean
    of_xt: Any  # factor of x_t in it
    least_log: Any  # logarithm of the posterior's variance
    most_log: Any  # of beta, or of the fixed large variance
    first: Any  # 1 at step 0, else 0

    def clean(self, latents: Any, eps: Any) -> Any:
        """Return the x_0 that a noise estimate implies."""
        return self.of_noisy * latents - self.of_noise * eps

    def mean(self, x0: Any, latents: Any) -> Any:
        """Return the posterior's mean."""
        return self.of_x0 * x0 + self.of_xt * latents

    def log_variance(self, kind: str, share: Any = None) -> Any:
        """Return the logarithm of a step's variance; a learned ``share`` in [-1, 1] lies between least and most."""
        if kind == "learned_range":
            fraction = (share + 1.0) * 0.5
            return fraction * self.most_log + (1.0 - fraction) * self.least_log
        return self.most_log if kind == "fixed_large" else self.least_log


def kept_timesteps(respacing: str, total: int) -> np.ndarray:
    """Return rising timesteps (steps,) out of ``total``.

    Args:
        respacing: empty for all; a number of steps, evenly from the first to the last; several with commas, for equal
            sections of the process; or ``ddimN``, N with a whole stride from 0.
        total: length of the process.

    Raises:
        UsageError: it is none of these, or asks for more than there are.
    """
    where = "timestep_respacing"
    if not respacing:
        return np.arange(total)
    try:
        wanted = [int(part) for part in respacing.removeprefix("ddim").split(",")]
    except ValueError:
        hint = "Use a number of steps, several with commas, or ddimN."
        raise UsageError(f"'{respacing}' is no respacing", where=where, hint=hint) from None
    if respacing.startswith("ddim"):
        strides = [stride for stride in range(1, total) if len(range(0, total, stride)) == wanted[0]]
        if not strides:
            raise UsageError(f"no whole stride leaves {wanted[0]} of {total} steps", where=where)
        return np.arange(0, total, strides[0])
    sections = np.array_split(np.arange(total), len(wanted))
    if any(not 1 <= count <= len(section) for count, section in zip(wanted, sections, strict=True)):
        raise UsageError(f"cannot keep {respacing} of {total} steps", where=where)
    kept = [section[_even(len(section), count)] for count, section in zip(wanted, sections, strict=True)]
    return np.concatenate(kept)


def _even(size: int, count: int) -> list[int]:
    """Return ``count`` positions from 0 to ``size - 1``, rounded half to even; a single one is 0."""
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    return [round(stride * index) for index in range(count)]
