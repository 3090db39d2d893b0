"""How golden cases of samplers are run: schedulers call by call, and the Gaussian diffusion around the transformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion.gaussian import GaussianDiffusion
from videogen_cli.diffusion.solvers import SOLVERS, create
from videogen_cli.diffusion.solvers.base import Solver
from videogen_cli.errors import DataError, UsageError
from videogen_cli.metrics.parity import Case, UnsupportedCase
from videogen_cli.metrics.parity_gradients import by_original_name, gradients, norm
from videogen_cli.models.opensora_plan.parity_transformer import load_transformer, predict_noise

Outputs = dict[str, Any]
_NOT_OPTIONS = ("sample_method", "num_inference_steps")


def scheduler(case: Case) -> Outputs:
    """Feed the recorded predictions in order; every step starts from what the one before made."""
    given = case.inputs
    solver = case_solver(case)
    latents = given["initial_noise"] * np.float32(solver.init_noise_sigma)
    results: Outputs = {"initial_sample": latents, "init_noise_sigma": solver.init_noise_sigma}
    noise, state = given.get("step_noise"), None
    scaled, after = [], []
    for index, prediction in enumerate(given["model_output"]):
        scaled.append(solver.scale_input(latents, index))
        fresh = None if noise is None else noise[index]
        latents, state = solver.step(prediction, latents, index, state, fresh)
        after.append(latents)
    results |= {"timesteps": solver.timesteps, "sigmas": solver.sigmas}
    return {**results, "scaled_input": np.stack(scaled), "prev_sample": np.stack(after)}


def case_solver(case: Case) -> Solver:
    """Build the scheduler that a case's config describes; keys that begin with "_" are remarks.

    Raises:
        UnsupportedCase: an unknown scheduler.
        DataError: an option it does not have, or cannot follow.
    """
    config = case.config
    name = config.get("sample_method", case.record["checkpoint_type"])
    if name not in SOLVERS:
        raise UnsupportedCase(f"unsupported scheduler '{name}'")
    options = {key: value for key, value in config.items() if key not in _NOT_OPTIONS and not key.startswith("_")}
    try:
        return create(name, int(config["num_inference_steps"]), options)
    except UsageError as error:
        raise DataError(error.what, where=error.where or case.name, hint=error.hint) from error


def scheduler_gaussian_p_sample(case: Case) -> Outputs:
    """Sample with the transformer's learned variance and the recorded noise (``GaussianDiffusion_T.p_sample``)."""
    given = case.inputs
    diffusion, cell = case_diffusion(case), load_transformer(case)
    text, mask = given["encoder_hidden_states"], given.get("encoder_attention_mask")
    latents, samples, estimates = given["initial_noise"], [], []
    for call, index in enumerate(reversed(range(diffusion.steps))):
        timesteps = np.full(len(latents), diffusion.timestep_map[index])
        output = predict_noise(cell, latents, timesteps, text, mask)
        clip = case.config.get("clip_denoised", True)
        latents, x0 = diffusion.previous(output, latents, index, given["step_noise"][call], clip=clip)
        samples.append(latents)
        estimates.append(x0)
    found: Outputs = {"timestep_map": diffusion.timestep_map, "betas": diffusion.betas}
    return {**found, "sample": np.stack(samples), "pred_xstart": np.stack(estimates)}


def loss_diffusion(case: Case) -> Outputs:
    """One batch's loss, and its gradients by the original's names (``GaussianDiffusion_T.training_losses``)."""
    given, images = case.inputs, int(case.config.get("use_image_num", 0))
    diffusion, cell = case_diffusion(case), load_transformer(case)
    from videogen_cli.diffusion.gaussian_loss import GaussianLoss  # the device has been started by now

    measure, steps = GaussianLoss(diffusion), given["t"]
    noisy = diffusion.add_noise(given["x_start"], given["noise"], steps)

    def loss(x0: Any, xt: Any, noise: Any, timesteps: Any, tables: Any, text: Any, mask: Any) -> Any:
        output = cell(xt, timesteps, text, mask, images)
        total, mse, bound = measure(output, x0, xt, noise, tables)
        return total.mean(), total, mse, bound, output

    arrays = given["x_start"], noisy, given["noise"], diffusion.timestep_map[steps].astype(np.float32)
    text = given["encoder_hidden_states"], given.get("encoder_attention_mask")
    outputs, found = gradients(loss, {"transformer": cell}, *arrays, diffusion.tables[steps], *text)
    results = dict(zip(("loss", "loss_per_sample", "mse", "vb", "model_output"), outputs, strict=True))
    named = by_original_name(case, case.record["checkpoint_type"], found)
    grads = {f"grad.{name}": value for name, value in named.items()}
    return {**results, **grads, "x_t": noisy, "grad_norm": norm(found)}


def case_diffusion(case: Case) -> GaussianDiffusion:
    """Build the diffusion that a case's config describes in the words of upstream's ``create_diffusion_T``.

    Raises:
        DataError: a word or a respacing that does not exist.
    """
    config = case.config
    respacing = config.get("timestep_respacing") or ""  # a word, a number, or a list of them
    fixed = "fixed_small" if config.get("sigma_small", False) else "fixed_large"
    loss = "rescaled_mse" if config.get("rescale_learned_sigmas", False) else "mse"
    try:
        return GaussianDiffusion.create(
            ",".join(map(str, respacing)) if isinstance(respacing, list) else str(respacing),
            config.get("noise_schedule", "linear"),
            config.get("diffusion_steps", 1000),
            predicts_x0=config.get("predict_xstart", False),
            variance="learned_range" if config.get("learn_sigma", True) else fixed,
            loss="rescaled_kl" if config.get("use_kl", False) else loss,
        )
    except UsageError as error:
        raise DataError(error.what, where=error.where or case.name, hint=error.hint) from error
