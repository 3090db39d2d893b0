"""Solvers of the diffusion equations by the names they have in Open-Sora-Plan and (with "Scheduler") in diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from videogen_cli.diffusion.solvers.base import Solver
from videogen_cli.diffusion.solvers.ddim import DDIM, DDPM
from videogen_cli.diffusion.solvers.deis import DEIS
from videogen_cli.diffusion.solvers.dpm import DPMMultistep, DPMSinglestep
from videogen_cli.diffusion.solvers.euler import Euler, EulerAncestral
from videogen_cli.diffusion.solvers.pndm import PNDM
from videogen_cli.diffusion.solvers.second_order import Heun, KDPM2Ancestral
from videogen_cli.errors import UsageError, did_you_mean

SOLVERS: dict[str, type[Solver]] = {
    "DDIM": DDIM,
    "DDPM": DDPM,
    "PNDM": PNDM,
    "EulerDiscrete": Euler,
    "EulerAncestralDiscrete": EulerAncestral,
    "HeunDiscrete": Heun,
    "DPMSolverMultistep": DPMMultistep,
    "DPMSolverSinglestep": DPMSinglestep,
    "DEISMultistep": DEIS,
    "KDPM2AncestralDiscrete": KDPM2Ancestral,
}


def create(name: str, steps: int, options: Mapping[str, Any] | None = None) -> Solver:
    """Return the solver called ``name`` for ``steps`` steps; ``options`` are those of its ``options_type``.

    Raises:
        UsageError: there is no such solver or option, or what it is set to has no meaning.
    """
    if name not in SOLVERS:
        raise UsageError(f"there is no sampler '{name}'", where="sampler", hint=did_you_mean(name, SOLVERS))
    kind, options = SOLVERS[name], dict(options or {})
    known = [field.name for field in fields(kind.options_type)]
    for option in options:
        if option not in known:
            raise UsageError(f"{name} has no option '{option}'", where=option, hint=did_you_mean(option, known))
    return kind(kind.options_type(**options), steps)
