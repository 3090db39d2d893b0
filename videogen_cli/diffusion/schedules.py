"""The forward process: noise schedules, and what a prediction says about the clean latents and the noise.

Notation: ``x_t = alpha x_0 + sigma eps`` with ``alpha = sqrt(abar_t)`` and ``sigma = sqrt(1 - abar_t)`` (Ho et al.
2020, equation 4). Tables are numpy. The functions of one (alpha, sigma) are arithmetic only, so they take numpy
arrays and device tensors alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.errors import UsageError, did_you_mean

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def _linspace(start: float, stop: float, steps: int, dtype: Any) -> np.ndarray:
    """``torch.linspace``: ends and step are rounded to ``dtype``, each half counts from its own end, one rounding."""
    first, last = np.asarray([start, stop], dtype)
    step = np.float64((last - first) / dtype(max(steps - 1, 1)))
    index = np.arange(steps)
    return np.where(index < steps // 2, first + step * index, last - step * (steps - 1 - index)).astype(dtype)


def _linear(steps: int, start: float, end: float, dtype: Any) -> np.ndarray:
    return _linspace(start, end, steps, dtype)


def _scaled_linear(steps: int, start: float, end: float, dtype: Any) -> np.ndarray:
    return _linspace(start**0.5, end**0.5, steps, dtype) ** 2


def _cosine(steps: int, start: float, end: float, dtype: Any) -> np.ndarray:
    """Nichol & Dhariwal 2021, equation 17; ``start`` and ``end`` do not enter."""
    abar = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - abar[1:] / abar[:-1], 0.999).astype(dtype)


def _exponential(steps: int, start: float, end: float, dtype: Any) -> np.ndarray:
    """Make abar fall like exp(-12 t) (diffusers); ``start`` and ``end`` do not enter."""
    return np.full(steps, min(1 - np.exp(-12 / steps), 0.999), dtype)


def _sigmoid(steps: int, start: float, end: float, dtype: Any) -> np.ndarray:
    """Rise like a sigmoid from -6 to 6 (GeoDiff, Xu et al. 2022)."""
    return (1 / (1 + np.exp(-_linspace(-6, 6, steps, dtype))) * (end - start) + start).astype(dtype)


_BETA_SCHEDULES = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "cosine": _cosine,
    "exp": _exponential,
    "sigmoid": _sigmoid,
    "squaredcos_cap_v2": _cosine,  # diffusers' name for it
}


def beta_schedule(
    name: str, steps: int = 1000, start: float = 0.00085, end: float = 0.012, dtype: Any = np.float32
) -> np.ndarray:
    """Return the variances beta_t, shape (steps,), of ``dtype``.

    Args:
        name: ``linear``, ``scaled_linear`` (linear in the square root), ``cosine`` or ``squaredcos_cap_v2`` (the same),
            ``exp`` (of abar) or ``sigmoid``.
        steps: length of the forward process.
        start: first beta.
        end: last beta.
        dtype: numpy float type the original computes its table in.

    Raises:
        UsageError: there is no schedule of that name.
    """
    if name not in _BETA_SCHEDULES:
        raise UsageError(f"there is no beta schedule '{name}'", hint=did_you_mean(name, _BETA_SCHEDULES))
    return _BETA_SCHEDULES[name](steps, start, end, dtype)


def _products(alphas: np.ndarray) -> np.ndarray:
    """``torch.cumprod``: products in double precision, each rounded once to the dtype of ``alphas``."""
    return np.cumprod(alphas, dtype=np.float64).astype(alphas.dtype)


def zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """Rescale ``betas`` so that the last step is pure noise (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(_products(1 - betas))
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    abar = root**2
    return 1 - np.concatenate([abar[:1], abar[1:] / abar[:-1]])


def mix(x0: Any, noise: Any, alpha: Any, sigma: Any) -> Any:
    """Return ``x_t``."""
    return alpha * x0 + sigma * noise


def predict_x0(prediction: Any, latents: Any, alpha: Any, sigma: Any, prediction_type: str = "epsilon") -> Any:
    """Return the clean latents that ``prediction`` implies for ``latents`` = x_t.

    ``prediction_type``: ``epsilon`` (the noise), ``sample`` (x_0 itself) or ``v_prediction`` (Salimans & Ho 2022,
    v = alpha eps - sigma x_0).
    """
    if prediction_type == "epsilon":
        return (latents - sigma * prediction) / alpha
    return prediction if prediction_type == "sample" else alpha * latents - sigma * prediction


def predict_noise(prediction: Any, latents: Any, alpha: Any, sigma: Any, prediction_type: str = "epsilon") -> Any:
    """Return the noise that ``prediction`` implies for ``latents`` = x_t; the twin of :func:`predict_x0`."""
    if prediction_type == "sample":
        return (latents - alpha * prediction) / sigma
    return prediction if prediction_type == "epsilon" else alpha * prediction + sigma * latents


def expand(values: np.ndarray, ndim: int) -> np.ndarray:
    """Append axes of length one to ``values`` (b,) until it has ``ndim`` axes."""
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


@dataclass(frozen=True)
class NoiseSchedule:
    """The cumulative products abar_t (train_timesteps,) and what the network predicts."""

    alphas_cumprod: np.ndarray
    prediction_type: str = "epsilon"

    def __post_init__(self) -> None:
        if self.prediction_type not in PREDICTION_TYPES:
            hint = did_you_mean(self.prediction_type, PREDICTION_TYPES)
            raise UsageError(f"there is no prediction type '{self.prediction_type}'", hint=hint)

    @classmethod
    def create(
        cls,
        name: str = "scaled_linear",
        train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        *,
        prediction_type: str = "epsilon",
        zero_snr: bool = False,
        dtype: Any = np.float32,
    ) -> NoiseSchedule:
        """Build a schedule from the parameters of its betas (see :func:`beta_schedule`).

        Raises:
            UsageError: an unknown schedule or prediction type.
        """
        betas = beta_schedule(name, train_timesteps, beta_start, beta_end, dtype)
        return cls.of_betas(zero_terminal_snr(betas) if zero_snr else betas, prediction_type)

    @classmethod
    def of_betas(cls, betas: np.ndarray, prediction_type: str = "epsilon") -> NoiseSchedule:
        """Build a schedule from its betas (train_timesteps,), in their dtype.

        Raises:
            UsageError: an unknown prediction type.
        """
        return cls(_products(1 - betas), prediction_type)

    @property
    def train_timesteps(self) -> int:
        """Return the length of the forward process."""
        return len(self.alphas_cumprod)

    def abar(self, timesteps: Any) -> Any:
        """Return abar at ``timesteps``: a scalar for a scalar, an array (b,) for an array; 1 (clean) at -1."""
        steps = np.asarray(timesteps)
        return np.where(steps < 0, self.alphas_cumprod.dtype.type(1), self.alphas_cumprod[np.maximum(steps, 0)])[()]

    def coefficients(self, timesteps: Any, ndim: int = 1) -> tuple[Any, Any]:
        """Return (alpha, sigma) at ``timesteps``.

        One timestep gives Python floats, which scale arrays and tensors of any type without changing it; timesteps
        (b,) give arrays (b 1 ... 1) of ``ndim`` axes.
        """
        abar = self.abar(timesteps)
        alpha, sigma = np.sqrt(abar), np.sqrt(1 - abar)
        if np.ndim(abar) == 0:
            return float(alpha), float(sigma)
        return expand(alpha, ndim), expand(sigma, ndim)

    def add_noise(self, x0: Any, noise: Any, timesteps: Any) -> Any:
        """Return x_t (b ...) for clean latents ``x0``, of one timestep or of timesteps (b,) (then x0 is numpy)."""
        return mix(x0, noise, *self.coefficients(timesteps, x0.ndim))

    def target(self, x0: Any, noise: Any, timesteps: Any) -> Any:
        """Return what the network should predict for :meth:`add_noise` of the same arguments."""
        if self.prediction_type == "v_prediction":
            alpha, sigma = self.coefficients(timesteps, x0.ndim)
            return alpha * noise - sigma * x0
        return noise if self.prediction_type == "epsilon" else x0

    def predict_x0(self, prediction: Any, latents: Any, timesteps: Any) -> Any:
        """Return the clean latents implied by ``prediction`` for ``latents`` at ``timesteps``."""
        alpha, sigma = self.coefficients(timesteps, latents.ndim)
        return predict_x0(prediction, latents, alpha, sigma, self.prediction_type)

    def predict_noise(self, prediction: Any, latents: Any, timesteps: Any) -> Any:
        """Return the noise implied by ``prediction`` for ``latents`` at ``timesteps``."""
        alpha, sigma = self.coefficients(timesteps, latents.ndim)
        return predict_noise(prediction, latents, alpha, sigma, self.prediction_type)
