"""What the stages that distil a student learn from: batches, the loss, validation, previews.

Every batch is a pure function of (seed, step, micro-batch, rank), so a resumed run sees what an uninterrupted one
would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data.order import rng
from videogen_cli.data.video import write_video
from videogen_cli.diffusion import lcm
from videogen_cli.diffusion.ddim_solver import DDIMSolver
from videogen_cli.models.t2v_turbo import distill_networks as networks
from videogen_cli.models.t2v_turbo import distill_rewards
from videogen_cli.models.t2v_turbo.distill_loss import CachedMoments, EncodedPixels, StageLoss
from videogen_cli.models.t2v_turbo.distillation import Consistency, DistillationLoss, DistillationPlan
from videogen_cli.models.t2v_turbo.latents import cached_moments, sample_indices
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline, check
from videogen_cli.nets.dropout import draw_masks
from videogen_cli.nets.params.vae2d import downsample_factor
from videogen_cli.runtime import graphs
from videogen_cli.train.objective import StageContext, Trainable

PREVIEW_PROMPTS = ("a red circle moving right", "a blue square moving down", "a green triangle moving left")


def unusual_captions(captions: Sequence[str], tokenizer: Any) -> str | None:
    """Say in one sentence how many of a data set's captions are empty, and how many longer than the network reads."""
    limit = tokenizer.context_length - 2
    empty = sum(not caption.strip() for caption in captions)
    # An id stands for one byte or more, so that short captions need not be looked at closely.
    long = {text for text in set(captions) if len(text.encode()) > limit and tokenizer.truncated(text)}
    counts = {"empty": empty, f"cut after {limit} words and parts of words": sum(text in long for text in captions)}
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return f"of {len(captions)} captions, {' and '.join(told)}" if told else None


