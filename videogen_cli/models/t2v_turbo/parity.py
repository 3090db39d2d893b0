"""How each component of T2V-Turbo's golden cases is run; every function takes a case and returns its outputs.

Inputs and outputs have upstream's names (Ji4chenLi/t2v-turbo). Shapes: b samples, c channels, t frames, h w latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from videogen_cli.config import SampleConfig
from videogen_cli.data.tokenizers import OPENCLIP, load_tokenizer
from videogen_cli.diffusion import lcm, samplers
from videogen_cli.diffusion.ddim_solver import DDIMSolver, dynamic_scale
from videogen_cli.diffusion.losses import huber, mse
from videogen_cli.diffusion.schedules import PREDICTION_TYPES, NoiseSchedule
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case, UnsupportedCase
from videogen_cli.metrics.parity_networks import build, call, checkpoint_kind, networks, read_weights
from videogen_cli.models.t2v_turbo import modelscope
from videogen_cli.models.t2v_turbo.params import component_params
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS, VC2_KEYS, VC2_UNET, student_weights
from videogen_cli.registry import load_attr
from videogen_cli.weights.lora import load_lora

Outputs = dict[str, Any]
DEFAULT_FPS = 16  # of upstream's UNet, when none is given
_PROJECTIONS = ("time_cond_proj", "motion_cond_proj", "combine_proj")


def unet(case: Case) -> Outputs:
    """One call; ``eps_motion`` and ``eps_time`` are with and without the motion condition of T2V-Turbo-v2."""
    cell = networks(case, ("unet",), _unet_kind(case), role="base", given=_given_projections(case))["unet"]
    eps = predict(cell, case)
    without = predict(cell, case, motion=False) if "eps_time" in case.outputs else None
    return {"eps": eps, "eps_motion": eps, "eps_time": without}


def vae(case: Case) -> Outputs:
    """Encode ``pixels`` (n 3 h w), sample with ``noise``, and decode the scaled video latents ``z`` (b c t h w)."""
    return autoencode(networks(case, ("vae",), "vc2", role="base")["vae"], case, case.config["scale_factor"])


def text_encoder(case: Case) -> Outputs:
    """Encode ``tokens`` (b l)."""
    return {"hidden": call(networks(case, ("text",), "vc2", role="base")["text"], case.inputs["tokens"])}


def model_vc2(case: Case) -> Outputs:
    """All three networks of one container; the UNet reads the text states of ``tokens``."""
    cells = networks(case, ("unet", "vae", "text"), "vc2", role="base", given=_given_projections(case))
    states = call(cells["text"], case.inputs["tokens"])
    context = case.inputs.get("context", states)
    vae_outputs = autoencode(cells["vae"], case, case.config["scale_factor"])
    return {"prompt_embeds": states, "eps": predict(cells["unet"], case, context), **vae_outputs}


def lora_merged_unet(case: Case) -> Outputs:
    """One call of the student, and the merged weights by upstream's names."""
    cells = build(case, {"unet": student_params(case)["unet"]})
    weights = load_student(case, cells)
    upstream = load_attr(checkpoint_kind(case, teacher_kind(case)).key_map).export(
        {f"unet.{name}": weight for name, weight in weights.items()}
    )
    merged = {f"merged.{name.removeprefix(VC2_UNET)}": weight for name, weight in upstream.tensors.items()}
    wanted = {name: weight.float32() for name, weight in merged.items() if name in case.outputs}
    return {"eps": predict(cells["unet"], case), **wanted}


def pipeline_vc2(case: Case) -> Outputs:
    """See :func:`run_pipeline`."""
    return run_pipeline(case, case.config["scale_factor"])


def run_pipeline(case: Case, latent_scale: float) -> Outputs:
    """Tokens to video through the pipeline of ``vgen infer``, with the recorded noise of every step."""
    from videogen_cli.models.t2v_turbo import FewStepDiffusionConfig, T2VTurboConfig
    from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline

    given = case.inputs
    params = student_params(case)
    cells = build(case, params)
    others = {name: cells[name] for name in ("vae", "text")}
    for name, tensors in read_weights(case, others, teacher_kind(case), role="base").items():
        _load(cells[name], tensors, case)
    load_student(case, cells)
    sample = SampleConfig(
        sampler="lcm",
        num_inference_steps=int(given["num_inference_steps"]),
        guidance_scale=float(given["guidance_scale"]),
        fps=int(given.get("fps", DEFAULT_FPS)),
    )
    diffusion = FewStepDiffusionConfig(origin_steps=int(given.get("lcm_origin_steps", 50)), latent_scale=latent_scale)
    pipeline = T2VTurboPipeline(T2VTurboConfig(sample=sample, diffusion=diffusion, **params), cells)
    steps: list[samplers.Step] = []
    context = pipeline.encode_tokens(given["tokens"])
    latents = pipeline.sample_from(
        given["latents"], context, lambda step: given[f"noise{step}"], lambda *event: steps.append(event[2])
    )
    results = {"prompt_embeds": context, "timesteps": [step.timestep for step in steps]}
    for index, step in enumerate(steps):
        results[f"step{index}.model_output"] = step.prediction
        results[f"step{index}.prev_sample"] = step.latents
        results[f"step{index}.denoised"] = step.denoised
    return {**results, "video": pipeline.decode_float(latents)}


