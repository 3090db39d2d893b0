"""How the golden cases of DEMO's networks are run; every function takes a case and returns its outputs.

Inputs and outputs have upstream's names (PR-Ryan/DEMO). Shapes: b samples, c channels, f frames, h w latents, l tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from videogen_cli.diffusion import samplers
from videogen_cli.diffusion.guidance import guide
from videogen_cli.diffusion.vgen import GaussianDiffusion
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import by_original_name, gradients, norm
from videogen_cli.metrics.parity_networks import build, call, networks, read_weights
from videogen_cli.models.demo.data import end_of_text, frame_to_uint8
from videogen_cli.models.demo.params import component_params
from videogen_cli.models.demo.trained import is_trained_text

Outputs = dict[str, Any]
LATENT_SCALE = 0.18215


def unet(case: Case) -> Outputs:
    """One call; ``base_eps`` is ModelScope's own UNet with the weights the other one started from."""
    params = component_params(case.config)
    kind = case.record["checkpoint_type"]
    cell = networks(case, ("unet",), kind, role="unet")["unet"]
    given = case.inputs
    common = given["x"], given["t"], given["y"], given.get("fps"), None, None
    motion = given.get("temporal_y") if params["unet"].motion_attention else None
    results: Outputs = {"time_embedding": call(lambda t: cell.embed(t, None, None, None, t.dtype), _float(given["t"]))}
    if "eot_idx" in given and motion is not None:
        eps, *maps = call(_flat(cell), *common, motion, given["eot_idx"])
        results |= {f"attention_{index}": seen for index, seen in enumerate(maps)}
    else:
        eps = call(cell, *common, motion)
    if "base_eps" in case.outputs:
        results["base_eps"] = call(_base_unet(case, kind), *common)
    return {**results, "eps": eps}


def vae(case: Case) -> Outputs:
    """Encode ``image`` (b 3 h w), draw a latent with ``posterior_noise``, and decode ``z`` (b c h w)."""
    given, scale = case.inputs, np.float32(case.config.get("scale_factor", LATENT_SCALE))
    cell = networks(case, ("vae",), "modelscope-vae", role="vae")["vae"]
    results: Outputs = {}
    if "image" in given:
        mean, logvar = call(cell.encode, given["image"])
        moments = call(lambda images: cell.quant_conv(cell.encoder(images)), given["image"])
        results |= {"moments": moments, "mean": mean, "logvar": logvar}
        if "posterior_noise" in given:
            results["latent"] = scale * (mean + np.exp(np.float32(0.5) * logvar) * given["posterior_noise"])
    if "z" in given:
        results["decoded"] = call(cell.decode, given["z"])
    return results


def text_encoder(case: Case) -> Outputs:
    """States of ``tokens`` (b l) where the config says, and after the last block; features of ``image`` (b 3 h w)."""
    given = case.inputs
    names = ("text", "visual") if "image" in given else ("text",)
    cells = networks(case, names, "openclip", role="text-encoder")
    text, tokens = cells["text"], given["tokens"]
    results: Outputs = {"z": call(text, tokens), "z_last": call(lambda ids: text.states(ids, text.layers), tokens)}
    if "image" in given:
        results["image_embedding"] = call(cells["visual"], given["image"])
    return results


def motion_encoder(case: Case) -> Outputs:
    """States of ``tokens`` (b l), and gradients of their mean weighted by ``loss_weight`` (b l d)."""
    given, config = case.inputs, case.config
    cell = networks(case, ("motion",), "motion-encoder", role="motion-encoder")["motion"]
    end = end_of_text(given["tokens"], component_params(config)["motion"].vocab_size)
    results: Outputs = {"eot_idx": end}
    if "loss_weight" in given:

        def loss(ids: Any, weight: Any) -> Any:
            states = cell(ids)
            return (states * weight).mean(), states

        (value, states), grads = gradients(loss, {"motion": cell}, given["tokens"], given["loss_weight"])
        named = by_original_name(case, "motion-encoder", grads)
        first = config.get("stop_grad_index", 0)
        results |= {"loss": value, **{f"grad.{name}": grad for name, grad in named.items()}}
        results["trainable_grad_norm"] = norm({name: g for name, g in named.items() if is_trained_text(name, first)})
    else:
        states = call(cell, given["tokens"])
    return {**results, "z": states, "eot_token": states[np.arange(len(end)), end]}


