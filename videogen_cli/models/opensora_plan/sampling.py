"""From text states to frames, as VideoGenPipeline does it (opensora/sample/pipeline_videogen.py). Arrays are numpy.

Shapes: b samples, l text tokens, d text width, c channels, f latent frames, h w latents.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen_cli.diffusion.guidance import guide
from videogen_cli.diffusion.solvers.base import Solver

Predict = Callable[[np.ndarray, float, np.ndarray], np.ndarray]  # (latents, timestep, text states) -> prediction
Noise = Callable[[int], "np.ndarray | None"]  # call index -> fresh noise
Callback = Callable[[int, int, np.ndarray], None]  # (call, calls, latents after it)


def masked_states(
    prompt: np.ndarray, mask: np.ndarray, negative: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what the transformer reads of the states (b l d) of prompts and negative prompts.

    One prompt is cut to its length, the negative one to the same, and so keeps padding. Of several prompts the
    padding becomes zeros, which are attended to; the negative ones stay as they are. No mask is needed then.
    """
    if len(prompt) > 1:
        return prompt * mask[:, :, None].astype(prompt.dtype), negative
    length = int(mask.sum())
    return prompt[:, :length], None if negative is None else negative[:, :length]


def sample(
    predict: Predict,
    noise: np.ndarray,
    solver: Solver,
    prompt: np.ndarray,
    negative: np.ndarray | None = None,
    *,
    guidance_scale: float = 7.5,
    fresh_noise: Noise = lambda _: None,
    callback: Callback | None = None,
) -> np.ndarray:
    """Sample latents (b c f h w), still multiplied by the autoencoder's scale.

    Args:
        predict: the transformer; of a prediction with twice the latents' channels the variance is not looked at.
        noise: unit noise (b c f h w).
        solver: how to integrate.
        prompt: text states (b l d).
        negative: those of negative prompts; without them there is no guidance.
        guidance_scale: of classifier-free guidance, which also holds for the variance.
        fresh_noise: unit noise of calls that draw.
        callback: called after every call of the network.
    """
    guided = negative is not None and guidance_scale > 1
    states = prompt if negative is None or not guided else np.concatenate([negative, prompt])
    latents, state = noise * np.float32(solver.init_noise_sigma), None
    for index, timestep in enumerate(solver.timesteps):
        scaled = solver.scale_input(latents, index)
        prediction = predict(np.concatenate([scaled, scaled]) if guided else scaled, float(timestep), states)
        if guided:
            unconditional, conditional = np.split(prediction, 2)
            prediction = guide(conditional, unconditional, guidance_scale)
        prediction = prediction[:, : latents.shape[1]]
        latents, state = solver.step(prediction, latents, index, state, fresh_noise(index))
        if callback:
            callback(index, len(solver.timesteps), latents)
    return latents


def first_finished(solver: Solver) -> int:
    """Return after which call upstream first reports latents: the warm-up is left out, and the middle of steps."""
    calls, per_step = len(solver.timesteps), solver.calls_per_step
    warm_up = max(calls - solver.steps * per_step, 0)
    finished = (i for i in range(calls) if i + 1 > warm_up and (i + 1) % per_step == 0)
    return next(finished, calls - 1)


def to_unit_range(video: np.ndarray) -> np.ndarray:
    """Turn a decoded video (b 3 t h w) into frames (b t 3 h w) in [0, 1]."""
    return np.clip(video / 2 + 0.5, 0, 1).transpose(0, 2, 1, 3, 4)


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Turn frames (b t 3 h w) in [0, 1] into 8 bit ones (b t h w 3), cut off instead of rounded."""
    return (frames * np.float32(255)).astype(np.uint8).transpose(0, 1, 3, 4, 2)
