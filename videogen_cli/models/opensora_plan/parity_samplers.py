"""How golden cases of samplers are run: schedulers call by call, and the Gaussian diffusion with the transformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion.solvers import SOLVERS, create
from videogen_cli.diffusion.solvers.base import Solver
from videogen_cli.errors import DataError, UsageError
from videogen_cli.metrics.parity import Case, UnsupportedCase

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
