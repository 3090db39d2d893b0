"""VideoComposer's diffusion in the original's words (ali-vilab/videocomposer, artist/ops/diffusion.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen_cli.diffusion import samplers
from videogen_cli.diffusion.vgen import GaussianDiffusion
from videogen_cli.originals import only_ours

_PUBLISHED = {"init_beta": 0.00085, "last_beta": 0.0120}  # of the schedule linear_sd
_NUMBERS = ("num_timesteps", "init_beta", "last_beta", "zero_terminal_snr")
# Switch -> the values under which DDIM and the loss are ours; the variance of DDPM's own sampler is read by neither.
_SWITCHES = {"var_type": ("fixed_small", "fixed_large"), "loss_type": "mse", "rescale_timesteps": False}


def gaussian_diffusion(config: Mapping[str, Any]) -> GaussianDiffusion:
    """Return the forward process that ``config`` describes.

    Raises:
        DataError: it asks for something we do not have.
    """
    only_ours(config, _SWITCHES)
    schedule = config.get("schedule", "linear_sd")
    numbers = {name: config[name] for name in _NUMBERS if config.get(name) is not None}
    if schedule == "linear_sd":
        numbers = {**_PUBLISHED, **numbers}
    return GaussianDiffusion.create({**config, "schedule": schedule, "schedule_param": numbers})


def ddim(
    config: Mapping[str, Any],
    denoise: samplers.Denoise,
    latents: Any,
    *,
    timesteps: Sequence[int] | None = None,
    step_noise: np.ndarray | None = None,
    callback: samplers.Callback | None = None,
) -> Any:
    """Sample in the original's steps, of which each arrives one stride on; the last arrives at 0, not at no noise.

    Args:
        config: the schedule's hyper-parameters, ``ddim_timesteps``, and if need be ``eta``, ``clamp``, ``percentile``.
        denoise: (latents, timestep) -> the network's output, guidance included.
        latents: starting noise (b c f h w).
        timesteps: those to take instead of all.
        step_noise: fresh noise (steps b c f h w), needed when ``eta`` is not 0.
        callback: called after every step.

    Raises:
        DataError: ``config`` asks for something we do not have.
        UsageError: ``eta`` needs noise and there is none.
    """
    diffusion, count = gaussian_diffusion(config), config["ddim_timesteps"]
    if timesteps is None:
        timesteps = diffusion.steps(count)[0]
    stride = len(diffusion.betas) // count
    return samplers.ddim(
        lambda x, t: diffusion.prediction(denoise(x, t), x, t),
        latents,
        diffusion.schedule,
        timesteps,
        previous=[max(t - stride, 0) for t in timesteps],
        eta=config.get("eta", 0.0),
        noise=None if step_noise is None else lambda step: step_noise[step],
        limit=_limit(config),
        callback=callback,
    )


def _limit(config: Mapping[str, Any]) -> samplers.Limit | None:
    """Return what the estimates of the clean latents are held to by ``percentile`` or ``clamp``, if by anything.

    A percentile divides by the value below which so large a share of a sample's magnitudes lies, at least 1.
    """
    share, bound = config.get("percentile"), config.get("clamp")
    if share is not None:

        def rescaled(x0: np.ndarray) -> np.ndarray:
            reach = np.quantile(np.abs(x0).reshape(len(x0), -1), share, axis=1)
            reach = np.maximum(reach, 1).reshape(-1, *[1] * (x0.ndim - 1)).astype(x0.dtype)
            return np.clip(x0, -reach, reach) / reach

        return rescaled
    return None if bound is None else lambda x0: np.clip(x0, -bound, bound)