def scheduler(case: Case) -> Outputs:
    """The chosen timesteps, recorded steps, and noising."""
    given, schedule = case.inputs, noise_schedule(case)
    count, origin = given.get("timesteps_args", (case.config["num_inference_steps"], case.config["lcm_origin_steps"]))
    steps = lcm.timesteps(int(count), int(origin), schedule.train_timesteps)
    results: Outputs = {"timesteps": steps, "alphas_cumprod": schedule.alphas_cumprod}
    for record in (name.removesuffix(".sample") for name in given if name.endswith(".sample")):
        t, sample = int(given[f"{record}.timestep"]), given[f"{record}.sample"]
        denoised = previous = lcm.denoise(schedule, given[f"{record}.model_output"], sample, t)
        if len(steps) > 1:
            following = [*steps, steps[-1]][steps.index(t) + 1]
            previous = lcm.renoise(schedule, denoised, following, given[f"{record}.noise"])
        c_skip, c_out = lcm.boundary_scalings(float(t))
        results |= {f"{record}.denoised": denoised, f"{record}.prev_sample": previous}
        results |= {f"{record}.c_skip": c_skip, f"{record}.c_out": c_out}
    if "add_x0" in given:
        results["noisy"] = schedule.add_noise(given["add_x0"], given["add_noise"], given["add_t"])
    return results


def scheduler_math(case: Case) -> Outputs:
    """Embedding of the guidance scale, boundary scalings, losses, and x0 and noise for every prediction type."""
    given, config = case.inputs, case.config
    steps, sample, output = given["timesteps"], given["sample"], given["model_output"]
    scaling, sigma_data = config.get("timestep_scaling", 10.0), config.get("sigma_data", 0.5)
    c_skip, c_out = lcm.boundary_scalings(steps.astype(np.float32), scaling, sigma_data)
    results: Outputs = {
        "w_embedding": lcm.guidance_scale_embedding(given["w"], config.get("embedding_dim", 256)),
        "c_skip": c_skip,
        "c_out": c_out,
        "huber": huber(sample, output, config.get("huber_c", 0.001)),
        "l2": mse(sample, output),
    }
    for kind in PREDICTION_TYPES:
        schedule = noise_schedule(case, kind)
        results[f"x0_{kind}"] = schedule.predict_x0(output, sample, steps)
        results[f"eps_{kind}"] = schedule.predict_noise(output, sample, steps)
    return results


def ddim_solver(case: Case) -> Outputs:
    """The distillation solver's tables, one step down and one up."""
    given, config = case.inputs, case.config
    scale = None
    if config.get("use_scale"):
        scale = dynamic_scale(config["scale_a"], config["scale_b"], config["mid_step"], config["timesteps"])
    solver = DDIMSolver(noise_schedule(case), config["ddim_timesteps"], scale, config.get("ddim_eta", 0.0))
    estimates = given["pred_x0"], given["pred_noise"]
    return {
        "ddim_timesteps": solver.timesteps,
        "ddim_alpha_cumprods": solver.alphas_cumprod,
        "ddim_alpha_cumprods_prev": solver.alphas_cumprod_prev,
        "ddim_scale_arr": solver.scale,
        "ddim_scale_arr_prev": solver.scale_prev,
        "x_prev": solver.step(*estimates, given["index"], given.get("noise", 0.0)),
        "reverse": solver.reverse_step(*estimates, solver.timesteps[given["index"]]),
    }


def tokenizer_openclip(case: Case) -> Outputs:
    """Ids of ``config.texts``."""
    return {"tokens": load_tokenizer(OPENCLIP, case.config.get("context_length", 77)).encode(case.config["texts"])}


