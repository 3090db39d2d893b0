"""Latent consistency sampling as T2V-Turbo does it (Luo et al. 2023; upstream ``T2VTurboScheduler``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import NoiseSchedule, mix
from videogen_cli.errors import UsageError

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def timesteps(steps: int, origin_steps: int = 50, train_timesteps: int = 1000) -> list[int]:
    """Choose ``steps`` timesteps, highest first, evenly from the ``origin_steps`` the student was distilled on.

    Raises:
        UsageError: not 1 <= steps <= origin_steps <= train_timesteps.
    """
    if not 1 <= steps <= origin_steps <= train_timesteps:
        hint = f"The student knows {origin_steps} of {train_timesteps} timesteps; use 1 to {origin_steps} of them."
        raise UsageError(f"cannot sample in {steps} steps", where="num_inference_steps", hint=hint)
    stride = train_timesteps // origin_steps
    grid = list(range(stride - 1, stride * origin_steps, stride))
    return grid[:: -(origin_steps // steps)][:steps]


def guidance_scale_embedding(scale: np.ndarray, dim: int = 256) -> np.ndarray:
    """Embed guidance scales (b,) as float32 (b dim): sines, then cosines, of ``1000 scale`` at falling frequencies.

    Phases reach 15000 radians, where the last bit of a float32 frequency moves the result by 1e-3: frequencies must
    be those of the original to the bit. They are float32 exponentials rounded correctly, except one.
    """
    half = dim // 2
    exponents = -np.arange(half, dtype=np.float32) * (np.log(np.float32(10000)) / np.float32(half - 1))
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    if half == 128:
        frequencies[4] = np.nextafter(frequencies[4], np.float32(0))  # a near tie that PyTorch rounds down
    phases = (scale.astype(np.float32) * np.float32(1000))[:, None] * frequencies
    embedding = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
    return np.pad(embedding, ((0, 0), (0, dim % 2)))


def boundary_scalings(
    timestep: Any, scaling: float = TIMESTEP_SCALING, sigma_data: float = SIGMA_DATA
) -> tuple[Any, Any]:
    """Return (c_skip, c_out), which make a consistency function the identity at timestep 0.

    ``timestep`` is a number, or a float array or tensor, of any shape.
    """
    scaled = timestep * scaling
    total = scaled * scaled + sigma_data * sigma_data
    return sigma_data * sigma_data / total, scaled / total**0.5


def denoise(schedule: NoiseSchedule, prediction: Any, latents: Any, timestep: int) -> Any:
    """Return the consistency function's clean latents for ``latents`` (b ...) at ``timestep``."""
    c_skip, c_out = boundary_scalings(float(timestep))
    return c_out * schedule.predict_x0(prediction, latents, timestep) + c_skip * latents


def renoise(schedule: NoiseSchedule, denoised: Any, timestep: int, noise: Any) -> Any:
    """Return ``denoised`` carried forward to ``timestep`` with fresh ``noise`` of the same shape."""
    return mix(denoised, noise, *schedule.coefficients(timestep))
