"""The teacher's ODE solver in consistency distillation (upstream ``ode_solver/ddim_solver.py:DDIMSolver``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion.samplers import ddim_sigma
from videogen_cli.diffusion.schedules import NoiseSchedule, expand


def dynamic_scale(start: float = 1.0, end: float = 0.7, ramp: int = 400, train_timesteps: int = 1000) -> np.ndarray:
    """Return VideoCrafter2's rescaling of x0 by timestep, float32.

    It is ``ramp`` longer than the schedule, because upstream appends a full-length tail to the ramp.
    """
    tail = np.full(train_timesteps, end, np.float32)
    return np.concatenate([np.linspace(start, end, ramp, dtype=np.float32), tail])


class DDIMSolver:
    """DDIM steps between ``steps`` evenly spaced timesteps, picked by index so that a batch can mix them.

    Args:
        schedule: the forward process.
        steps: how many timesteps; they end at the last of the schedule.
        scale: x0's rescaling by timestep (see :func:`dynamic_scale`), or None.
        eta: 0 is deterministic.
        clean_end: whether the last step arrives at clean latents. The original's arrives at timestep 0, where some
            noise is left (of deviation 0.03 in its schedule), which matters to latents that are small themselves.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        steps: int = 50,
        scale: np.ndarray | None = None,
        eta: float = 0.0,
        *,
        clean_end: bool = False,
    ) -> None:
        self.schedule, self.eta = schedule, eta
        self.ratio = schedule.train_timesteps // steps
        self.timesteps = np.arange(1, steps + 1) * self.ratio - 1
        arrivals = np.concatenate([[0], self.timesteps[:-1]])
        self.alphas_cumprod = schedule.alphas_cumprod[self.timesteps]
        self.alphas_cumprod_prev = schedule.alphas_cumprod[arrivals].copy()
        if clean_end:
            self.alphas_cumprod_prev[0] = 1
        self.scale = None if scale is None else scale[self.timesteps]
        self.scale_prev = None if scale is None else scale[arrivals]

    def coefficients(self, index: np.ndarray, ndim: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what multiplies x0, the noise estimate, and fresh noise in :meth:`step`, each (b 1 ... 1)."""
        abar, abar_prev = self.alphas_cumprod[index], self.alphas_cumprod_prev[index]
        sigma = ddim_sigma(abar, abar_prev, self.eta)
        signal = np.sqrt(abar_prev)
        if self.scale is not None and self.scale_prev is not None:
            signal = signal * self.scale_prev[index] / self.scale[index]
        return expand(signal, ndim), expand(np.sqrt(1 - abar_prev - sigma**2), ndim), expand(sigma, ndim)

    def step(self, x0: np.ndarray, eps: np.ndarray, index: np.ndarray, noise: Any = 0.0) -> np.ndarray:
        """Go one solver step down.

        Args:
            x0: estimate of the clean latents (b ...).
            eps: estimate of the noise (b ...).
            index: position of each sample in ``timesteps``, (b,).
            noise: fresh noise (b ...), used when ``eta`` is not 0.
        """
        signal, direction, sigma = self.coefficients(index, x0.ndim)
        return signal * x0 + direction * eps + sigma * noise

    def reverse_step(self, latents: np.ndarray, eps: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
        """Go from one solver step below ``timesteps`` (b,) up to them: DDIM inversion, as T2V-Turbo-v2 uses it."""
        alpha, sigma = self.schedule.coefficients(timesteps, latents.ndim)
        alpha_prev, sigma_prev = self.schedule.coefficients(np.maximum(timesteps - self.ratio, 0), latents.ndim)
        return (latents - sigma_prev * eps) * (alpha / alpha_prev) + sigma * eps
