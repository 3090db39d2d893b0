"""DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv:2206.00927 and arXiv:2211.01095), multistep and singlestep.

Latents are x = alpha x_0 + sigma eps with alpha^2 + sigma^2 = 1; lambda = log(alpha / sigma). A step multiplies the
latents, an estimate D0 of what the network predicts (x_0 in the ++ variants, else eps) and its divided differences D1
and D2, and in the stochastic variants fresh noise, by numbers that depend on lambda only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen_cli.diffusion.schedules import predict_noise, predict_x0
from videogen_cli.diffusion.solvers.base import (
    Options,
    Solver,
    SpacedOptions,
    ThresholdOptions,
    bounded,
    required,
    sigma_table,
)
from videogen_cli.diffusion.solvers.timesteps import at_timesteps, karras, spaced, to_timesteps
from videogen_cli.errors import UsageError, did_you_mean

FINAL_SIGMAS = ("zero", "sigma_min")
FEW_STEPS = 15  # below so many, orders are lowered at the end
_MULTISTEP = ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")
_SINGLESTEP = ("dpmsolver", "dpmsolver++")
# what diffusers takes other solvers' words for
_ALIASES = {"deis": "dpmsolver++", "logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"}
_RULES = ("midpoint", "heun")


@dataclass(frozen=True)
class _DPMOptions(ThresholdOptions, Options):
    solver_order: int = 2  # 1 to 3
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"  # midpoint | heun
    lower_order_final: bool = True  # lower orders at the end
    use_karras_sigmas: bool = False
    final_sigmas_type: str = "zero"  # where the last step arrives: zero | sigma_min, timestep 0's
    lambda_min_clipped: float = -float("inf")  # timesteps noisier than this are left out
    variance_type: str | None = None  # learned | learned_range: further channels of the prediction are left out


@dataclass(frozen=True)
class DPMMultistepOptions(_DPMOptions, SpacedOptions):
    """Options of :class:`DPMMultistep`; ``algorithm_type`` may also be ``sde-dpmsolver`` and ``sde-dpmsolver++``."""

    timestep_spacing: str = "linspace"
    euler_at_final: bool = False
    use_lu_lambdas: bool = False  # levels even in lambda
    rescale_betas_zero_snr: bool = False


@dataclass(frozen=True)
class DPMSinglestepOptions(_DPMOptions):
    """Options of :class:`DPMSinglestep`."""

    lower_order_final: bool = False


@dataclass(frozen=True)
class Weights:
    """What a step multiplies; ``slope`` and ``trapezoid`` are D1's in the midpoint rule and in Heun's."""

    latents: Any
    mean: Any
    slope: Any
    trapezoid: Any
    curve: Any
    noise: Any = 0.0


def alpha_sigma(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (alpha, sigma) at noise levels sigma / alpha, (n,)."""
    alpha = 1 / (levels**2 + 1) ** 0.5
    return alpha, levels * alpha