def raft_small(case: Case) -> Outputs:
    """Flow from ``image1`` to ``image2`` (b 3 h w), and the first one's features."""
    given = case.inputs
    cell = networks(case, ("raft",), "raft", role="raft")["raft"]
    flow = call(cell, given["image1"], given["image2"])
    return {"flow": flow, "feature_map1": call(cell.feature_encoder, given["image1"])}


def pipeline(case: Case) -> Outputs:
    """Tokens to frames: both text towers, the sampling loop with guidance, and the autoencoder."""
    given, config = case.inputs, case.config
    cells = {
        **networks(case, ("text",), "openclip", role="text-encoder"),
        **networks(case, ("motion",), "motion-encoder", role="motion-encoder"),
        **networks(case, ("unet",), "demo", role="unet"),
        **networks(case, ("vae",), "modelscope-vae", role="vae"),
    }
    texts = {
        f"{sign}{name}": call(cells[tower], given[f"{sign}tokens"])
        for sign in ("", "negative_")
        for name, tower in (("y", "text"), ("temporal_y", "motion"))
    }
    b = len(given["noise"])

    def predict(latents: np.ndarray, timestep: int, sign: str) -> np.ndarray:
        content, motion = (np.broadcast_to(s, (b, *s.shape[1:])) for s in _pair(texts, sign))
        return call(cells["unet"], latents, np.full(b, timestep), content, None, None, None, motion)

    def denoise(latents: np.ndarray, timestep: int) -> np.ndarray:
        output = predict(latents, timestep, "")
        if config.get("guide_scale") is not None:
            output = guide(output, predict(latents, timestep, "negative_"), config["guide_scale"])
        return diffusion.prediction(output, latents, timestep)

    diffusion = GaussianDiffusion.create(config["diffusion"])
    visited, arrivals = diffusion.steps(config["ddim_timesteps"])
    draws = given.get("step_noise")
    latents = samplers.ddim(
        denoise,
        given["noise"],
        diffusion.schedule,
        visited,
        previous=arrivals,
        eta=config.get("eta", 0.0),
        noise=None if draws is None else lambda step: draws[step],
    )
    scaled = latents / np.float32(config.get("scale_factor", LATENT_SCALE))
    flat = scaled.transpose(0, 2, 1, 3, 4).reshape(-1, *scaled.shape[1:2], *scaled.shape[3:])
    frames = call(cells["vae"].decode, flat).astype(np.float32)
    frames = frames.reshape(b, -1, *frames.shape[1:])  # b f 3 h w
    return {
        **texts,
        "latents": latents,
        "decoded": frames.transpose(0, 2, 1, 3, 4),
        "frames_uint8": frame_to_uint8(frames).transpose(0, 1, 3, 4, 2),
    }


def _pair(texts: dict[str, np.ndarray], sign: str) -> tuple[np.ndarray, np.ndarray]:
    return texts[f"{sign}y"], texts[f"{sign}temporal_y"]


def _flat(cell: Any) -> Any:
    """Return a function that gives a UNet's prediction and maps as one tuple."""

    def predict(*tensors: Any) -> Any:
        eps, maps = cell(*tensors)
        return (eps, *maps)

    return predict


def _base_unet(case: Case, kind: str) -> Any:
    """Return ModelScope's UNet, with the weights of the case's file."""
    from videogen_cli.runtime import module

    params = replace(component_params(case.config)["unet"], motion_attention=False)
    cells = build(case, {"unet": params})
    module.load(cells["unet"], read_weights(case, cells, kind, role="unet")["unet"], where=case.name)
    return cells["unet"]


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
