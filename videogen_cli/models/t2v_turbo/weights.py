"""T2V-Turbo's checkpoints: VideoCrafter2's file, and the LoRA factors of the student.

Names: AILab-CVC/VideoCrafter (LatentDiffusion's state dict); Ji4chenLi/t2v-turbo utils/lora.py for the factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo.modelscope import published_unet
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.weights.keymap import Account, KeyMap, Rule, ignore, rename
from videogen_cli.weights.keys.diffusers_unet import in_diffusers_order
from videogen_cli.weights.lora import DOWN, UP, Layer, Lora, LoraKeys, begins_with_convolution, merge, uniform_base
from videogen_cli.weights.tensor import LazyTensor, from_array

GUIDANCE_EMBEDDING = 256  # width of the embedding of the guidance scale that the student takes
TIME_COND_PROJ = "time_cond_proj.weight"
BASE_SEED = 453645634  # upstream's training seed
_FPS = "fps_embedding."
_SCHEDULE = "buffer of the noise schedule, computed from the config"
_SCHEDULE_BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "scale_arr",
)

VC2_UNET = "model.diffusion_model."


def _unet_rules(source: str) -> tuple[Rule, ...]:
    """Return the rules of VideoCrafter2's UNet, whose names are ours but for the original's spelling of one."""
    return (
        rename(f"{source}{{*}}.temopral_conv.{{*}}", "unet.{*}.temporal_conv.{*}"),
        rename(f"{source}{{*}}", "unet.{*}"),
    )


VC2_KEYS = KeyMap(
    rules=(
        *(ignore(name, _SCHEDULE) for name in _SCHEDULE_BUFFERS),
        ignore("model_ema.{*}", "moving average kept by training"),
        ignore("first_stage_model.loss.{*}", "loss network kept by training"),
        ignore("cond_stage_model.model.attn_mask", "causal mask, computed"),
        *_unet_rules(VC2_UNET),
        rename("first_stage_model.{*}", "vae.{*}"),
        rename("cond_stage_model.model.{*}", "text.{*}"),
    ),
    strip=("_forward_module.",),  # DeepSpeed's wrapper
    optional=(f"unet.{TIME_COND_PROJ}",),  # only students have it
)


@dataclass(frozen=True)
class StudentKeys(KeyMap):
    """Keys of a UNet alone; a whole student's (merged factors, or T2V-Turbo-v2) has the projections its file has."""

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params with the widths of the projections that ``tensors`` hold."""
        widths = {f"{name}_dim": tensors.get(f"{name}.weight") for name in ("time_cond_proj", "motion_cond_proj")}
        found = {name: tensor.shape[1] for name, tensor in widths.items() if tensor and len(tensor.shape) == 2}
        return {**params, "unet": replace(params["unet"], **found)}


VC2_UNET_KEYS = StudentKeys(_unet_rules(""))


class StudentLoraKeys(LoraKeys):
    """Factors of the student UNet, which has one layer more than the teacher: the guidance-scale projection.

    Those of ModelScope's student are in the order of diffusers' modules.
    """

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params of the student; without any given, of the published one whose list begins like this."""
        unet = params["unet"]
        if unet == UNet3DParams() and begins_with_convolution(list(tensors.values())):
            unet = published_unet()
        return {**params, "unet": replace(unet, time_cond_proj_dim=unet.time_cond_proj_dim or GUIDANCE_EMBEDDING)}

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Sequence[Layer]]) -> Account:
        """See :meth:`LoraKeys.account`; an error says so if they are those of the other teacher's student."""
        try:
            return super().account(tensors, targets)
        except WeightsError as error:
            names = [layer.name for layers in targets.values() for layer in layers]
            wanted = "VC2" if any(name.startswith(_FPS) for name in names) else "MS"
            if (found := _variant(tensors)) in (None, wanted):
                raise
            hint = f"These are factors of T2V-Turbo-{found}, this network takes those of T2V-Turbo-{wanted}. "
            hint += f"Use --preset {found.lower()}, or other factors."
            raise WeightsError(error.what, where=error.where, hint=hint) from error

    def by_order(self, tensors: Mapping[str, LazyTensor], layers: Sequence[Layer]) -> Account:
        """See :meth:`LoraKeys.by_order`; of diffusers' two orders, before and after 0.19, shapes tell which it is."""
        if not begins_with_convolution(list(tensors.values())):
            return super().by_order(tensors, layers)
        newer, older = (in_diffusers_order(layers, feed_forward_last=last) for last in (True, False))
        try:
            return super().by_order(tensors, newer)
        except WeightsError as error:
            with suppress(WeightsError):
                return super().by_order(tensors, older)
            raise error

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`LoraKeys.export`; the list of ModelScope's student is in the order of diffusers' modules."""
        layers = [Layer(name.removesuffix(UP), tensor.shape) for name, tensor in tensors.items() if name.endswith(UP)]
        if _variant(tensors) == "MS":
            layers = in_diffusers_order(layers)
        listed = [f"{layer.name}{part}" for layer in layers for part in (UP, DOWN)]
        places = {name: place for place, name in enumerate(listed)}
        ordered = sorted(tensors, key=lambda name: places.get(name, len(places)))
        return super().export({name: tensors[name] for name in ordered}, found)


def _variant(tensors: Mapping[str, LazyTensor]) -> str | None:
    """Tell whose student factors were made for, or None where they say nothing: only VideoCrafter2 is told the fps."""
    if any(name.endswith(UP) for name in tensors):
        return "VC2" if any(name.startswith(_FPS) for name in tensors) else "MS"
    listed = list(tensors.values())
    if begins_with_convolution(listed):
        return "MS"
    return "VC2" if len(listed) > 1 and all(len(tensor.shape) == 2 for tensor in listed[:2]) else None


LORA_KEYS = StudentLoraKeys()


def student_weights(
    teacher: Mapping[str, LazyTensor],
    lora: Lora,
    *,
    time_cond_proj: np.ndarray | None = None,
    scale: float | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, LazyTensor]:
    """Return the student UNet's weights: the teacher's plus the factors.

    Args:
        teacher: the teacher UNet's weights by our names.
        lora: the factors.
        time_cond_proj: base weight (model_channels, 256) of the projection, see :func:`with_projection`.
        scale: strength of the factors; None = the file's alpha.
        log: told once when the fixed draw is used.

    Raises:
        WeightsError: a factor's layer is not among the weights.
    """
    up, down = lora.factors[TIME_COND_PROJ.removesuffix(".weight")]
    weights = with_projection(teacher, (up.shape[0], down.shape[1]), time_cond_proj, lora.base, log)
    others = {name: base for name, base in lora.base.items() if name != TIME_COND_PROJ}
    return merge(weights, replace(lora, base=others), scale=scale)


def with_projection(
    weights: Mapping[str, LazyTensor],
    shape: tuple[int, ...],
    given: np.ndarray | None = None,
    beside: Mapping[str, LazyTensor] | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, LazyTensor]:
    """Return ``weights`` with the base weight of the projection of the guidance scale.

    It is in neither of the published files: upstream draws it anew from uniform(-1/16, 1/16) in every process, and
    trained with one such draw that was never kept. Here it is ``given``, else that of ``weights``, else of ``beside``
    (the LoRA file, where vgen's own training saves it), else one fixed draw, of which ``log`` is told.
    """
    own = weights.get(TIME_COND_PROJ) or (beside or {}).get(TIME_COND_PROJ)
    if given is not None:
        own = from_array(np.asarray(given, np.float32))
    elif own is None:
        own = uniform_base(shape, bound=shape[1] ** -0.5, seed=BASE_SEED)
        log(f"{TIME_COND_PROJ} is in no published file; a fixed draw (seed {BASE_SEED}) stands in for it")
    return {**weights, TIME_COND_PROJ: own}
