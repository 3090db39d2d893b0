"""How golden cases of Movie Gen's transformer, flow and checkpoints are run: case -> outputs.

Inputs and outputs have upstream's names (mindspore-lab/mindone, examples/moviegen). Latents are (b f c h w).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from videogen_cli.diffusion import rectified_flow as flow
from videogen_cli.diffusion.guidance import guide
from videogen_cli.diffusion.losses import mse
from videogen_cli.diffusion.samplers import Step
from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import by_original_name, gradients, norm
from videogen_cli.metrics.parity_networks import call, networks, tensor
from videogen_cli.models.moviegen.params import transformer_params
from videogen_cli.models.moviegen.weights import resize_table
from videogen_cli.weights.rank_files import merge

Outputs = dict[str, Any]
TEXT = ("ul2_emb", "metaclip_emb", "byt5_emb")
_EVALUATIONS = 10  # validation timesteps, when a case does not say how many


def transformer(case: Case) -> Outputs:
    """One call for every ``latent_<name>``; ``pos_embed`` is that of the video, or of the first there is."""
    given, cell = case.inputs, networks(case, ("transformer",), "llama")["transformer"]
    text = [given[name] for name in TEXT]
    grids = {name: require_size(case, latents) for name, latents in given.items() if name.startswith("latent")}
    if not grids:
        raise DataError("has no latents among its inputs", where=case.name)
    results: Outputs = {
        name.replace("latent", "velocity"): call(cell, given[name], given["timestep"], *text) for name in grids
    }
    shown = grids.get("latent_video", next(iter(grids.values())))
    return {
        **results,
        "pos_embed": cell.positions(shown).asnumpy(),
        "timestep_embed": call(cell.timestep_embedder, given["timestep"]),
        "text": call(cell.text_projector, *text),
    }


def text_projector(case: Case) -> Outputs:
    """The projection on its own."""
    cell = networks(case, ("text_projector",), "llama")["text_projector"]
    return {"text": call(cell, *(case.inputs[name] for name in TEXT))}


def scheduler(case: Case) -> Outputs:
    """The timesteps of every ``<method>.<steps>``."""
    found = (name.rpartition(".") for name in case.outputs)
    return {
        f"{method}.{steps}": flow.sampling_timesteps(method, int(steps), _train_timesteps(case))
        for method, _, steps in found
    }


def sampler(case: Case) -> Outputs:
    """Sample from ``noise`` as the config says, or in every ``<method>.<steps>`` that outputs are named after."""
    cell, config = networks(case, ("transformer",), "llama")["transformer"], case.config
    require_size(case, case.inputs["noise"])
    results: Outputs = {}
    for prefix in {name.rpartition(".")[0] for name in case.outputs}:
        method, _, steps = (
            prefix.rpartition(".")
            if prefix
            else (config.get("sample_method", "linear"), "", config.get("num_sampling_steps", 50))
        )
        record = denoise(case, cell, config, method, int(steps))
        results |= {f"{prefix}.{name}" if prefix else name: value for name, value in record.items()}
    return results


def denoise(case: Case, cell: Any, config: Mapping[str, Any], method: str, steps: int) -> Outputs:
    """Return the last latents, and of every step its timestep (b,), what it started from, and the velocity."""
    noise, record = case.inputs["noise"], []
    predict = guided_velocity(case, cell, float(config.get("guidance_scale", 1.0)))

    def keep(index: int, total: int, step: Step) -> None:
        record.append(step)

    train_timesteps = _train_timesteps(case)
    timesteps = flow.sampling_timesteps(method, steps, train_timesteps)
    latents = flow.sample(predict, noise, timesteps, train_timesteps, keep)
    return {
        "latents": latents,
        "timesteps": np.repeat(timesteps[:, None], len(noise), axis=1),
        "samples": np.stack([noise, *(step.latents for step in record[:-1])]),
        "velocities": np.stack([step.prediction for step in record]),
    }


def guided_velocity(case: Case, cell: Any, scale: float) -> Callable[[np.ndarray, float], np.ndarray]:
    """Return the network's velocity for the case's text, guided away from its ``*_uncond`` text unless scale is 1.

    Raises:
        DataError: guidance is asked for and there is no such text.
    """
    given = case.inputs
    text = [given[name] for name in TEXT]
    empty = [given.get(f"{name}_uncond") for name in TEXT]
    if scale != 1.0 and any(part is None for part in empty):
        raise DataError("guidance needs the states of the empty prompt", where=f"{case.name}: guidance_scale")

    def predict(latents: np.ndarray, timestep: float) -> np.ndarray:
        t = np.full(len(latents), timestep, np.float32)
        conditional = call(cell, latents, t, *text)
        return conditional if scale == 1.0 else guide(conditional, call(cell, latents, t, *empty), scale)

    return predict


def loss_rectified_flow(case: Case) -> Outputs:
    """The training loss with its gradients, the validation loss, and drawn timesteps."""
    given, config = case.inputs, case.config
    cells = networks(case, ("transformer",), "llama")
    model, total, floor = cells["transformer"], _train_timesteps(case), config.get("eps", flow.NOISE_FLOOR)
    require_size(case, given["latent"])
    text = [given[name] for name in TEXT]

    def loss(x0: Any, noise: Any, timesteps: Any, *states: Any) -> Any:
        noisy, target = flow.interpolate(x0, noise, timesteps, total, floor), flow.velocity(x0, noise, floor)
        return mse(model(noisy, timesteps, *states), target), noisy, target

    arrays = (given["latent"], given["noise"], given["timestep"], *text)
    (value, noisy, target), grads = gradients(loss, cells, *arrays)
    named = by_original_name(case, "llama", grads)
    evaluated = []
    for t in flow.validation_timesteps(_evaluations(case), total):
        timesteps = np.full(len(given["latent"]), t, np.float32)
        evaluated.append(float(loss(*map(tensor, (given["latent"], given["noise"], timesteps, *text)))[0].asnumpy()))
    return {
        "x_t": noisy,
        "target": target,
        "loss": value,
        "grad_norm": norm(grads),
        "eval_loss": np.mean(evaluated),
        **_drawn(case, total),
        **{f"grad.{name.removeprefix('network.model.')}": grad for name, grad in named.items()},
    }


def _drawn(case: Case, total: int) -> Outputs:
    """Return the timesteps that the config's method makes of the given draws."""
    method = case.config.get("sample_method", "logit-normal")
    if method not in flow.TRAINING_DRAWS:
        hint = did_you_mean(method, flow.TRAINING_DRAWS)
        raise DataError(f"{method!r} is not supported", where="sample_method", hint=hint)
    results: Outputs = {}
    if "normal_draws" in case.inputs:
        spread = {key: float(case.config[key]) for key in ("loc", "scale") if key in case.config}
        draws = flow.logit_normal(case.inputs["normal_draws"], **spread, train_timesteps=total)
        results["logit_normal_timesteps"] = draws
    if "uniform_draws" in case.inputs:
        draws = case.inputs["uniform_draws"]
        results["uniform_timesteps"] = flow.uniform(draws, total)
        results["discrete_uniform_timesteps"] = flow.discrete_uniform(draws, total)
    return results


