"""How golden cases about VideoComposer's noise schedule and its guided DDIM steps are run.

Inputs and outputs have upstream's names (ali-vilab/videocomposer, artist/ops/diffusion.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion import samplers
from videogen_cli.diffusion.guidance import guide
from videogen_cli.diffusion.vgen import GaussianDiffusion
from videogen_cli.metrics.parity import Case
from videogen_cli.models.videocomposer.diffusion import ddim, gaussian_diffusion

Outputs = dict[str, Any]


def scheduler(case: Case) -> Outputs:
    """The schedule's tables, recorded steps, noising, and a whole loop with a model in closed form."""
    given, diffusion = case.inputs, gaussian_diffusion(case.config)
    timesteps, _ = diffusion.steps(case.config["ddim_timesteps"])
    results: Outputs = {"timesteps": timesteps, **_tables(diffusion)}
    if "q.x0" in given:
        results["q.xt"] = diffusion.schedule.add_noise(given["q.x0"], given["q.noise"], given["q.t"])
    if "timestep" in given:
        steps = [_recorded_step(case, index) for index in range(len(given["timestep"]))]
        results["prev_sample"] = np.stack([step.latents for step in steps])
        results["pred_x0"] = np.stack([step.denoised for step in steps])
    if "loop.noise" in given:
        results["loop.x0"] = _closed_form_loop(case, len(diffusion.betas))
    return results


def _tables(diffusion: GaussianDiffusion) -> Outputs:
    abar = diffusion.schedule.alphas_cumprod
    return {
        "betas": diffusion.betas,
        "alphas_cumprod": abar,
        "sqrt_alphas_cumprod": np.sqrt(abar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - abar),
        "posterior_variance": diffusion.posterior[0],
    }


def _guided(case: Case, conditional: np.ndarray, unconditional: np.ndarray | None) -> np.ndarray:
    scale = case.config.get("guide_scale")
    return conditional if scale is None or unconditional is None else guide(conditional, unconditional, scale)


def _recorded_step(case: Case, index: int) -> samplers.Step:
    """Take one step from a recorded sample with recorded predictions."""
    given = case.inputs
    drawn = given.get("step_noise", given.get("noise"))
    t = int(given["timestep"][index])
    without = given["eps_uncond"][index] if "eps_uncond" in given else None
    prediction = _guided(case, given["eps_cond"][index], without)
    taken: list[samplers.Step] = []
    ddim(
        case.config,
        lambda *_: prediction,
        given["sample"][index],
        timesteps=[t],
        step_noise=None if drawn is None else drawn[index : index + 1],
        callback=lambda *event: taken.append(event[2]),
    )
    return taken[0]


def _closed_form_loop(case: Case, train_timesteps: int) -> np.ndarray:
    """Sample with tanh(0.7 x + c) t / T in place of a network, c being the condition."""
    given = case.inputs

    def model(latents: np.ndarray, timestep: float, condition: str) -> np.ndarray | None:
        if condition not in given:
            return None
        return np.tanh(0.7 * latents + given[condition]) * (timestep / train_timesteps)

    def denoise(latents: np.ndarray, timestep: float) -> np.ndarray:
        conditional = model(latents, timestep, "loop.c_cond")
        assert conditional is not None
        return _guided(case, conditional, model(latents, timestep, "loop.c_uncond"))

    return ddim(case.config, denoise, given["loop.noise"], step_noise=given.get("loop.step_noise"))
