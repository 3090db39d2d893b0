"""Classifier-free guidance (Ho & Salimans 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def guide(conditional: Any, unconditional: Any, scale: Any) -> Any:
    """Return ``unconditional + scale (conditional - unconditional)``: 1 is no guidance."""
    return unconditional + scale * (conditional - unconditional)


def classifier_free(denoise: Callable[[np.ndarray, int], np.ndarray], scale: float) -> Callable[..., np.ndarray]:
    """Wrap a ``denoise`` of 2b latents, whose first half is conditioned and second half is not, into one of b."""

    def guided(latents: np.ndarray, timestep: int) -> np.ndarray:
        conditional, unconditional = np.split(denoise(np.concatenate([latents, latents]), timestep), 2)
        return guide(conditional, unconditional, scale)

    return guided