def convert_pos_embed_expand(case: Case) -> Outputs:
    """Resize every table to as many rows as its output has."""
    return {name: resize_table(table, len(case.outputs[name])) for name, table in case.inputs.items()}


def convert_zero3_merge(case: Case) -> Outputs:
    """Merge the rank files that the config names."""
    config = case.config
    ranks = range(config["group_size"])
    merged = merge(
        [case.path(config["src"].format(rank)) for rank in ranks],
        [case.path(config["split_info"].format(rank)) for rank in ranks],
    )
    return {name: lazy.float32() for name, lazy in merged.tensors.items()}


def require_size(case: Case, latents: np.ndarray) -> tuple[int, int, int]:
    """Return the latents' (b f c h w) patches along each axis, or raise if the transformer cannot take them."""
    _, frames, _, height, width = latents.shape
    config = case.config.get("transformer", case.config)
    return transformer_params(config).grid(frames, height, width)


def _train_timesteps(case: Case) -> int:
    return case.config.get("num_timesteps", flow.TRAIN_TIMESTEPS)


def _evaluations(case: Case) -> int:
    """Return the number of validation timesteps, which cases may give in words only."""
    if "num_eval_steps" in case.config:
        return case.config["num_eval_steps"]
    said = re.search(r"with (\d+) equally", case.record["outputs"].get("eval_loss", ""))
    return int(said[1]) if said else _EVALUATIONS