@np.errstate(divide="ignore")
def log_snr_half(levels: np.ndarray) -> np.ndarray:
    """Return lambda at noise levels (n,); infinite at 0."""
    alpha, sigma = alpha_sigma(levels)
    return np.log(alpha) - np.log(sigma)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def step_weights(algorithm: str, start: np.ndarray, arrival: np.ndarray) -> Weights:
    """Return what a step of an algorithm (see :class:`DPMMultistepOptions`) between two noise levels multiplies."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = alpha_sigma(start), alpha_sigma(arrival)
    h = log_snr_half(arrival) - log_snr_half(start)  # 0 or infinite at the end, where only the mean counts
    if algorithm == "dpmsolver++":
        fall = np.exp(-h) - 1
        first, second, third = alpha_t * fall, alpha_t * (fall / h + 1), alpha_t * ((fall + h) / h**2 - 0.5)
        found = sigma_t / sigma_s, -first, -0.5 * first, second, -third
    elif algorithm == "sde-dpmsolver++":
        fall = 1 - np.exp(-2 * h)
        first, second = alpha_t * fall, alpha_t * (1 - fall / (2 * h))
        found = sigma_t / sigma_s * np.exp(-h), first, 0.5 * first, second, 0.0, sigma_t * fall**0.5
    else:
        rise, twice = np.exp(h) - 1, 2 if algorithm == "sde-dpmsolver" else 1
        first, second, third = sigma_t * rise, sigma_t * (rise / h - 1), sigma_t * ((rise - h) / h**2 - 0.5)
        found = alpha_t / alpha_s, -twice * first, -twice * 0.5 * first, -twice * second, -third
        found = (*found, sigma_t * (np.exp(2 * h) - 1) ** 0.5)
    return Weights(*found)


class _DPMSolver(Solver):
    """Noise levels, and estimates of what the network predicts; ``state`` holds those of the last steps."""

    algorithms: tuple[str, ...]
    options: Any

    def __init__(self, options: Any, steps: int) -> None:
        super().__init__(options, steps)
        self.table = sigma_table(self.schedule)
        self.algorithm = _known("algorithm_type", options, self.algorithms)
        self.rule = _known("solver_type", options, _RULES)
        final = _known("final_sigmas_type", options, FINAL_SIGMAS)
        if not 1 <= options.solver_order <= 3:
            raise UsageError(f"{options.solver_order} is not 1, 2 or 3", where="solver_order")
        if final == "zero" and not self.algorithm.endswith("++"):
            hint = "Use sigma_min, or a ++ algorithm."
            raise UsageError(f"{self.algorithm} cannot arrive at zero noise", where="final_sigmas_type", hint=hint)
        timesteps, sigmas = self._levels()
        last = 0.0 if final == "zero" else self.table[0]
        self.timesteps, self.sigmas = timesteps.astype(np.int64), np.append(sigmas, last).astype(np.float32)

    def _levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return timesteps and noise levels, without the last."""
        options, train = self.options, self.options.num_train_timesteps
        spacing, offset = getattr(options, "timestep_spacing", "linspace"), getattr(options, "steps_offset", 0)
        with np.errstate(divide="ignore"):
            end = int(np.count_nonzero(-np.log(self.table.astype(np.float64)) >= options.lambda_min_clipped))
        timesteps = spaced(spacing, self.steps, train, offset=offset, spare=1, end=end)
        highest, lowest = float(self.table[-1]), float(self.table[0])
        if options.use_karras_sigmas:
            sigmas = karras(highest, lowest, self.steps)
        elif getattr(options, "use_lu_lambdas", False):
            first, last = np.log(self.table[[-1, 0]]).tolist()
            sigmas = np.exp(np.linspace(first, last, self.steps))
        else:
            return timesteps, at_timesteps(self.table, timesteps)
        return to_timesteps(self.table, sigmas).round(), sigmas

    def _estimate(self, prediction: np.ndarray, latents: np.ndarray, index: int) -> np.ndarray:
        """Return x_0 for the ++ variants, else the noise."""
        options = self.options
        if options.variance_type in ("learned", "learned_range"):
            prediction = prediction[:, : latents.shape[1]]
        point = alpha_sigma(self.sigmas[index : index + 1])
        if self.algorithm.endswith("++"):
            return bounded(predict_x0(prediction, latents, *point, options.prediction_type), options)
        eps = predict_noise(prediction, latents, *point, options.prediction_type)
        return self._bounded_noise(eps, latents, point)

    def _bounded_noise(self, eps: np.ndarray, latents: np.ndarray, point: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return eps

    def _advance(
        self, latents: np.ndarray, start: int, arrival: int, order: int, differences: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, Any]:
        """Go from the level at ``start`` to that at ``arrival``.

        Args:
            latents: those at ``start``.
            start: position in ``sigmas``.
            arrival: the same.
            order: of the method; the third weighs D1 as Heun's rule does.
            differences: D0, D1, ... of the estimates.

        Returns:
            The latents, and what fresh noise is to be multiplied by.
        """
        weights = step_weights(self.algorithm, self.sigmas[start : start + 1], self.sigmas[arrival : arrival + 1])
        latents = weights.latents * latents + weights.mean * differences[0]
        if len(differences) > 1:
            midpoint = order == 2 and self.rule == "midpoint"
            latents = latents + (weights.slope if midpoint else weights.trapezoid) * differences[1]
        if len(differences) > 2:
            latents = latents + weights.curve * differences[2]
        return latents, weights.noise

    @np.errstate(divide="ignore")
    def _ratio(self, start: int, middle: int, end: int, whole: int) -> np.ndarray:
        """Return lambda's change from ``start`` to ``middle`` over that from ``whole`` to ``end``, (1,)."""
        first, second, third, fourth = (log_snr_half(self.sigmas[i : i + 1]) for i in (start, middle, end, whole))
        return (second - first) / (third - fourth)


class DPMMultistep(_DPMSolver):
    """Estimates of earlier steps give the higher order (DPM-Solver++, algorithm 2).

    Raises:
        UsageError: an unknown word, an order that is not 1 to 3, or 3 in a stochastic variant.
    """

    options_type = DPMMultistepOptions
    options: DPMMultistepOptions
    algorithms = _MULTISTEP
    keeps_signal = True

    def __init__(self, options: DPMMultistepOptions, steps: int) -> None:
        super().__init__(options, steps)
        highest = max(self._order(index, min(index + 1, options.solver_order)) for index in range(len(self.timesteps)))
        if highest == 3 and self.algorithm.startswith("sde"):
            raise UsageError(f"{self.algorithm} has no third order", where="solver_order", hint="Use 1 or 2.")

    def draws(self, index: int) -> bool:
        """All steps of the stochastic variants do."""
        return self.algorithm.startswith("sde")

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Go to the next level; see :meth:`Solver.step`."""
        estimates = (*(state or ()), self._estimate(prediction, latents, index))[-self.options.solver_order :]
        if self.sigmas[index] == self.sigmas[index + 1]:  # Karras' lowest level is sigma_min already
            return latents, estimates
        order = self._order(index, len(estimates))
        differences = self._differences(index, estimates, order)
        latents, strength = self._advance(latents, index, index + 1, order, differences)
        return latents + strength * required(noise, index) if self.draws(index) else latents, estimates

    def _order(self, index: int, known: int) -> int:
        """Return the order of a step that ``known`` estimates, its own included, are there for."""
        options, left = self.options, len(self.timesteps) - index
        lowered = options.lower_order_final and len(self.timesteps) < FEW_STEPS
        if left == 1 and (options.euler_at_final or lowered or options.final_sigmas_type == "zero"):
            return 1
        return min(known, 2) if left == 2 and lowered else known

    def _differences(self, index: int, estimates: Sequence[np.ndarray], order: int) -> list[np.ndarray]:
        newest = estimates[-1]
        if order == 1:
            return [newest]
        r0 = self._ratio(index - 1, index, index + 1, index)
        slope = (newest - estimates[-2]) / r0
        if order == 2:
            return [newest, slope]
        r1 = self._ratio(index - 2, index - 1, index + 1, index)
        older = (estimates[-2] - estimates[-3]) / r1
        curve = (slope - older) / (r0 + r1)
        return [newest, slope + r0 * curve, curve]

    def _bounded_noise(self, eps: np.ndarray, latents: np.ndarray, point: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Bound the clean latents that a noise estimate implies."""
        if not self.options.thresholding:
            return eps
        return predict_noise(bounded(predict_x0(eps, latents, *point), self.options), latents, *point, "sample")


class DPMSinglestep(_DPMSolver):
    """Groups of calls that begin anew (DPM-Solver, algorithms 1 and 2): the nth call of a group is of order n.

    Raises:
        UsageError: an unknown word, or an order that is not 1 to 3.
    """

    options_type = DPMSinglestepOptions
    options: DPMSinglestepOptions
    algorithms = _SINGLESTEP

    def __init__(self, options: DPMSinglestepOptions, steps: int) -> None:
        super().__init__(options, steps)
        whole = steps % options.solver_order == 0 and options.final_sigmas_type != "zero"
        self.orders = _orders(options.solver_order, steps, lowered=options.lower_order_final or not whole)
        if self.orders[-1] > 1 and options.final_sigmas_type == "zero":
            what = f"{steps} steps would end with one of order {self.orders[-1]}, which cannot arrive at zero noise"
            raise UsageError(
                what, where="num_inference_steps", hint="Use one more step, or final_sigmas_type=sigma_min."
            )

    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Make a call of a group, which starts from the group's first latents; see :meth:`Solver.step`."""
        estimate, order = self._estimate(prediction, latents, index), self.orders[index]
        origin, estimates = (latents, (estimate,)) if order == 1 else (state[0], (*state[1], estimate))
        latents, _ = self._advance(origin, index + 1 - order, index + 1, order, self._differences(index, estimates))
        return latents, (origin, estimates)

    def _differences(self, index: int, estimates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return differences from the oldest estimate, at whose level the group began."""
        oldest = estimates[0]
        if len(estimates) == 1:
            return [oldest]
        start = index + 1 - len(estimates)
        r0 = self._ratio(start, index, index + 1, start)
        slope = (estimates[-1] - oldest) / r0
        if len(estimates) == 2 or self.rule == "midpoint":
            return [oldest, slope]
        r1 = self._ratio(start, index - 1, index + 1, start)
        earlier = (estimates[1] - oldest) / r1
        curve = 2 * (slope - earlier) / (r0 - r1)
        return [oldest, (r0 * earlier - r1 * slope) / (r0 - r1), curve]


def _orders(order: int, steps: int, *, lowered: bool) -> list[int]:
    """Return the order of every call; ``lowered`` ends with lower ones so that any number of steps can be made."""
    if order == 1 or not lowered:
        return (list(range(1, order + 1)) * -(-steps // order))[:steps]
    if steps % order:
        return (list(range(1, order + 1)) * (steps // order + 1))[:steps]
    return list(range(1, order + 1)) * (steps // order - 1) + list(range(1, order)) + [1]


def _known(name: str, options: Any, words: tuple[str, ...]) -> str:
    """Return the word that an option means."""
    word = str(getattr(options, name))
    word = _ALIASES.get(word, word)
    if word not in words:
        raise UsageError(f"'{word}' is not one of {', '.join(words)}", where=name, hint=did_you_mean(word, words))
    return word
