"""How golden cases of the whole pipeline are run: token ids to text states, latents and frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.diffusion.solvers import SOLVERS, create
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case, UnsupportedCase
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.models.opensora_plan import sampling
from videogen_cli.models.opensora_plan.parity_transformer import predict_noise
from videogen_cli.weights.readers import open_checkpoint

Outputs = dict[str, Any]
# component -> section of the config, checkpoint type, and what only its keys have in them
_PARTS = {
    "vae": ("vae", "causal-vae", "decoder.conv_in."),
    "transformer": ("transformer", "latte-t2v", "transformer_blocks."),
    "text": ("text_encoder", "t5", "SelfAttention."),
}
_LATENT_SCALE = 0.18215


def pipeline(case: Case) -> Outputs:
    """Encode, sample with the config's ``sample_method`` and its class's defaults, and decode."""
    given, config = case.inputs, case.config
    cells = {name: _part(case, name) for name in _PARTS}
    solver = _solver(case)
    scale = float(config.get("guidance_scale", 7.5))
    prompt, negative = _text_states(case, cells["text"], guided=scale > 1)

    def predict(latents: np.ndarray, timestep: float, states: np.ndarray) -> np.ndarray:
        timesteps = np.full(len(latents), timestep, np.float32)
        return predict_noise(cells["transformer"], latents, timesteps, states, temporal=not config.get("force_images"))

    noise, after = given.get("step_noise", given.get("noise")), []
    latents = sampling.sample(
        predict,
        given["latents"],
        solver,
        prompt,
        negative,
        guidance_scale=scale,
        fresh_noise=lambda index: None if noise is None else noise[index],
        callback=lambda *event: after.append(event[2]),
    )
    decoded = call(cells["vae"].decode, latents / np.float32(config.get("vae_scale_factor", _LATENT_SCALE)))
    frames = sampling.to_unit_range(decoded)
    return {
        "prompt_embeds": prompt,
        "negative_prompt_embeds": negative,
        "timesteps": solver.timesteps,
        "latents": latents,
        "latents_first_callback": after[sampling.first_finished(solver)],
        "frames_float": frames,
        "frames_uint8": sampling.to_uint8(frames),
    }


def _text_states(case: Case, cell: Any, *, guided: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the states of prompts and, guided, of negative prompts, as the transformer reads them."""
    given, count = case.inputs, int(case.config.get("num_images_per_prompt", 1))
    prompt = np.repeat(call(cell, given["input_ids"], given["attention_mask"]), count, axis=0)
    negative = None
    if guided:
        states = call(cell, given["negative_input_ids"], given["negative_attention_mask"])
        if len(prompt) % len(states):
            raise DataError(f"{len(states)} negative prompts do not fit {len(prompt)} prompts", where=case.name)
        negative = np.repeat(states, len(prompt) // len(states), axis=0)
    if not case.config.get("mask_feature", True):
        return prompt, negative
    return sampling.masked_states(prompt, np.tile(given["attention_mask"], (count, 1)), negative)


def _solver(case: Case) -> Any:
    name = case.config.get("sample_method", "PNDM")
    if name not in SOLVERS:
        raise UnsupportedCase(f"unsupported scheduler '{name}'")
    return create(name, int(case.config["num_sampling_steps"]))


def _part(case: Case, name: str) -> Any:
    """Build and load one network from the files that hold its keys."""
    section, kind, _ = _PARTS[name]
    record = {**case.record, "config": case.config[section], "checkpoint_type": kind, "weights": _files(case, name)}
    return networks(replace(case, record=record), (name,), kind)[name]


def _files(case: Case, name: str) -> list[str]:
    """Return the files of one network: those with keys only it has, and shards beside them that nobody else has.

    Raises:
        DataError: there are none.
    """
    listed = case.record["weights"]
    groups = listed.values() if isinstance(listed, dict) else [listed]
    paths = [path for group in groups for path in ([group] if isinstance(group, str) else group)]
    owners = {path: _owner(case, path) for path in paths if not path.endswith("config.json")}
    folders = {Path(path).parent for path, owner in owners.items() if owner == name}
    if not folders:
        raise DataError(f"none of its weights is that of '{name}'", where=case.name)
    return [p for p, owner in owners.items() if owner == name or (owner is None and Path(p).parent in folders)]


def _owner(case: Case, path: str) -> str | None:
    keys = open_checkpoint(case.path(path)).tensors
    return next((name for name, (_, _, mark) in _PARTS.items() if any(mark in key for key in keys)), None)
