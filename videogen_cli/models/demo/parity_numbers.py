"""How DEMO's golden cases of schedules, sampling and optimisation are run; every function returns a case's outputs.

Inputs and outputs have upstream's names (PR-Ryan/DEMO; deepspeed 0.13.1 for the rate and the optimizer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from videogen_cli.config import CycleConfig, TrainConfig
from videogen_cli.diffusion import samplers
from videogen_cli.diffusion.guidance import guide
from videogen_cli.diffusion.vgen import GaussianDiffusion
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.originals import only_ours
from videogen_cli.train.schedule import betas, learning_rate

Outputs = dict[str, Any]
_CYCLE_FIELDS = {
    "cycle_min_lr": "min_rate",
    "cycle_max_lr": "max_rate",
    "cycle_first_step_size": "rise_steps",
    "cycle_second_step_size": "fall_steps",
    "decay_step_size": "decay_steps",
    "decay_lr_rate": "rate_decay",
    "cycle_momentum": "cycle_betas",
    "cycle_min_mom": "min_beta1",
    "cycle_max_mom": "max_beta1",
    "decay_mom_rate": "beta1_decay",
}
_STAIRS = ("cycle_first_stair_count", "cycle_second_stair_count", "last_batch_iteration")  # no effect at the start


def scheduler(case: Case) -> Outputs:
    """The tables of every schedule in the config."""
    results: Outputs = {}
    for name, config in case.config.items():
        diffusion = GaussianDiffusion.create(config)
        variance, of_x0, of_xt = diffusion.posterior
        results |= {
            f"{name}.betas": diffusion.betas,
            f"{name}.alphas_cumprod": diffusion.schedule.alphas_cumprod,
            f"{name}.posterior_variance": variance,
            f"{name}.posterior_mean_coef1": of_x0,
            f"{name}.posterior_mean_coef2": of_xt,
        }
    return results


def scheduler_ddim(case: Case) -> Outputs:
    """A whole sampling loop over recorded network outputs."""
    given, config = case.inputs, case.config
    diffusion = GaussianDiffusion.create(config)
    only_ours(config, {"clamp": None, "percentile": None, "rescale_timesteps": False})
    visited, arrivals = diffusion.steps(config["ddim_timesteps"])
    draws = given.get("step_noise", given.get("noise"))
    steps: list[samplers.Step] = []

    def denoise(latents: np.ndarray, timestep: int) -> np.ndarray:
        output = given["cond_output"][len(steps)]
        if config.get("guide_scale") is not None:
            output = guide(output, given["uncond_output"][len(steps)], config["guide_scale"])
        output = output[:, : latents.shape[1]]  # what follows is a learned variance, which DDIM does not use
        return diffusion.prediction(output, latents, timestep)

    samplers.ddim(
        denoise,
        given["sample"],
        diffusion.schedule,
        visited,
        previous=arrivals,
        eta=config.get("eta", 0.0),
        noise=None if draws is None else lambda step: draws[step],
        callback=lambda *event: steps.append(event[2]),
    )
    abar = diffusion.schedule.alphas_cumprod
    return {
        "timesteps": visited,
        "pred_x0": np.stack([step.denoised for step in steps]),
        "prev_sample": np.stack([step.latents for step in steps]),
        "alphas_cumprod_t": abar[visited],
        "alphas_cumprod_prev": abar[arrivals],
    }


def lr_schedule(case: Case) -> Outputs:
    """Rate and betas at the given updates; a group's own rate is overwritten by the cycle, as upstream's is."""
    config = case.config
    if config.get("type", "OneCycle") != "OneCycle":
        raise DataError(f"'{config['type']}' is not supported, only OneCycle", where="scheduler.type")
    train = _train_config(config["params"], config.get("optimizer", {}))
    updates = [int(update) for update in case.inputs["update_index"]]
    rates = [learning_rate(update, train) for update in updates]
    firsts, seconds = zip(*(betas(update, train) for update in updates), strict=True)
    return {"lr": rates, "lr_motion_encoder": rates, "beta1": firsts, "beta2": seconds}


def optimizer(case: Case) -> Outputs:
    """Updates of the trainer's optimizer on recorded micro-batch gradients."""
    from videogen_cli.runtime import context

    context.start(case.device)
    import mindspore as ms

    from videogen_cli.train.layout import Layout, Slot
    from videogen_cli.train.optimizer import hyperparameters, make_optimizer

    given, config = case.inputs, case.config
    train = _train_config(config.get("scheduler"), config)
    names = sorted((name for name in given if name.startswith("param_")), key=lambda name: int(name[6:]))
    ends = np.cumsum([given[name].size for name in names]).tolist()
    slots = tuple(
        Slot("net", name, given[name].shape, end - given[name].size, given[name].size)
        for name, end in zip(names, ends, strict=True)
    )
    layout = Layout(slots, ends[-1])
    adamw = make_optimizer(train, layout, [ms.Parameter(ms.Tensor(given[name]), name=name) for name in names])
    results: Outputs = {}
    norms = []
    count, micro = given[names[0].replace("param", "grads")].shape[:2]
    for step in range(count):
        grads = {name: given[name.replace("param", "grads")][step].sum(0) for name in names}
        hyper = hyperparameters(train, learning_rate(step, train), step, 1.0 / micro)
        report = adamw.step(ms.Tensor(layout.join({"net": grads})), ms.Tensor([0.0], ms.float32), hyper)
        norms.append(report[0])
        after = adamw.state()["weights"]["net"]
        results |= {f"{name}_after_{step}": value.copy() for name, value in after.items()}
    return {**results, "grad_norm": np.array(norms)}


def _train_config(cycle: Mapping[str, Any] | None, optimizer: Mapping[str, Any]) -> TrainConfig:
    """Return our settings for DeepSpeed's ``OneCycle`` (None for a constant rate) and optimizer."""
    first, second = optimizer.get("betas", (0.9, 0.999))
    common: dict[str, Any] = {
        "learning_rate": optimizer.get("lr", 1e-3),
        "beta1": first,
        "beta2": second,
        "epsilon": optimizer.get("eps", 1e-8),
        "weight_decay": optimizer.get("weight_decay", 0.0),
        "clip_norm": optimizer.get("gradient_clipping", 0.0),
    }
    if cycle is None:
        return TrainConfig(**common)
    unknown = [key for key in cycle if key not in (*_CYCLE_FIELDS, *_STAIRS)]
    if unknown:
        raise DataError("is not supported", where=f"scheduler.params.{unknown[0]}")
    given = {_CYCLE_FIELDS[key]: value for key, value in cycle.items() if key in _CYCLE_FIELDS and value is not None}
    defaults = {"min_beta1": 0.8, "max_beta1": 0.9}  # DeepSpeed's
    numbers = {**defaults, "fall_steps": given.get("rise_steps", 2000), **given}
    return TrainConfig(schedule="one_cycle", cycle=CycleConfig(**numbers), **common)
