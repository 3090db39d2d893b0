"""What T2V-Turbo's stages learn from: batches, losses, validation, previews.

Every batch is a pure function of (seed, step, micro-batch, rank), so a resumed run sees what an uninterrupted one
would have seen.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data.order import rng
from videogen_cli.data.video import write_video
from videogen_cli.models.t2v_turbo.latents import cached_moments, draw_codes, sample_indices
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline, check
from videogen_cli.nets.params.vae2d import downsample_factor
from videogen_cli.nets.vae2d import Decode, Encode
from videogen_cli.runtime import functional as F
from videogen_cli.runtime import graphs
from videogen_cli.runtime.cells import Cell
from videogen_cli.train.objective import StageContext


class AutoencoderLoss(Cell):
    """Reconstruction (L1, rounded at zero, and L2; the foreground weighted up) plus KL: LDM's without its critic.

    ``construct(images (n 3 h w), noise (n z h/8 w/8), weight (n 1 h w)) -> loss, reconstruction, kl``.
    """

    def __init__(self, vae: Any, settings: Any) -> None:
        super().__init__()
        self.vae = vae
        self.l1_weight, self.l2_weight, self.kl_weight = settings.l1_weight, settings.l2_weight, settings.kl_weight

    def construct(self, images: Any, noise: Any, weight: Any) -> Any:
        """Return the loss and its two parts."""
        mean, logvar = self.vae.encode(images)
        error = self.vae.decode(mean + F.exp(0.5 * logvar) * noise) - images
        reconstruction = (
            weight * (self.l1_weight * F.sqrt(error * error + 1e-8) + self.l2_weight * error * error)
        ).mean()
        kl = 0.5 * (mean * mean + F.exp(logvar) - 1.0 - logvar).mean()
        return reconstruction + self.kl_weight * kl, reconstruction, kl


class AutoencoderObjective:
    """Stage ``vae``: single frames, taken from clips at random."""

    scalar_names = ("reconstruction", "kl")

    def __init__(self, context: StageContext) -> None:
        self.context, self.config = context, context.config
        vae = context.cells["vae"]
        self.trainable = {"vae": vae}
        self._encode, self._decode = Encode(vae), Decode(vae)
        self.dataset = context.dataset()
        self.loss = AutoencoderLoss(vae, self.config.vae_loss)

    def sample_ids(self, step: int, micro: int, rank: int) -> list[int]:
        """Return the dataset indices of a batch."""
        return sample_indices(self.context, len(self.dataset), step, micro, rank)

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return images (n 3 h w) in [-1, 1], posterior noise, and the weight of each pixel."""
        draws = rng(self.config.seed, "vae", step, micro, rank)
        return self._batch(self.sample_ids(step, micro, rank), draws)

    def _batch(self, indices: list[int], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        clips = [self.dataset.item(index, int(draws.integers(2**31))).frames for index in indices]
        images = np.stack([clip[draws.integers(len(clip))] for clip in clips]).astype(np.float32)
        noise = draws.standard_normal(self._latent_shape(images), np.float32)
        bright = images.max(1, keepdims=True) > -0.9
        weight = np.where(bright, 1.0 + self.config.vae_loss.foreground_weight, 1.0).astype(np.float32)
        return images, noise, weight

    def _latent_shape(self, images: np.ndarray) -> tuple[int, ...]:
        factor = downsample_factor(self.config.vae)
        return len(images), self.config.vae.embed_dim, images.shape[2] // factor, images.shape[3] // factor

    def validate(self, step: int) -> dict[str, float]:
        """Return reconstruction PSNR (dB, pixels in [-1, 1]) and the latents' statistics over 64 frames."""
        draws = rng(self.config.seed, "vae-validation")
        images, _, _ = self._batch(draws.integers(len(self.dataset), size=64).tolist(), draws)
        mean, std = np.split(self._run(self._encode, images), 2, axis=1)
        decoded = self._run(self._decode, mean)
        error = float(((decoded.clip(-1, 1) - images) ** 2).mean())
        channels = {f"latent_mean_{c}": float(mean[:, c].mean()) for c in range(mean.shape[1])}
        channels |= {f"latent_std_{c}": float(mean[:, c].std()) for c in range(mean.shape[1])}
        psnr = 10 * float(np.log10(4 / max(error, 1e-12)))
        return {"psnr": psnr, "posterior_std": float(std.mean()), **channels}

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Write one clip, originals above reconstructions."""
        frames = self.dataset.item(0, 0).frames
        mean, _ = np.split(self._run(self._encode, frames), 2, axis=1)
        decoded = self._run(self._decode, mean).clip(-1, 1)
        both = np.concatenate([frames, decoded], axis=2).transpose(0, 2, 3, 1)
        return [write_video(folder / f"step-{step}.gif", ((both + 1) * 127.5).astype(np.uint8), 8, "gif")]

    def _run(self, cell: Any, images: np.ndarray) -> np.ndarray:
        return graphs.run(cell, (images,), type(cell).__name__, asdict(self.config.vae))


class DiffusionLoss(Cell):
    """Prediction through text tower and UNet (Ho et al. 2020, equation 14, for any prediction type).

    ``construct(noisy (b c f h w), target, timesteps (b,), ids (b l), fps (b,)) -> loss``.
    """

    def __init__(self, text: Any, unet: Any) -> None:
        super().__init__()
        self.text, self.unet = text, unet

    def construct(self, noisy: Any, target: Any, timesteps: Any, ids: Any, fps: Any) -> Any:
        """Return the mean squared error of the prediction."""
        error = self.unet(noisy, timesteps, self.text(ids), fps) - target
        return (error * error).mean()


class DiffusionObjective:
    """Stage ``base``: the teacher's UNet and text tower on cached latents of the frozen autoencoder."""

    scalar_names = ()
    preview_prompts = ("a red circle moving right", "a blue square moving down", "a green triangle moving left")

    def __init__(self, context: StageContext) -> None:
        self.context, self.config = context, context.config
        cells = context.cells
        check(self.config)
        self.trainable = {
            name: cells[name] for name in ("unet", "text") if self.config.train.rate_factors.get(name, 1.0) > 0
        }
        self.loss: Any = DiffusionLoss(cells["text"], cells["unet"])
        self.pipeline = T2VTurboPipeline(self.config, cells)
        self.dataset = context.dataset()
        self.moments = cached_moments(context, self.dataset)
        self.captions = [self.dataset.caption(index) for index in range(len(self.dataset))]
        self.null_ids = self.pipeline.tokenizer.encode([""])[0]

    def sample_ids(self, step: int, micro: int, rank: int) -> list[int]:
        """Return the dataset indices of a batch."""
        return sample_indices(self.context, len(self.dataset), step, micro, rank)

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return noisy latents (b c f h w), the target, timesteps (b,), token ids (b l), fps (b,)."""
        return self._batch(self.sample_ids(step, micro, rank), rng(self.config.seed, "diffusion", step, micro, rank))

    def _batch(self, indices: list[int], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        count, schedule = len(indices), self.pipeline.schedule
        latents = self.pipeline.normalise(draw_codes(self.moments[indices], draws))
        noise = draws.standard_normal(latents.shape, np.float32)
        # One timestep from each of `count` equal parts of the schedule: the loss varies less between batches.
        share = (draws.permutation(count) + draws.random(count)) / count
        share = share ** (1 / self.config.diffusion.noise_bias)
        timesteps = np.minimum(share * schedule.train_timesteps, schedule.train_timesteps - 1).astype(np.int64)
        dropped = draws.random(count) < self.config.data.drop_caption
        ids = self.pipeline.tokenizer.encode([self.captions[index] for index in indices])
        ids = np.where(dropped[:, None], self.null_ids, ids).astype(np.int32)
        fps = np.full(count, self.config.sample.fps, np.float32)
        noisy = schedule.add_noise(latents, noise, timesteps).astype(np.float32)
        target = schedule.target(latents, noise, timesteps).astype(np.float32)
        return noisy, target, timesteps.astype(np.float32), ids, fps

    def validate(self, step: int) -> dict[str, float]:
        """Return the loss on a fixed set of clips, noises and timesteps."""
        from mindspore import Tensor

        draws = rng(self.config.seed, "diffusion-validation")
        indices = draws.integers(len(self.dataset), size=self.config.train.batch_size).tolist()
        tensors = tuple(Tensor(part) for part in self._batch(indices, draws))
        return {"loss": float(graphs.call(self.loss, tensors, "validation").asnumpy())}

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Sample a few fixed prompts, side by side in one GIF."""
        latents = self.pipeline.sample(self.preview_prompts, range(len(self.preview_prompts)))
        strip = np.concatenate(list(self.pipeline.decode(latents)), axis=2)
        return [write_video(folder / f"step-{step}.gif", strip, self.config.sample.fps, "gif")]
