"""Settings of distillation and of the rewards; defaults are the published VideoCrafter2 run's."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.errors import UsageError, did_you_mean

LOSSES = ("huber", "l2", "none")


@dataclass
class LoraConfig:
    """The low-rank factors that make a student of the teacher."""

    rank: int = 64
    alpha: float = 1.0  # what the factors' product is multiplied by
    dropout: float = 0.1  # of what factors of linear layers and 2D convolutions add, while training
    merged: bool = False  # whether factors join the weights before use, which is faster for small networks
    # A new student's projection of the guidance scale, which the published runs drew at random: with zeros it starts as
    # its teacher.
    zero_projection: bool = False


@dataclass
class DistillConfig:
    """What the student learns from."""

    loss: str = "huber"  # huber | l2 | none: how far it is from agreeing with itself along the teacher's step
    huber_c: float = 0.001
    w_min: float = 5.0  # guidance scales are drawn from [w_min, w_max): conditional + w (conditional - unconditional)
    w_max: float = 15.0
    solver_steps: int = 50  # of the teacher
    topk: int = 20  # timesteps between the two places where the student must agree
    clean_end: bool = False  # whether the solver ends at clean latents, not at timestep 0, where some noise is left
    timestep_scaling: float = 10.0
    dropout: float = 0.1  # in the student's temporal convolutions, while training
    cache_latents: bool = False  # encode every clip once, before training, instead of in each step
    vae_encode_batch: int = 8  # images per call where clips are encoded in each step
    image_reward_scale: float = 0.0
    image_reward_samples: int = 1  # of a batch that the image-text scorer sees
    image_reward_frames: int = 5  # of each of them
    image_reward_repeats: bool = False  # whether a frame may be drawn twice, as in the MindSpore port
    video_reward_scale: float = 0.0
    video_reward_samples: int = 1  # that the video-text scorer sees, as many frames of each as it takes

    def check(self, lora: LoraConfig, frames: int, batch: int) -> None:
        """Check that a run with these settings exists, on batches of ``batch`` clips of ``frames`` frames.

        Raises:
            UsageError: a setting is out of range, or nothing would be learnt.
        """
        if self.loss not in LOSSES:
            hint = did_you_mean(self.loss, LOSSES)
            raise UsageError(f"'{self.loss}' is not one of {', '.join(LOSSES)}", where="distill.loss", hint=hint)
        if lora.rank < 1:
            raise UsageError(f"must be at least 1, not {lora.rank}", where="lora.rank")
        for where, rate in (("lora.dropout", lora.dropout), ("distill.dropout", self.dropout)):
            if not 0 <= rate < 1:
                raise UsageError(f"must be at least 0 and below 1, not {rate}", where=where)
        if lora.merged and lora.dropout:
            hint = "Set lora.dropout=0."
            raise UsageError("factors that are a part of the weights cannot be dropped", where="lora.merged", hint=hint)
        if self.w_min > self.w_max:
            raise UsageError(f"{self.w_min} is above distill.w_max, {self.w_max}", where="distill.w_min")
        if self.loss == "none" and not self.image_reward_scale and not self.video_reward_scale:
            hint = "Set distill.loss, distill.image_reward_scale or distill.video_reward_scale."
            raise UsageError("there is nothing to learn from", where="distill.loss", hint=hint)
        if self.image_reward_scale:
            most = None if self.image_reward_repeats else frames
            _within(self.image_reward_frames, most, "distill.image_reward_frames", "frames of a clip")
            _within(self.image_reward_samples, batch, "distill.image_reward_samples", "clips of a batch")
        if self.video_reward_scale:
            _within(self.video_reward_samples, batch, "distill.video_reward_samples", "clips of a batch")


def _within(count: int, most: int | None, where: str, what: str) -> None:
    if count < 1 or (most is not None and count > most):
        limit = "at least 1" if most is None else f"from 1 to the {most} {what}"
        raise UsageError(f"must be {limit}, not {count}", where=where)
