"""Small students of both teachers: networks, made weights, and factors in the containers they are published in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made_files import Tensor, write_torch_zip

from videogen_cli.models.t2v_turbo.weights import LORA_KEYS, TIME_COND_PROJ
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.registry import load_attr
from videogen_cli.weights.keys.diffusers_unet import in_diffusers_order
from videogen_cli.weights.lora import Layer

VC2 = UNet3DParams(
    model_channels=32,
    channel_mult=[1, 2],
    num_res_blocks=1,
    attention_resolutions=[1],
    num_head_channels=16,
    context_dim=12,
    init_attention_heads=2,
    time_cond_proj_dim=256,
    norm_groups=8,
)
MS = replace(VC2, fps_condition=False, init_projection="linear", single_frames="spatial")
STUDENTS = {"vc2": VC2, "ms": MS}
RANK = 4


def network(params: UNet3DParams) -> Any:
    """Build a UNet, a skeleton or a real one as the process has them."""
    return load_attr("videogen_cli.nets.unet3d:UNet3D")(params)


def made_weights(cell: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Return small random weights for all parameters but the projection of the guidance scale."""
    draws = np.random.default_rng(seed)
    shapes = {name: tuple(p.shape) for name, p in cell.parameters_and_names() if name != TIME_COND_PROJ}
    return {name: 0.05 * draws.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def listed_layers(cell: Any) -> list[Layer]:
    """Return a student's adapted layers in the order of its published list."""
    layers = list(LORA_KEYS.targets({"unet": cell})["unet"])
    return layers if cell.params.fps_condition else in_diffusers_order(layers)


def made_factors(layers: list[Layer], rank: int = RANK, seed: int = 1) -> list[np.ndarray]:
    """Return the list [up_0, down_0, ...]."""
    draws = np.random.default_rng(seed)
    shapes = [shape for layer in layers for shape in layer.factor_shapes(rank)]
    return [0.1 * draws.standard_normal(shape).astype(np.float32) for shape in shapes]


def write_list(path: Path, factors: list[np.ndarray]) -> Path:
    """Write factors as the original's ``unet_lora.pt``."""
    return write_torch_zip(path, [Tensor(str(index), factor) for index, factor in enumerate(factors)])
