"""Time a whole ``vgen infer`` and a step of distillation beside diffusers: ``python benchmarks/turbo.py [--quick]``.

T2V-Turbo with ModelScope as its teacher, 8 frames of 128x128, which are latents of 8x16x16. PyTorch's side is not
vgen's networks on PyTorch but what the original is made of: diffusers' UNet and autoencoder, transformers' text tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from cases import FORWARD, TRAIN, Input, draw_parameter

from videogen_cli.config import parse_overrides
from videogen_cli.data.tokenizers import load_tokenizer
from videogen_cli.diffusion import lcm
from videogen_cli.diffusion.ddim_solver import DDIMSolver
from videogen_cli.diffusion.schedules import NoiseSchedule
from videogen_cli.nets.params.vae2d import downsample_factor
from videogen_cli.registry import resolve_config, spec
from videogen_cli.weights.tensor import LazyTensor

PROMPT, SEED = "a corgi runs along the beach at sunset, waves behind it, seen from a low camera", 0
FACTORS = 0.1  # of what a weight would be: what factors add is small beside it
SOLVER_STEP = 30  # of 50, of the sample that is learnt from
SIZES = ("sample.num_frames=8", "sample.height=128", "sample.width=128", "data.num_frames=8")
SIZES += ("data.height=128", "data.width=128")
INFER_PARTS = {"text": "text tower", "unet": "UNet, 4 calls", "vae": "VAE decoder"}
NO_DROPOUT = ("lora.dropout=0", "distill.dropout=0")  # masks differ, and outputs could not be compared


@dataclass(frozen=True)
class Turbo:
    """What a command does with the preset ``ms``: FORWARD is ``vgen infer``, TRAIN a step of the stage ``distill``.

    ``settings`` are overrides as on the command line; ``gigabytes`` about what one side needs.
    """

    name: str
    phase: str
    what: str
    settings: tuple[str, ...] = ()
    gigabytes: float = 4.0
    made_by: ClassVar[str] = "turbo"  # ``turbo_vgen`` and ``turbo_torch`` prepare it

    @property
    def config(self) -> Any:
        """Return the ``T2VTurboConfig``."""
        overrides = parse_overrides([*SIZES, *NO_DROPOUT, *self.settings])
        stage = "distill" if self.phase == TRAIN else None
        return resolve_config(spec("t2v-turbo"), target="cpu", preset="ms", stage=stage, overrides=overrides).config


class Batch(NamedTuple):
    """What ``StageLoss.construct`` takes, in its order: arrays of either library."""

    clips: Any
    posterior: Any
    noise: Any
    start: Any
    end: Any
    coefficients: Any
    w: Any
    guidance: Any
    ids: Any
    fps: Any
    draws: Any


def schedule_of(config: Any) -> NoiseSchedule:
    """Return the forward process of a config."""
    d = config.diffusion
    return NoiseSchedule.create(
        d.beta_schedule, d.train_timesteps, d.beta_start, d.beta_end, prediction_type=d.prediction_type
    )


def batch(config: Any) -> Batch:
    """Return one sample to distil from; call it when the side's cells are in place."""
    from videogen_cli.models.t2v_turbo.distillation import DistillationPlan
    from videogen_cli.nets.dropout import STATE

    data, d, factor = config.data, config.distill, downsample_factor(config.vae)
    latents = (1, config.vae.embed_dim, data.num_frames, data.height // factor, data.width // factor)
    schedule, index, w = schedule_of(config), np.array([SOLVER_STEP]), np.array([10.0], np.float32)
    plan = DistillationPlan(schedule, DDIMSolver(schedule, d.solver_steps), d.topk, d.timestep_scaling)
    start, end = (steps.astype(np.float32) for steps in plan.timesteps(index))
    tokenizer = load_tokenizer(config.tokenizer, config.text.context_length)
    return Batch(
        clips=np.tanh(Input((1, data.num_frames, 3, data.height, data.width)).draw("clips")),
        posterior=Input(latents).draw("posterior"),
        noise=Input(latents).draw("noise"),
        start=start,
        end=end,
        coefficients=plan.coefficients(index),
        w=w,
        guidance=lcm.guidance_scale_embedding(w, config.unet.time_cond_proj_dim),
        ids=tokenizer.encode([PROMPT]).astype(np.int32),
        fps=np.full(1, config.sample.fps, np.float32),
        draws=np.zeros((2, STATE), np.float32),
    )


def weights_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, LazyTensor]:
    """Return a network's weights, drawn by name when they are read."""
    return {name: _drawn(name, tuple(shape)) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...]) -> LazyTensor:
    return LazyTensor(shape, "float32", lambda: draw_parameter(name, shape))


def draw_factor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a factor, ``<layer>.lora.up`` or ``<layer>.lora.down``."""
    return draw_parameter(name, shape) * np.float32(FACTORS)


CASES = [
    Turbo("turbo-infer", FORWARD, "`vgen infer`, ModelScope, 4 steps, prompt to frames", gigabytes=7),
    Turbo(
        "turbo-distill",
        TRAIN,
        "a step of distillation, ModelScope of 128 channels, rank 32",
        ("unet.model_channels=128",),
        gigabytes=7,
    ),
]

if __name__ == "__main__":
    from run import main

    main(["turbo"])
