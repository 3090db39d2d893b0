"""What all solvers are: tables made once, and a pure step.

A sampling loop is::

    state, latents = None, noise * solver.init_noise_sigma
    for index, t in enumerate(solver.timesteps):
        prediction = network(solver.scale_input(latents, index), t)
        latents, state = solver.step(prediction, latents, index, state, fresh_noise)

Options have the names and defaults of the scheduler classes of huggingface/diffusers 0.27.2, whose results are
reproduced. Arrays are numpy. Coefficients are float32 arrays (1,), so that arithmetic with them stays in float32: near
pure noise, and where a schedule's signal all but ends, much cancels, and what is left is upstream's rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from videogen_cli.diffusion.schedules import PREDICTION_TYPES, NoiseSchedule, beta_schedule, zero_terminal_snr
from videogen_cli.diffusion.solvers.timesteps import at_timesteps, karras, spaced, to_timesteps
from videogen_cli.errors import UsageError, did_you_mean

_LEAST_ABAR = 2.0**-24  # stands in for the 0 of a zero terminal SNR, where noise levels would be infinite


@dataclass(frozen=True)
class Options:
    """The forward process (see :mod:`videogen_cli.diffusion.schedules`), and what the network predicts."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: Sequence[float] | None = None  # in place of the three before
    prediction_type: str = "epsilon"  # epsilon | v_prediction | sample


@dataclass(frozen=True)
class SpacedOptions(Options):
    """Where the timesteps lie (see :func:`videogen_cli.diffusion.solvers.timesteps.spaced`)."""

    timestep_spacing: str = "leading"
    steps_offset: int = 0


@dataclass(frozen=True)
class ThresholdOptions:
    """Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3)."""

    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0


@dataclass(frozen=True)
class ClipOptions(ThresholdOptions):
    """How estimates of the clean latents are bounded; thresholding goes first."""

    clip_sample: bool = True
    clip_sample_range: float = 1.0


