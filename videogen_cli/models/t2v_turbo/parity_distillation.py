"""How the golden cases of consistency distillation are run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from videogen_cli.diffusion import lcm
from videogen_cli.diffusion.ddim_solver import DDIMSolver, dynamic_scale
from videogen_cli.diffusion.losses import mse
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import gradients, norm
from videogen_cli.metrics.parity_networks import build, read_weights
from videogen_cli.models.t2v_turbo.params import component_params
from videogen_cli.models.t2v_turbo.parity import DEFAULT_FPS, noise_schedule
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS, TIME_COND_PROJ, VC2_KEYS
from videogen_cli.weights.lora import DOWN, UP, WEIGHT, load_lora

Outputs = dict[str, Any]


def loss_distill(case: Case) -> Outputs:
    """One evaluation of the distillation loss, both kinds of it, and the gradients of the low-rank factors."""
    cells = _networks(case)
    from videogen_cli.models.t2v_turbo.distillation import DistillationLoss, DistillationPlan

    given, config = case.inputs, case.config
    schedule, index = noise_schedule(case), given["index"]
    solver = DDIMSolver(schedule, config.get("num_ddim_timesteps", 50), _scale(case), config.get("ddim_eta", 0.0))
    scaling = config.get("timestep_scaling_factor", lcm.TIMESTEP_SCALING)
    plan = DistillationPlan(schedule, solver, config.get("topk", 20), scaling)
    start, end = plan.timesteps(index)
    noisy = schedule.add_noise(given["latents"], given["noise"], start)
    width = cells["student"].time_cond_proj.weight.shape[1]
    inputs = (
        *(noisy, start.astype(np.float32), end.astype(np.float32), plan.coefficients(index), given["w"]),
        lcm.guidance_scale_embedding(given["w"], width),
        *(given["context"], given["uncond_context"]),
        np.broadcast_to(np.float32(given.get("fps", DEFAULT_FPS)), (len(index),)),
    )
    shared = {"huber_c": config.get("huber_c", 0.001), "prediction_type": schedule.prediction_type}
    cell = DistillationLoss(cells["student"], cells["teacher"], config.get("loss_type", "huber"), **shared)
    (loss, predicted, step, target), grads = gradients(cell, {"unet": cells["student"]}, *inputs, only=".lora.")
    factors = {_original_name(name): part for name, part in grads.items()}
    return {
        "noisy": noisy,
        "start_timesteps": start,
        "timesteps": end,
        "model_pred": predicted,
        "x_prev": step,
        "target": target,
        "loss": loss,
        "loss_l2": mse(predicted, target),
        "grad_norm": norm(factors),
        **{f"grad.{name}": part for name, part in factors.items()},
    }


def _networks(case: Case) -> dict[str, Any]:
    """Return the teacher, and the student: the same weights with low-rank factors beside them."""
    student_params = LORA_KEYS.prepare(component_params(case.config), {})["unet"]
    student = build(case, {"unet": student_params})["unet"]
    teacher = build(case, {"unet": replace(student_params, time_cond_proj_dim=0)})["unet"]
    from videogen_cli.nets.lora import adapt
    from videogen_cli.runtime import module

    layers = LORA_KEYS.targets({"unet": student})["unet"]
    base = read_weights(case, {"unet": teacher}, "vc2", role="base")["unet"]
    factors = case.weights("lora")
    if len(factors) != 1:
        raise DataError("LoRA factors must be one file", where=case.name)
    lora = load_lora(factors[0], layers)
    weights: dict[str, Any] = {**base, **lora.base}
    if "time_cond_proj_weight" in case.inputs:
        weights[TIME_COND_PROJ] = case.inputs["time_cond_proj_weight"]
    for name, (up, down) in lora.factors.items():
        weights |= {f"{name}.lora.up": up, f"{name}.lora.down": down}
    adapt(student, lora.rank, float(case.config.get("lora_alpha", lora.alpha)))
    module.load(teacher, base, where=case.name)
    module.load(student, weights, where=case.name)
    return {"student": student, "teacher": teacher}


def _scale(case: Case) -> np.ndarray | None:
    config = case.config
    if not config.get("use_scale"):
        return None
    return dynamic_scale(
        config.get("scale_a", 1.0),
        config.get("scale_b", 0.7),
        config.get("mid_step", 400),
        config.get("timesteps", 1000),
    )


def _original_name(parameter: str) -> str:
    """Return the published name of a factor's gradient (``unet.<module>.lora.up``)."""
    module, _, part = parameter.partition(".lora.")
    layer = VC2_KEYS.source_name(module + WEIGHT).removeprefix("model.diffusion_model.").removesuffix(WEIGHT)
    return layer + {"up": UP, "down": DOWN}[part]
