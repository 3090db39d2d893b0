"""Consistency distillation of a guided teacher into a student (Ji4chenLi/t2v-turbo, train_t2v_turbo_v1_lora.py).

A teacher's guided DDIM step takes noisy latents x_(n+k) a little way down to x_n; the student learns to map both to the
same clean latents (Luo et al. 2023, arXiv 2310.04378, algorithm 1). What depends on timesteps only is computed on
the host, as one row of coefficients per sample. Shapes: b samples, latents (b c f h w).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.diffusion import lcm
from videogen_cli.diffusion.ddim_solver import DDIMSolver
from videogen_cli.diffusion.losses import huber, mse
from videogen_cli.diffusion.schedules import NoiseSchedule, predict_noise, predict_x0
from videogen_cli.errors import UsageError, did_you_mean
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell

LOSSES = ("huber", "l2")
UNGUIDED_FPS = 16  # the original's teacher is not told the frame rate when it is not told the prompt either


class DistillationPlan:
    """Timesteps and coefficients of each sample of a batch, in numpy.

    Args:
        schedule: the teacher's forward process.
        solver: its steps; deterministic ones only.
        topk: timesteps between x_(n+k) and x_n.
        scaling: of timesteps in the boundary condition.

    Raises:
        UsageError: the solver draws noise.
    """

    def __init__(
        self, schedule: NoiseSchedule, solver: DDIMSolver, topk: int = 20, scaling: float = lcm.TIMESTEP_SCALING
    ) -> None:
        if solver.eta:
            raise UsageError("distillation needs a deterministic solver", where="ddim_eta", hint="Set it to 0.")
        self.schedule, self.solver, self.topk, self.scaling = schedule, solver, topk, scaling

    def timesteps(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the solver's steps ``index`` (b,) start, and where the student is asked again, both (b,)."""
        start = self.solver.timesteps[index]
        return start, np.maximum(start - self.topk, 0)

    def coefficients(self, index: np.ndarray) -> np.ndarray:
        """Return float32 (b 10): for the start, then the end, c_skip c_out alpha sigma; then the solver's two."""
        ends = [(*self._boundary(steps), *self.schedule.coefficients(steps)) for steps in self.timesteps(index)]
        signal, direction, _ = self.solver.coefficients(index, 1)
        return np.stack([*ends[0], *ends[1], signal, direction], 1).astype(np.float32)

    def _boundary(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return lcm.boundary_scalings(steps.astype(np.float64), self.scaling)


class Consistency(Cell):
    """The student as a consistency function: noisy latents straight to clean ones."""

    def __init__(self, unet: Any, prediction_type: str = "epsilon", masks: Any = None) -> None:
        super().__init__()
        self.unet, self.prediction_type, self.masks = unet, prediction_type, masks

    def construct(
        self, noisy: Any, timesteps: Any, coefficients: Any, context: Any, fps: Any, guidance: Any, draw: Any = None
    ) -> Any:
        """Return clean latents, shaped like ``noisy``.

        Args:
            noisy: (b c f h w) at ``timesteps`` (b,).
            timesteps: (b,) float.
            coefficients: c_skip, c_out, alpha, sigma, each (b 1 1 1 1).
            context: text states (b l d).
            fps: (b,).
            guidance: embedding of the guidance scale (b d).
            draw: what dropout's masks follow from, for a network that has some (``nets.dropout.Masks``).
        """
        if draw is not None:
            self.masks(draw)
        c_skip, c_out, alpha, sigma = coefficients
        prediction = self.unet(noisy, timesteps, context, fps, guidance)
        return c_skip * noisy + c_out * predict_x0(prediction, noisy, alpha, sigma, self.prediction_type)


class GuidedStep(Cell):
    """The teacher's solver step under classifier-free guidance, ``conditional + w (conditional - unconditional)``."""

    def __init__(self, unet: Any, prediction_type: str = "epsilon") -> None:
        super().__init__()
        self.unet, self.prediction_type = unet, prediction_type

    def construct(
        self, noisy: Any, timesteps: Any, coefficients: Any, w: Any, context: Any, null_context: Any, fps: Any
    ) -> Any:
        """Return the latents (b c f h w) one step down.

        Args:
            noisy: (b c f h w) at ``timesteps`` (b,).
            timesteps: (b,) float.
            coefficients: alpha, sigma, and the solver's two, each (b 1 1 1 1).
            w: guidance scales (b 1 1 1 1).
            context: text states (b l d).
            null_context: those of the empty prompt (b l d).
            fps: (b,), which only the conditional branch is told.
        """
        alpha, sigma, signal, direction = coefficients
        told = self.unet(noisy, timesteps, context, fps)
        untold = self.unet(noisy, timesteps, null_context, fps * 0 + UNGUIDED_FPS)
        prediction = told + w * (told - untold)  # as good as guiding x0 and noise, which are affine in it
        x0 = predict_x0(prediction, noisy, alpha, sigma, self.prediction_type)
        return signal * x0 + direction * predict_noise(prediction, noisy, alpha, sigma, self.prediction_type)


class DistillationLoss(Cell):
    """How far the student is from agreeing with itself along the teacher's step.

    Args:
        student: a UNet that takes the guidance scale.
        teacher: one that does not; no gradient reaches it.
        loss: ``huber`` or ``l2``.
        huber_c: where the Huber loss turns from square to linear.
        prediction_type: of both.
        masks: of the student's dropout, or None.

    Raises:
        UsageError: an unknown loss.
    """

    def __init__(
        self,
        student: Any,
        teacher: Any,
        loss: str = "huber",
        huber_c: float = 0.001,
        prediction_type: str = "epsilon",
        masks: Any = None,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise UsageError(f"'{loss}' is not one of {', '.join(LOSSES)}", hint=did_you_mean(loss, LOSSES))
        self.student = Consistency(student, prediction_type, masks)
        self.teacher = GuidedStep(teacher, prediction_type)
        self.by_square, self.huber_c = loss == "l2", huber_c

    def construct(
        self,
        noisy: Any,
        start: Any,
        end: Any,
        coefficients: Any,
        w: Any,
        guidance: Any,
        context: Any,
        null_context: Any,
        fps: Any,
        draws: Any = (None, None),
    ) -> Any:
        """Return the loss, the student's clean latents of ``noisy``, the teacher's step, and the target.

        Args:
            noisy: latents (b c f h w) at timesteps ``start``.
            start: (b,) float timesteps.
            end: (b,) float timesteps where the student is asked again.
            coefficients: (b 10), see :meth:`DistillationPlan.coefficients`.
            w: guidance scales (b,).
            guidance: their embedding (b d).
            context: text states (b l d).
            null_context: those of the empty prompt (b l d).
            fps: (b,) float.
            draws: what dropout's masks follow from in the student's two calls, see ``Masks``.
        """
        row = rows_of(coefficients)
        scales = w.reshape(-1, 1, 1, 1, 1)
        step = self.teacher(noisy, start, (*row[2:4], *row[8:]), scales, context, null_context, fps)
        step = F.stop_gradient(step)
        target = F.stop_gradient(self.student(step, end, row[4:8], context, fps, guidance, draws[1]))
        # The call that is differentiated comes last: where backward computes blocks again, masks are still its own.
        predicted = self.student(noisy, start, row[:4], context, fps, guidance, draws[0])
        loss = mse(predicted, target) if self.by_square else huber(predicted, target, self.huber_c)
        return loss, predicted, step, target


def rows_of(coefficients: Any) -> Any:
    """Return the numbers of each sample (b 10) as ten tensors (b 1 1 1 1)."""
    row = ()
    for part in F.chunk(coefficients.reshape(-1, 10, 1, 1, 1, 1), 10, 1):
        row = (*row, part[:, 0])
    return row
