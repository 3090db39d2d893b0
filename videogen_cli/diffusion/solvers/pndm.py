"""Pseudo numerical methods for diffusion models (Liu et al. 2022, arXiv:2202.09778): Open-Sora-Plan's default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import predict_noise
from videogen_cli.diffusion.solvers.base import Solver, SpacedOptions
from videogen_cli.diffusion.solvers.timesteps import spaced
from videogen_cli.errors import UsageError

_ORDER = 4
_RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)  # weights of the four evaluations of a step
_ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


@dataclass(frozen=True)
class PNDMOptions(SpacedOptions):
    """Options of :class:`PNDM`."""

    skip_prk_steps: bool = False  # begin with steps of lower order instead of Runge-Kutta's
    set_alpha_to_one: bool = False  # the last step arrives at clean latents, not at timestep 0


@dataclass(frozen=True)
class _State:
    """Predictions of steps so far (newest last), where the present step began, and Runge-Kutta's sum."""

    history: tuple[np.ndarray, ...] = ()
    origin: Any = None
    total: Any = 0.0


class PNDM(Solver):
    """Three Runge-Kutta steps of four calls each, then a linear multistep method (equations 12 and 13, algorithm 2).

    Raises:
        UsageError: fewer than four steps with Runge-Kutta.
    """

    options_type = PNDMOptions
    options: PNDMOptions
    predictions = ("epsilon", "v_prediction")

    def __init__(self, options: PNDMOptions, steps: int) -> None:
        super().__init__(options, steps)
        train, offset = options.num_train_timesteps, options.steps_offset
        grid = spaced(options.timestep_spacing, steps, train, offset=offset).astype(np.int64)
        if options.skip_prk_steps:
            self.runge_kutta = np.zeros(0, np.int64)
            self.timesteps = np.concatenate([grid[:1], grid[1:2], grid[1:]])  # the second is evaluated twice
            return
        if len(grid) < _ORDER:
            hint = f"Use {_ORDER} or more, or skip_prk_steps."
            raise UsageError(f"cannot sample in {steps} steps", where="num_inference_steps", hint=hint)
        rising = np.repeat(grid[:_ORDER][::-1], 2) + np.tile([0, self.stride // 2], _ORDER)
        self.runge_kutta = np.repeat(rising[:-1], 2)[1:-1][::-1]
        self.timesteps = np.concatenate([self.runge_kutta, grid[_ORDER - 1 :]])

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: _State | None = None, noise: Any = None
    ) -> tuple[np.ndarray, _State]:
        """Make one of the calls; see :meth:`Solver.step`."""
        state = state or _State()
        if index < len(self.runge_kutta):
            return self._runge_kutta_step(prediction, latents, index, state)
        return self._multistep(prediction, latents, index, state)

    def _runge_kutta_step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: _State
    ) -> tuple[np.ndarray, _State]:
        """Go from where the step of four calls began, with the last prediction, or at the fourth their mean."""
        start, call = int(self.runge_kutta[index // _ORDER * _ORDER]), index % _ORDER
        arrival = int(self.timesteps[index]) - (0 if index % 2 else self.stride // 2)
        history, origin = state.history, state.origin
        if call == 0:
            history, origin = (*history, prediction), latents
        total = state.total + _RUNGE_KUTTA[call] * prediction
        if call == _ORDER - 1:
            prediction, total = total, 0.0
        return self._transfer(origin, start, arrival, prediction), _State(history, origin, total)

    def _multistep(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: _State
    ) -> tuple[np.ndarray, _State]:
        """Extrapolate from up to four predictions; the second call of all, without Runge-Kutta, repeats the first."""
        start = int(self.timesteps[index])
        arrival = start - self.stride
        if index == 1:
            mean = (prediction + state.history[-1]) / 2
            return self._transfer(state.origin, start + self.stride, start, mean), _State(state.history)
        history = (*state.history[1 - _ORDER :], prediction)
        weights = _ADAMS_BASHFORTH[len(history) - 1]
        slope = sum(weight * past for weight, past in zip(weights, reversed(history), strict=True))
        return self._transfer(latents, start, arrival, slope), _State(history, latents if index == 0 else None)

    def _transfer(self, latents: np.ndarray, start: int, arrival: int, prediction: Any) -> np.ndarray:
        """Go from timestep ``start`` to ``arrival`` (equation 11)."""
        table = self.schedule.alphas_cumprod
        last = np.ones(1, np.float32) if self.options.set_alpha_to_one else table[:1]
        abar, following = table[start : start + 1], table[arrival : arrival + 1] if arrival >= 0 else last
        eps = predict_noise(prediction, latents, abar**0.5, (1 - abar) ** 0.5, self.options.prediction_type)
        denominator = abar * (1 - following) ** 0.5 + (abar * (1 - abar) * following) ** 0.5
        return (following / abar) ** 0.5 * latents - (following - abar) * eps / denominator