class Solver(ABC):
    """One way to integrate from noise to latents in ``steps`` steps.

    Raises:
        UsageError: an option has no meaning here, or the number of steps is impossible.
    """

    options_type: ClassVar[type[Options]]
    predictions: ClassVar[tuple[str, ...]] = PREDICTION_TYPES
    calls_per_step: ClassVar[int] = 1  # of the network, but for the first or last steps
    keeps_signal: ClassVar[bool] = False  # whether a zero terminal SNR is raised to a least one

    timesteps: np.ndarray  # one per call of the network
    sigmas: Any = None  # noise levels, an array, of solvers that work with them
    init_noise_sigma: float = 1.0  # what unit noise is multiplied by to begin

    def __init__(self, options: Any, steps: int) -> None:
        self.options, self.steps = options, steps
        if options.prediction_type not in self.predictions:
            hint = did_you_mean(options.prediction_type, self.predictions)
            what = f"'{options.prediction_type}' is not a prediction that {type(self).__name__} can use"
            raise UsageError(what, where="prediction_type", hint=hint)
        self.schedule = _schedule(options, _LEAST_ABAR if self.keeps_signal else 0.0)
        self.stride = options.num_train_timesteps // max(steps, 1)  # between a timestep and where its step arrives

    def scale_input(self, latents: np.ndarray, index: int) -> np.ndarray:
        """Return what the network is given for ``latents`` at call ``index``."""
        return latents

    def draws(self, index: int) -> bool:
        """Tell whether the step at ``index`` uses fresh noise."""
        return False

    @abstractmethod
    def step(
        self, prediction: np.ndarray, latents: np.ndarray, index: int, state: Any = None, noise: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Return the latents after call ``index``, and what the next step must be given as ``state``.

        Args:
            prediction: the network's output, after guidance (b c ...).
            latents: what :meth:`scale_input` was given (b c ...).
            index: position in ``timesteps``.
            state: what the step before returned; None at first.
            noise: unit noise of the latents' shape; needed where :meth:`draws` says so.
        """


class SigmaSolver(Solver):
    """A solver over noise levels, which scales the network's input to unit variance (Karras et al. 2022)."""

    def __init__(self, options: Any, steps: int) -> None:
        super().__init__(options, steps)
        self.table = sigma_table(self.schedule)

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return timesteps and noise levels that the options ask for, without the 0 at the end."""
        options = self.options
        timesteps = spaced(
            options.timestep_spacing,
            self.steps,
            options.num_train_timesteps,
            offset=options.steps_offset,
            whole=False,
        ).astype(np.float32)
        sigmas = self.interpolate(timesteps)
        if getattr(options, "use_karras_sigmas", False):
            ends = getattr(options, "sigma_max", None), getattr(options, "sigma_min", None)
            highest, lowest = (float(s if end is None else end) for s, end in zip(sigmas[[0, -1]], ends, strict=True))
            sigmas = karras(highest, lowest, self.steps)
            timesteps = to_timesteps(self.table, sigmas)
        return timesteps, sigmas

    def interpolate(self, timesteps: np.ndarray) -> np.ndarray:
        """Return the noise levels at ``timesteps``."""
        return at_timesteps(self.table, timesteps)

    def level(self, index: int) -> np.ndarray:
        """Return the noise level of the latents that call ``index`` is given, (1,)."""
        return self.sigmas[index : index + 1]

    def scale_input(self, latents: np.ndarray, index: int) -> np.ndarray:
        """Scale to unit variance."""
        return latents / (self.level(index) ** 2 + 1) ** 0.5

    def start_from(self, sigmas: np.ndarray) -> None:
        """Set the noise levels, the 0 at the end included, and what to start from."""
        self.sigmas = sigmas.astype(np.float32)
        highest = float(self.sigmas.max())
        exact = self.options.timestep_spacing != "leading"  # the others begin at pure noise
        self.init_noise_sigma = highest if exact else (highest**2 + 1) ** 0.5

    def denoised(self, prediction: np.ndarray, latents: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """Return the clean latents that ``prediction`` implies for ``latents`` = x_0 + sigma noise."""
        if self.options.prediction_type == "epsilon":
            return latents - sigma * prediction
        if self.options.prediction_type == "sample":
            return prediction
        return prediction * (-sigma / (sigma**2 + 1) ** 0.5) + latents / (sigma**2 + 1)


def sigma_table(schedule: NoiseSchedule) -> np.ndarray:
    """Return the noise level of every training timestep, float32."""
    abar = schedule.alphas_cumprod
    return ((1 - abar) / abar) ** np.float32(0.5)


def ancestral(sigmas: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split steps from ``sigmas`` down to ``following``: return the levels to denoise to, and those of noise to add."""
    up = (following**2 * (sigmas**2 - following**2) / sigmas**2) ** 0.5
    return np.maximum(following**2 - up**2, 0) ** 0.5, up


def bounded(denoised: np.ndarray, options: Any) -> np.ndarray:
    """Return an estimate of the clean latents (b ...) within the bounds that ``options`` set."""
    if getattr(options, "thresholding", False):
        rows = denoised.reshape(len(denoised), -1)
        limit = np.quantile(np.abs(rows), options.dynamic_thresholding_ratio, axis=1, keepdims=True)
        limit = np.clip(limit, 1, options.sample_max_value).astype(denoised.dtype)
        return (np.clip(rows, -limit, limit) / limit).reshape(denoised.shape)
    if getattr(options, "clip_sample", False):
        return np.clip(denoised, -options.clip_sample_range, options.clip_sample_range)
    return denoised


def required(noise: Any, index: int) -> Any:
    """Return ``noise``.

    Raises:
        UsageError: there is none.
    """
    if noise is None:
        raise UsageError(f"step {index} adds fresh noise, and none was given", where="noise")
    return noise


def _schedule(options: Any, least_abar: float) -> NoiseSchedule:
    """Build the forward process; the last abar of a zero terminal SNR becomes ``least_abar``."""
    if options.trained_betas is not None:
        betas = np.asarray(options.trained_betas, np.float32)
    else:
        betas = beta_schedule(
            options.beta_schedule, options.num_train_timesteps, options.beta_start, options.beta_end, np.float32
        )
    if not getattr(options, "rescale_betas_zero_snr", False):
        return NoiseSchedule.of_betas(betas, options.prediction_type)
    schedule = NoiseSchedule.of_betas(zero_terminal_snr(betas), options.prediction_type)
    schedule.alphas_cumprod[-1] = least_abar
    return schedule
