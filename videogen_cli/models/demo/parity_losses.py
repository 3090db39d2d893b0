"""How the golden cases of DEMO's losses are run; every function takes a case and returns its outputs.

Inputs and outputs have upstream's names (PR-Ryan/DEMO). Shapes: b samples, c channels, f frames, h w latents, l tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import expand
from videogen_cli.diffusion.vgen import GaussianDiffusion
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import by_original_name, gradients, norm, of_inputs
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.models.demo import LossConfig
from videogen_cli.models.demo.data import end_of_text
from videogen_cli.models.demo.params import component_params
from videogen_cli.models.demo.trained import is_trained_text, motion_blocks

Outputs = dict[str, Any]


def loss_diffusion_video_motion(case: Case) -> Outputs:
    """Losses of a recorded network output, per sample, and the gradient of their sum by it."""
    losses = _losses(case)
    given, config = case.inputs, case.config
    process, kind = _process(config), config.get("loss_type", "mse")
    weight = config.get("video_motion_weight", LossConfig().video_motion)
    noisy, target = _noised(process, given["x0"], given["noise"], given["t"])
    alpha, sigma = (part.astype(np.float32) for part in process.schedule.coefficients(given["t"], noisy.ndim))
    still = config.get("use_div_loss", False) and config.get("mean_type", "eps") == "eps" and noisy.shape[2] > 1

    def loss(output: Any, target: Any, noisy: Any, alpha: Any, sigma: Any) -> Any:
        denoising = losses.diffusion(output, target, kind)
        if still:
            denoising = denoising + losses.stillness((noisy - sigma * output) / alpha)
        moving = losses.video_motion(output, target)
        return (denoising + weight * moving).mean(), denoising, moving

    arrays = given["model_output"], target, noisy, alpha, sigma
    (total, denoising, moving), (gradient,) = of_inputs(loss, (0,), *arrays)
    parts = {"diffusion_loss": denoising, "video_motion_loss": moving, "total": total}
    return {"xt": noisy, **parts, "grad_model_output": gradient}


def loss_regularization(case: Case) -> Outputs:
    """The loss per sample, and the gradient of its weighted mean by the motion text's states."""
    losses, given = _losses(case), case.inputs
    weight = case.config.get("regularization_weight", LossConfig().regularization)

    def loss(states: Any, end: Any, image: Any) -> Any:
        apart = losses.regularization(states, end, image)
        return weight * apart.mean(), apart

    arrays = given["temporal_y"], given["eot_idx"], given["image_embedding"]
    (total, apart), (gradient,) = of_inputs(loss, (0,), *arrays)
    return {"regularization_loss": apart, "total": total, "grad_temporal_y": gradient}


def loss_text_motion(case: Case) -> Outputs:
    """The loss per sample of recorded maps, and the gradients of its weighted mean by them."""
    raft = networks(case, ("raft",), "raft", role="raft")["raft"]
    text_motion = _losses(case).TextMotion(raft)
    weight = case.config.get("text_motion_weight", LossConfig().text_motion)
    names = sorted((n for n in case.inputs if n.startswith("attention_")), key=lambda name: int(name[10:]))
    flow = call(text_motion.video_flow, case.inputs["video"])

    def loss(flow: Any, *maps: Any) -> Any:
        apart = text_motion(flow, maps)
        return weight * apart.mean(), apart

    positions = tuple(range(1, len(names) + 1))
    (total, apart), found = of_inputs(loss, positions, flow, *(case.inputs[name] for name in names))
    results: Outputs = {"text_motion_loss": apart, "total": total}
    return {**results, **{f"grad_{name}": gradient for name, gradient in zip(names, found, strict=True)}}


