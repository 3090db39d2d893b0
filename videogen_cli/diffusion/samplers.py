"""Sampling loops. They know no network: ``denoise(latents, timestep)`` returns the prediction for both.

Latents are numpy arrays or device tensors (b c f h w); the loops only add and multiply them. After every step the
callback, if there is one, is called with (step, total, :class:`Step`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from videogen_cli.diffusion import lcm as consistency
from videogen_cli.diffusion.schedules import NoiseSchedule, mix, predict_noise
from videogen_cli.errors import UsageError


@dataclass(frozen=True)
class Step:
    """What one step saw and made."""

    timestep: float
    prediction: Any  # the network's output, after guidance
    denoised: Any  # the clean latents it implies
    latents: Any  # what the next step starts from


Denoise = Callable[[Any, int], Any]
Noise = Callable[[int], Any]  # step index -> fresh noise of the latents' shape
Callback = Callable[[int, int, Step], None]
Limit = Callable[[Any], Any]  # estimated clean latents -> the same, held to a range


def ddim_timesteps(steps: int, train_timesteps: int = 1000) -> list[int]:
    """Return timesteps, highest first, ``train_timesteps // steps`` apart and ending at 1 (lvdm's "uniform", VGen).

    When ``steps`` does not divide ``train_timesteps`` there are more than ``steps`` of them, as in the originals.

    Raises:
        UsageError: not 1 <= steps <= train_timesteps.
    """
    if not 1 <= steps <= train_timesteps:
        hint = f"Use 1 to {train_timesteps}."
        raise UsageError(f"cannot sample in {steps} steps", where="num_inference_steps", hint=hint)
    grid = range(1, train_timesteps + 1, train_timesteps // steps)
    return [min(t, train_timesteps - 1) for t in reversed(grid)]


def ddim_sigma(abar: Any, abar_previous: Any, eta: float) -> Any:
    """Return the standard deviation of a DDIM step's fresh noise (Song et al. 2021, equation 16)."""
    return eta * ((1 - abar_previous) / (1 - abar) * (1 - abar / abar_previous)) ** 0.5


def ddim(
    denoise: Denoise,
    latents: Any,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    previous: Sequence[int] | None = None,
    eta: float = 0.0,
    noise: Noise | None = None,
    limit: Limit | None = None,
    callback: Callback | None = None,
) -> Any:
    """Sample with DDIM (Song et al. 2021, equation 12) and return the last latents.

    Args:
        denoise: (latents, timestep) -> prediction, guidance included.
        latents: starting noise (b c f h w).
        schedule: the forward process.
        timesteps: falling timesteps to evaluate at.
        previous: the timestep each step arrives at; by default the next one, and 0 for the last. -1 means clean.
        eta: 0 is deterministic, 1 has DDPM's variance.
        noise: fresh noise by step; needed when ``eta`` is not 0.
        limit: holds the estimates of the clean latents to a range; the noise is then what they leave.
        callback: called after every step.

    Raises:
        UsageError: ``eta`` needs noise and there is none.
    """
    if eta and noise is None:
        raise UsageError("sampling with eta > 0 draws noise, and none was given", where="eta")
    arrivals = [*timesteps[1:], 0] if previous is None else previous
    for index, (t, arrival) in enumerate(zip(timesteps, arrivals, strict=True)):
        prediction = denoise(latents, t)
        x0, eps = schedule.predict_x0(prediction, latents, t), schedule.predict_noise(prediction, latents, t)
        if limit:
            x0 = limit(x0)
            eps = predict_noise(x0, latents, *schedule.coefficients(t), "sample")
        abar, abar_previous = float(schedule.abar(t)), float(schedule.abar(arrival))
        sigma = ddim_sigma(abar, abar_previous, eta) if eta else 0.0
        latents = mix(x0, eps, abar_previous**0.5, (1 - abar_previous - sigma**2) ** 0.5)
        if sigma and noise:
            latents = latents + sigma * noise(index)
        if callback:
            callback(index, len(timesteps), Step(t, prediction, x0, latents))
    return latents


def lcm(
    denoise: Denoise,
    latents: Any,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Noise,
    callback: Callback | None = None,
) -> Any:
    """Sample with a consistency-distilled network and return the last **denoised** latents.

    Args:
        denoise: (latents, timestep) -> prediction; the guidance scale is an input of the network, not of this loop.
        latents: starting noise (b c f h w).
        schedule: the forward process.
        timesteps: falling timesteps, see :func:`videogen_cli.diffusion.lcm.timesteps`.
        noise: fresh noise by step. The last step draws too and, having no next timestep, carries its result forward
            to its own (upstream's rule); with a single timestep nothing is drawn.
        callback: called after every step.
    """
    denoised = latents
    for index, (t, following) in enumerate(zip(timesteps, [*timesteps[1:], timesteps[-1]], strict=True)):
        prediction = denoise(latents, t)
        denoised = consistency.denoise(schedule, prediction, latents, t)
        latents = denoised
        if len(timesteps) > 1:
            latents = consistency.renoise(schedule, denoised, following, noise(index))
        if callback:
            callback(index, len(timesteps), Step(t, prediction, denoised, latents))
    return denoised
