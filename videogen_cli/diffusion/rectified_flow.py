"""Rectified flow: straight paths from noise to data, and the velocity along them.

Liu et al. 2022 (arXiv 2209.03003) with the noise floor and time schedules of Movie Gen (arXiv 2410.13720, section 3.1;
upstream mindspore-lab/mindone examples/moviegen ``RFLOW``, ``RFlowLossWrapper``). Timesteps t run from T (noise) to 0
(data); functions of one t are arithmetic only, so they take numpy arrays and device tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from videogen_cli.diffusion.samplers import Step
from videogen_cli.diffusion.schedules import expand
from videogen_cli.errors import UsageError, did_you_mean

TRAIN_TIMESTEPS = 1000
NOISE_FLOOR = 1e-5  # the share of noise that is left at t = 0
Velocity = Callable[[Any, float], Any]  # latents (b ...), timestep -> velocity of the same shape
Callback = Callable[[int, int, Step], None]


def interpolate(
    x0: Any, noise: Any, timesteps: Any, train_timesteps: int = TRAIN_TIMESTEPS, floor: float = NOISE_FLOOR
) -> Any:
    """Return x_t = s x0 + (1 - (1 - floor) s) noise with s = 1 - t / T, for ``timesteps`` (b,); x0 is (b ...)."""
    share = expand(1 - timesteps / train_timesteps, len(x0.shape))
    return share * x0 + (1 - (1 - floor) * share) * noise


def velocity(x0: Any, noise: Any, floor: float = NOISE_FLOOR) -> Any:
    """Return what the network should predict anywhere on the path: its derivative by s."""
    return x0 - (1 - floor) * noise


def linear(steps: int, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return ``steps`` falling timesteps at equal distances, the first T; float64."""
    return (1.0 - np.arange(steps) / steps) * train_timesteps


def linear_quadratic(steps: int, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return ``steps`` falling timesteps: a first half one apart, then at quadratically growing distances; float64."""
    near = -(-steps // 2)
    growth = (np.arange(1, steps - near + 1) / (steps - near + 1)) ** 2
    done = near - 1
    return train_timesteps - np.concatenate([np.arange(near), (train_timesteps - done) * growth + done])


SCHEDULES = {"linear": linear, "linear-quadratic": linear_quadratic}


def sampling_timesteps(name: str, steps: int, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return the falling timesteps (steps,) at which sampling asks for the velocity.

    Raises:
        UsageError: an unknown schedule, or not 1 <= steps <= train_timesteps.
    """
    if name not in SCHEDULES:
        raise UsageError(f"there is no flow schedule '{name}'", hint=did_you_mean(name, SCHEDULES))
    if not 1 <= steps <= train_timesteps:
        hint = f"Use 1 to {train_timesteps}."
        raise UsageError(f"cannot sample in {steps} steps", where="num_inference_steps", hint=hint)
    return SCHEDULES[name](steps, train_timesteps)


def sample(
    predict: Velocity,
    latents: Any,
    timesteps: Sequence[float] | np.ndarray,
    train_timesteps: int = TRAIN_TIMESTEPS,
    callback: Callback | None = None,
) -> Any:
    """Follow the velocity from noise to data in Euler steps between ``timesteps``, the last one down to 0.

    Args:
        predict: (latents, timestep) -> velocity, guidance included.
        latents: starting noise (b ...).
        timesteps: falling, see :func:`sampling_timesteps`.
        train_timesteps: T.
        callback: called with (step, total, :class:`Step`) after every step.
    """
    falling = [float(t) for t in timesteps]
    for index, (t, arrival) in enumerate(zip(falling, [*falling[1:], 0.0], strict=True)):
        slope = predict(latents, t)
        denoised = latents + slope * (t / train_timesteps)
        latents = latents + slope * ((t - arrival) / train_timesteps)
        if callback:
            callback(index, len(falling), Step(t, slope, denoised, latents))
    return latents


def logit_normal(
    draws: np.ndarray, loc: float = 0.0, scale: float = 1.0, train_timesteps: int = TRAIN_TIMESTEPS
) -> np.ndarray:
    """Return float32 training timesteps in (0, T) for standard normal ``draws`` (b,) (Esser et al. 2024, section 3.1).

    The share of T is kept inside what float32 can tell from 0 and 1.
    """
    share = 1 / (1 + np.exp(-(loc + scale * draws.astype(np.float64))))
    info = np.finfo(np.float32)
    return (np.clip(share, info.tiny, 1 - info.eps) * train_timesteps).astype(np.float32)


def uniform(draws: np.ndarray, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return float32 training timesteps in [0, T) for ``draws`` (b,) in [0, 1)."""
    return (draws * train_timesteps).astype(np.float32)


def discrete_uniform(draws: np.ndarray, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return float32 training timesteps 0, 1, ... T - 1 for ``draws`` (b,) in [0, 1)."""
    return np.floor(draws * train_timesteps).astype(np.float32)


TRAINING_DRAWS = {"logit-normal": logit_normal, "uniform": uniform, "discrete-uniform": discrete_uniform}


def validation_timesteps(count: int = 10, train_timesteps: int = TRAIN_TIMESTEPS) -> np.ndarray:
    """Return ``count`` float32 timesteps between 0 and T at equal distances; validation averages over them."""
    return np.linspace(0, train_timesteps, count + 2)[1:-1].astype(np.float32)
