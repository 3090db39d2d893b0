"""Which timesteps and noise levels a solver visits (Lin et al. 2023, arXiv:2305.08891, table 2; Karras et al. 2022).

``sigma`` is the noise level of variance-exploding notation: sqrt((1 - abar) / abar), per training timestep in a table.
"""

from __future__ import annotations

import numpy as np

from videogen_cli.errors import UsageError, did_you_mean

SPACINGS = ("linspace", "leading", "trailing")
_KARRAS_RHO = 7.0


def spaced(
    spacing: str, steps: int, train: int, *, offset: int = 0, whole: bool = True, spare: int = 0, end: int | None = None
) -> np.ndarray:
    """Return ``steps`` falling timesteps, float64.

    Args:
        spacing: ``linspace`` (both ends), ``leading`` (from 0 up in equal steps) or ``trailing`` (from the end down).
        steps: how many.
        train: length of the forward process.
        offset: added to ``leading`` timesteps.
        whole: round ``linspace`` to integers.
        spare: so many more are laid out, and the lowest left out (not in ``trailing``).
        end: timesteps lie below this; ``train`` unless given.

    Raises:
        UsageError: an unknown spacing, or a number of steps the forward process does not have.
    """
    if spacing not in SPACINGS:
        raise UsageError(f"there is no timestep spacing '{spacing}'", hint=did_you_mean(spacing, SPACINGS))
    if not 1 <= steps <= train:
        hint = f"Use 1 to {train}."
        raise UsageError(f"cannot sample in {steps} steps", where="num_inference_steps", hint=hint)
    end = train if end is None else end
    if spacing == "linspace":
        rising = np.linspace(0, end - 1, steps + spare)
        return (rising.round() if whole else rising)[::-1][:steps]
    if spacing == "leading":
        stride = end // (steps + spare)
        return (np.arange(steps + spare) * stride)[::-1][:steps].astype(np.float64) + offset
    return np.arange(end, 0, -train / steps).round() - 1


def karras(sigma_max: float, sigma_min: float, steps: int) -> np.ndarray:
    """Return ``steps`` falling noise levels, dense towards the low end (Karras et al. 2022, equation 5)."""
    ends = sigma_max ** (1 / _KARRAS_RHO), sigma_min ** (1 / _KARRAS_RHO)
    return np.linspace(*ends, steps) ** _KARRAS_RHO


def at_timesteps(table: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
    """Return the noise levels at ``timesteps``, between whole ones interpolated."""
    return np.interp(timesteps, np.arange(len(table)), table)


def to_timesteps(table: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return the fractional timesteps whose noise levels are ``sigmas``, interpolating the logarithms of ``table``.

    Below each lies the last timestep whose level is reached, so that the table may fall at its end, as one with a
    least signal there does.
    """
    logs, levels = np.log(np.maximum(sigmas, 1e-10)), np.log(table)
    reached = logs >= levels[:, None]
    low = np.where(reached.any(0), len(table) - 1 - reached[::-1].argmax(0), 0).clip(max=len(table) - 2)
    share = np.clip((levels[low] - logs) / (levels[low] - levels[low + 1]), 0, 1)
    return (1 - share) * low + share * (low + 1)