def noise_schedule(case: Case, prediction_type: str | None = None) -> NoiseSchedule:
    """Return the forward process of a case's config; ``prediction_type`` stands in for the config's."""
    config = case.config
    return NoiseSchedule.create(
        config.get("beta_schedule", "scaled_linear"),
        config.get("num_train_timesteps", config.get("timesteps", 1000)),
        config.get("linear_start", 0.00085),
        config.get("linear_end", 0.012),
        prediction_type=prediction_type or config.get("prediction_type", "epsilon"),
        zero_snr=config.get("rescale_betas_zero_snr", False),
    )


def predict(cell: Any, case: Case, context: np.ndarray | None = None, *, motion: bool = True) -> np.ndarray:
    """Run the UNet on a case's ``x``, with whatever conditions it gives."""
    given, b = case.inputs, len(case.inputs["x"])

    def per_sample(name: str, default: Any = None) -> np.ndarray:
        return np.broadcast_to(np.asarray(given.get(name, default), np.float32).reshape(-1), (b,))

    guidance = given.get("timestep_cond")
    if guidance is None and "w" in given and cell.params.time_cond_proj_dim:
        guidance = lcm.guidance_scale_embedding(per_sample("w"), cell.params.time_cond_proj_dim)
    conditions = guidance, given.get("motion_cond") if motion else None
    states = given["context"] if context is None else context
    return call(cell, given["x"], per_sample("timesteps"), states, per_sample("fps", DEFAULT_FPS), *conditions)


def autoencode(cell: Any, case: Case, scale: float) -> Outputs:
    """Encode ``pixels`` and decode ``z``, whichever a case has; latents are ``scale`` times the codes."""
    given, factor, results = case.inputs, np.float32(scale), {}
    if "pixels" in given:
        mean, logvar = call(cell.encode, given["pixels"])
        results |= {"mean": mean, "logvar": logvar}
        if "noise" in given:
            results["latent"] = (mean + np.exp(0.5 * logvar) * given["noise"]) * factor
    if "z" in given:
        b, c, t, h, w = given["z"].shape
        frames = call(cell.decode, given["z"].transpose(0, 2, 1, 3, 4).reshape(b * t, c, h, w) / factor)
        results["frames"] = frames.reshape(b, t, *frames.shape[1:]).transpose(0, 2, 1, 3, 4)
    return results


def _given_projections(case: Case) -> dict[str, np.ndarray]:
    """Return the projections that are inputs because no published file has them, by our names."""
    weights = {f"unet.{name}.weight": case.inputs.get(f"{name}_weight") for name in _PROJECTIONS}
    return {name: weight for name, weight in weights.items() if weight is not None}


def _unet_kind(case: Case) -> str:
    """Return the checkpoint type of a UNet's file: VideoCrafter2's, or that of a UNet alone (T2V-Turbo-v2)."""
    keys = (key for path in case.weights("base") for key in VC2_KEYS.open(path).tensors)
    return "vc2" if any(VC2_UNET in key for key in keys) else "vc2-unet"


def teacher_kind(case: Case) -> str:
    """Return the checkpoint type of a case's teacher."""
    return "ms" if modelscope.describes(case.config) else "vc2"


def student_params(case: Case) -> dict[str, Any]:
    """Return params by component, the UNet's with the guidance-scale projection.

    Raises:
        UnsupportedCase: the config is that of neither teacher's student.
    """
    params = component_params(case.config)
    if "unet" not in params:
        raise UnsupportedCase("unsupported student: its config is neither VideoCrafter2's UNet nor ModelScope's")
    return LORA_KEYS.prepare(params, {})


def load_student(case: Case, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Load teacher plus LoRA factors into the UNet and return the merged weights by our names."""
    student = cells["unet"]
    teacher = read_weights(case, {"unet": student}, teacher_kind(case), role="base")["unet"]
    factors = case.weights("lora")
    if len(factors) != 1:
        raise DataError("LoRA factors must be one file", where=case.name)
    lora = load_lora(factors[0], LORA_KEYS.targets({"unet": student})["unet"], LORA_KEYS)
    lora = replace(lora, alpha=case.config.get("lora_alpha", lora.alpha))
    weights = student_weights(teacher, lora, time_cond_proj=case.inputs.get("time_cond_proj_weight"))
    _load(student, weights, case)
    return weights


def _load(cell: Any, tensors: Mapping[str, Any], case: Case) -> None:
    from videogen_cli.runtime import module

    module.load(cell, tensors, where=case.name)
