"""The student and its teacher: two networks over one set of frozen weights, one of them with low-rank factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import UsageError
from videogen_cli.models.t2v_turbo.student import LORA, open_factors
from videogen_cli.models.t2v_turbo.weights import TIME_COND_PROJ
from videogen_cli.nets.blocks import TemporalConv
from videogen_cli.nets.dropout import Masks
from videogen_cli.nets.lora import adapt, drop_factors
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.runtime import module
from videogen_cli.weights.lora import DOWN, UP, Lora

_INSIDE = ".lora."  # in the names of factors in a network: <module>.lora.up


@dataclass(frozen=True)
class Networks:
    """Two UNets that share every weight but the factors and the projection of the guidance scale."""

    student: Any
    teacher: Any
    masks: Any = None  # of the student's dropout, where it has some


def is_factor(parameter: str) -> bool:
    """Say whether a parameter of a student is a low-rank factor."""
    return _INSIDE in parameter


def file_name(parameter: str) -> str:
    """Return the name under which files keep the factor that is called ``parameter`` in a student."""
    return parameter.replace(".lora.up", UP).replace(".lora.down", DOWN)


def build(unet: Any, config: Any, files: Mapping[str, Path]) -> Networks:
    """Make a student and its teacher of one network.

    Args:
        unet: a UNet that takes a guidance scale, with the teacher's weights; it becomes the student.
        config: a ``T2VTurboConfig``.
        files: the factors to begin with (``lora``), where there are some.

    Raises:
        UsageError: the UNet takes no guidance scale, or the factors are of another rank.
        WeightsError: the factors do not fit.
    """
    if not config.unet.time_cond_proj_dim:
        raise UsageError("a student needs an input for the guidance scale", where="unet.time_cond_proj_dim")
    given = open_factors(files[LORA], unet) if LORA in files else None
    adapt(unet, config.lora.rank, config.lora.alpha, merged=config.lora.merged)
    if given is not None:
        _begin_with(unet, given, config, str(files[LORA]))
    else:
        module.initialise(unet, config.seed, only=is_factor)
    teacher = module.build(UNet3D, replace(config.unet, time_cond_proj_dim=0))
    share_parameters(teacher, unet)
    return Networks(unet, teacher, _add_dropout(unet, config))


def _add_dropout(student: Any, config: Any) -> Any:
    """Add dropout to the factors and to the temporal convolutions; return where its masks come from, or None."""
    if not config.lora.dropout and not config.distill.dropout:
        return None
    masks = Masks()
    if config.lora.dropout:
        drop_factors(student, masks, config.lora.dropout)
    if config.distill.dropout:
        for _, block in list(student.cells_and_names()):
            if isinstance(block, TemporalConv):
                block.drop(masks, config.distill.dropout)
    return masks


def _begin_with(student: Any, lora: Lora, config: Any, where: str) -> None:
    if lora.rank != config.lora.rank:
        hint = f"Train with lora.rank={lora.rank}, or begin with other factors."
        raise UsageError(f"{where} holds factors of rank {lora.rank}", where=f"lora.rank={config.lora.rank}", hint=hint)
    ratio = np.float32(lora.alpha / config.lora.alpha)
    factors: dict[str, Any] = {}
    for name, (up, down) in lora.factors.items():
        factors |= {f"{name}.lora.up": up.float32() * ratio, f"{name}.lora.down": down}
    module.load(student, factors, where=where, strict=False)


def share_parameters(cell: Any, owner: Any) -> None:
    """Let ``cell`` use the parameters of ``owner`` that have the names of its own: the same memory, held once.

    Raises:
        KeyError: ``owner`` lacks one.
    """
    owners = dict(owner.cells_and_names())
    for name, part in cell.cells_and_names():
        for key, _ in list(part.parameters_and_names(expand=False)):
            setattr(part, key, getattr(owners[name], key))


def saved_beside(student: Any) -> dict[str, np.ndarray]:
    """Return what files of factors hold beside them: the frozen weight of the guidance projection."""
    return {TIME_COND_PROJ: student.time_cond_proj.weight.asnumpy()}


def metadata(config: Any, weights: Mapping[str, str]) -> dict[str, str]:
    """Return what files of factors say of themselves: rank, alpha, and the teacher's digest where it is known."""
    teacher = weights.get("unet", "").rpartition("@")[2]
    known = {"base": teacher} if teacher else {}
    return {"component": "lora", "rank": str(config.lora.rank), "alpha": str(float(config.lora.alpha)), **known}