def loss_total(case: Case) -> Outputs:
    """A whole training step: losses per sample, and gradients of what upstream trains."""
    given, config = case.inputs, case.config
    cells = {
        **networks(case, ("unet",), "demo", role="unet"),
        **networks(case, ("text", "visual"), "openclip", role="text-encoder"),
        **networks(case, ("motion",), "motion-encoder", role="motion-encoder"),
        **networks(case, ("raft",), "raft", role="raft"),
    }
    text_motion = _losses(case).TextMotion(cells["raft"])
    content = call(cells["text"], given["tokens"])
    dropped = np.zeros(len(content), bool)
    if "negative_tokens" in given and "drop_content" in given:
        dropped = given["drop_content"].astype(bool)
        content = np.where(expand(dropped, 3), call(cells["text"], given["negative_tokens"]), content)
    image = call(cells["visual"], given["clip_image"])
    end = end_of_text(given["tokens"], component_params(config)["motion"].vocab_size)
    noisy, target = _noised(_process(config["diffusion"]), given["latents"], given["noise"], given["t"])
    flow = call(text_motion.video_flow, given["video"])
    batch = noisy, given["t"], target, content, given["tokens"], end, image, flow
    (loss, *parts), grads = _step(case, cells, batch)
    names = ("diffusion_loss", "video_motion_loss", "text_motion_loss", "regularization_loss", "temporal_y")
    results: Outputs = {"loss": loss, **dict(zip(names, parts, strict=True)), "y": content, "image_embedding": image}
    results |= {f"grad_norm_{name}": norm(found) for name, found in grads.items()}
    results |= {f"grad.{net}.{name}": value for net, found in grads.items() for name, value in found.items()}
    results["grad_norm"] = _joint_norm(grads)
    if "grad_norm_text_motion_detached" in case.outputs:
        detached = _step(case, cells, batch, detach_attention=True)[1]
        results["grad_norm_text_motion_detached"] = _joint_norm(detached)
    return results


def _step(
    case: Case, cells: Mapping[str, Any], batch: tuple[np.ndarray, ...], *, detach_attention: bool = False
) -> tuple[tuple[np.ndarray, ...], dict[str, dict[str, np.ndarray]]]:
    """Return what the loss returns, and the gradients of what is trained by network and the original's name."""
    config = case.config
    weights = LossConfig(
        video_motion=config.get("video_motion_weight", LossConfig().video_motion),
        text_motion=config.get("text_motion_weight", LossConfig().text_motion),
        regularization=config.get("regularization_weight", LossConfig().regularization),
        detach_attention=detach_attention,
    )
    kind = config["diffusion"].get("loss_type", "mse")
    loss = _losses(case).DemoLoss(cells["unet"], cells["motion"], cells["raft"], weights, kind)
    trained = {name: cells[name] for name in ("unet", "motion")}
    outputs, grads = gradients(loss, trained, *batch)
    blocks = tuple(f"unet.{prefix}" for prefix in motion_blocks(cells["unet"]))
    first = config.get("stop_grad_index", LossConfig().first_trained_layer)
    unet = {name: grad for name, grad in grads.items() if name.startswith(blocks)}
    motion = {
        name: grad
        for name, grad in grads.items()
        if name.startswith("motion.") and is_trained_text(name.removeprefix("motion."), first)
    }
    return outputs, {
        "unet": by_original_name(case, "demo", unet),
        "motion_encoder": by_original_name(case, "motion-encoder", motion),
    }


def _joint_norm(grads: Mapping[str, Mapping[str, np.ndarray]]) -> float:
    return norm({f"{net}.{name}": value for net, found in grads.items() for name, value in found.items()})


def _process(config: Mapping[str, Any]) -> GaussianDiffusion:
    """Return the forward process; what would change the loss and upstream itself does not have is refused."""
    if config.get("var_type", "fixed_small") not in ("fixed_small", "fixed_large"):
        raise DataError(f"'{config['var_type']}' is not supported, only a fixed variance", where="var_type")
    return GaussianDiffusion.create(config)


def _noised(
    process: GaussianDiffusion, x0: np.ndarray, noise: np.ndarray, timesteps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy latents and what the network should predict for them, float32 (b c f h w)."""
    noisy = process.schedule.add_noise(x0, noise, timesteps).astype(np.float32)
    return noisy, process.target(x0, noisy, noise, timesteps).astype(np.float32)


def _losses(case: Case) -> Any:
    """Start the device and return the module of losses, which networks' operators belong to."""
    from videogen_cli.runtime import context

    context.start(case.device)
    from videogen_cli.models.demo import losses

    return losses
