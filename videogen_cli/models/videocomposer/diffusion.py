"""VideoComposer's diffusion in the original's words (ali-vilab/videocomposer, artist/ops/diffusion.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen_cli.diffusion import samplers
from videogen_cli.diffusion.schedules import NoiseSchedule
from videogen_cli.errors import DataError

# The original's word -> ours, and its first and last beta when none are given (of 1000 steps).
_SCHEDULES = {
    "linear_sd": ("scaled_linear", 0.00085, 0.0120),
    "quadratic": ("scaled_linear", 0.0015, 0.0195),
    "linear": ("linear", 0.0001, 0.02),
    "cosine": ("cosine", 0.0, 0.0),
}
_PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
_VARIANCES = ("fixed_small", "fixed_large")  # DDIM reads neither


def noise_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """Return the schedule that ``config`` describes, in float64.

    Raises:
        DataError: it asks for something we do not have.
    """
    kind, prediction = config.get("schedule", "linear_sd"), config.get("mean_type", "eps")
    for word, known, where in (
        (kind, _SCHEDULES, "schedule"),
        (prediction, _PREDICTIONS, "mean_type"),
        (config.get("var_type", "fixed_small"), _VARIANCES, "var_type"),
        (bool(config.get("rescale_timesteps", False)), (False,), "rescale_timesteps"),
    ):
        if word not in known:
            raise DataError(f"'{word}' is not one of {', '.join(map(str, known))}", where=where)
    name, first, last = _SCHEDULES[kind]
    steps = config.get("num_timesteps", 1000)
    scale = 1000 / steps if kind == "linear" else 1
    return NoiseSchedule.create(
        name,
        steps,
        config.get("init_beta") or first * scale,
        config.get("last_beta") or last * scale,
        prediction_type=_PREDICTIONS[prediction],
        zero_snr=config.get("zero_terminal_snr", False),
        dtype=np.float64,
    )


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
        denoise: (latents, timestep) -> prediction, guidance included.
        latents: starting noise (b c f h w).
        timesteps: those to take instead of all.
        step_noise: fresh noise (steps b c f h w), needed when ``eta`` is not 0.
        callback: called after every step.

    Raises:
        DataError: ``config`` asks for something we do not have.
        UsageError: ``eta`` needs noise and there is none.
    """
    schedule = noise_schedule(config)
    count = config["ddim_timesteps"]
    stride = schedule.train_timesteps // count
    if timesteps is None:
        timesteps = samplers.ddim_timesteps(count, schedule.train_timesteps)
    return samplers.ddim(
        denoise,
        latents,
        schedule,
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