class DistillObjective:
    """Stages ``distill``, ``1``, ``2`` and ``all``: low-rank factors of a student beside its teacher's weights."""

    def __init__(self, context: StageContext) -> None:
        self.context, self.config = context, context.config
        config, cells = self.config, dict(context.cells)
        check(config)
        config.distill.check(config.lora, config.data.num_frames, config.train.batch_size)
        self.networks = networks.build(cells["unet"], config, context.adapters)
        self.trainable = {
            "lora": Trainable(
                self.networks.student,
                networks.is_factor,
                rename=networks.file_name,
                beside=networks.saved_beside(self.networks.student),
                metadata=networks.metadata(config, context.weights),
            )
        }
        self.pipeline = T2VTurboPipeline(config, cells)
        d = config.distill
        solver = DDIMSolver(self.pipeline.schedule, d.solver_steps, clean_end=d.clean_end)
        self.plan = DistillationPlan(self.pipeline.schedule, solver, d.topk, d.timestep_scaling)
        self.dataset = context.dataset()
        self.captions = [self.dataset.caption(index) for index in range(len(self.dataset))]
        if trouble := unusual_captions(self.captions, self.pipeline.tokenizer):
            context.output.warn(trouble)
        self.moments = cached_moments(context, self.dataset) if d.cache_latents else None
        self.rewards = distill_rewards.chosen(config, cells, *self.pipeline.latent_statistics)
        self.loss: Any = self._loss(cells)

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """Name what the loss is made of."""
        distillation = ("distillation",) * (self.config.distill.loss != "none")
        return (*distillation, *(reward.name for reward in self.rewards))

    def _loss(self, cells: dict[str, Any]) -> Any:
        d, kind = self.config.distill, self.pipeline.schedule.prediction_type
        student, masks = self.networks.student, self.networks.masks
        if d.loss == "none":
            agreement: Any = Consistency(student, kind, masks)
        else:
            agreement = DistillationLoss(student, self.networks.teacher, d.loss, d.huber_c, kind, masks)
        source = CachedMoments() if d.cache_latents else EncodedPixels(cells["vae"], d.vae_encode_batch)
        null = self.pipeline.tokenizer.encode([""])[0]
        judges = {reward.name: reward.loss for reward in self.rewards}
        return StageLoss(
            source, cells["text"], agreement, null, *self.pipeline.latent_statistics, drops=masks is not None, **judges
        )

    def sample_ids(self, step: int, micro: int, rank: int) -> list[int]:
        """Return the dataset indices of a batch."""
        return sample_indices(self.context, len(self.dataset), step, micro, rank)

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return what :meth:`StageLoss.construct` takes."""
        # Numbered through all ranks, so that two ranks see what one would see in twice as many micro-batches.
        number = (step * self.config.train.accumulation + micro) * self.context.world + rank
        draws = rng(self.config.seed, "distill", number)
        return self._batch(self.sample_ids(step, micro, rank), draws, key=number)

    def _batch(
        self, indices: list[int], draws: np.random.Generator, key: int, drop: bool = True
    ) -> tuple[np.ndarray, ...]:
        count, d = len(indices), self.config.distill
        shape = (count, *self._latent_shape)
        # One solver step from each of `count` equal parts of the schedule: the loss varies less between batches.
        share = (draws.permutation(count) + draws.random(count)) / count
        share = share ** (1 / self.config.diffusion.noise_bias)
        index = np.minimum((share * d.solver_steps).astype(np.int64), d.solver_steps - 1)
        start, end = self.plan.timesteps(index)
        w = (d.w_min + (d.w_max - d.w_min) * draws.random(count)).astype(np.float32)
        captions = [self.captions[index] for index in indices]
        dropped = draws.random(count) < self.config.data.drop_caption
        told = ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]
        return (
            self._clips(indices, key),
            draws.standard_normal(shape, np.float32),
            draws.standard_normal(shape, np.float32),
            start.astype(np.float32),
            end.astype(np.float32),
            self.plan.coefficients(index),
            w,
            lcm.guidance_scale_embedding(w, self.config.unet.time_cond_proj_dim),
            self.pipeline.tokenizer.encode(told).astype(np.int32),
            np.full(count, self.config.sample.fps, np.float32),
            np.stack([draw_masks(draws, drop), draw_masks(draws, drop)]),
            *(part for reward in self.rewards for part in reward.draw(told, draws)),
        )

    @property
    def _latent_shape(self) -> tuple[int, int, int, int]:
        data, factor = self.config.data, downsample_factor(self.config.vae)
        return self.config.vae.embed_dim, data.num_frames, data.height // factor, data.width // factor

    def _clips(self, indices: list[int], key: int) -> np.ndarray:
        """Return moments (b 2c f h w) where latents are cached, else pixels (b f 3 H W)."""
        if self.moments is not None:
            return np.asarray(self.moments[indices], np.float32)
        return np.stack([sample.frames for sample in self.dataset.items(indices, key)])

    def validate(self, step: int) -> dict[str, float]:
        """Return the loss and its parts on a fixed set of clips, noises, timesteps and guidance scales."""
        from mindspore import Tensor

        draws = rng(self.config.seed, "distill-validation")
        indices = draws.integers(len(self.dataset), size=self.config.train.batch_size).tolist()
        tensors = tuple(Tensor(part) for part in self._batch(indices, draws, key=0, drop=False))
        values = graphs.call(self.loss, tensors, "validation")
        names = ("loss", *self.scalar_names)
        return {name: float(value.asnumpy()) for name, value in zip(names, values, strict=True)}

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Sample a few fixed prompts with the student, side by side in one GIF."""
        if self.networks.masks is not None:
            self.networks.masks.stop()
        latents = self.pipeline.sample(PREVIEW_PROMPTS, range(len(PREVIEW_PROMPTS)))
        strip = np.concatenate(list(self.pipeline.decode(latents)), axis=2)
        return [write_video(folder / f"step-{step}.gif", strip, self.config.sample.fps, "gif")]
