"""Prompt to video: text tower, UNet under a sampler, frame-wise decoding.

Shapes: ``b`` videos, ``c`` latent channels, ``f`` frames, ``h w`` latent height and width, ``H W`` pixels.
The sampling loop runs on host arrays; only the networks run on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from videogen_cli.data.order import rng
from videogen_cli.data.tokenizers import load_tokenizer
from videogen_cli.diffusion import lcm, samplers
from videogen_cli.diffusion.guidance import classifier_free
from videogen_cli.diffusion.schedules import NoiseSchedule
from videogen_cli.errors import UsageError
from videogen_cli.nets.params.unet3d import check_latent_size
from videogen_cli.nets.params.vae2d import decoder_numbers, downsample_factor
from videogen_cli.registry import load_attr
from videogen_cli.runtime import graphs
from videogen_cli.runtime.memory import activation_bytes, batch_that_fits, in_batches
from videogen_cli.runtime.precision import BYTES, compute_dtype

SAMPLERS = ("lcm", "ddim")


def check(config: Any) -> None:
    """Check that a config's sizes and sampler can work; needs no device.

    Raises:
        UsageError: height or width do not divide, or the sampler does not suit the network.
    """
    sample, factor = config.sample, downsample_factor(config.vae)
    if sample.sampler not in SAMPLERS:
        raise UsageError(f"'{sample.sampler}' is not one of {', '.join(SAMPLERS)}", where="sample.sampler")
    for key, value in (("height", sample.height), ("width", sample.width)):
        if value % factor:
            hint = f"The autoencoder shrinks by {factor}: use a multiple of it."
            raise UsageError(f"{value} is not a multiple of {factor}", where=f"sample.{key}", hint=hint)
    check_latent_size(config.unet, sample.height // factor, sample.width // factor)
    if sample.decode_batch < 0:
        raise UsageError("must not be negative", where="sample.decode_batch", hint="0 chooses by memory.")
    if sample.sampler == "lcm" and not config.unet.time_cond_proj_dim:
        hint = "Use sample.sampler=ddim, or a distilled network."
        raise UsageError(
            "few-step sampling needs a guidance-distilled UNet", where="unet.time_cond_proj_dim", hint=hint
        )
    if not 0 <= config.motion_guidance.share <= 1:
        raise UsageError("must be from 0 to 1", where="motion_guidance.share")
    sampling_timesteps(config)


def sampling_timesteps(config: Any) -> list[int]:
    """Return the timesteps a video is sampled at, highest first.

    Raises:
        UsageError: there cannot be so many.
    """
    steps, diffusion = config.sample.num_inference_steps, config.diffusion
    if config.sample.sampler == "lcm":
        return lcm.timesteps(steps, diffusion.origin_steps, diffusion.train_timesteps)
    return samplers.ddim_timesteps(steps, diffusion.train_timesteps)


class T2VTurboPipeline:
    """Samples videos with the networks it is given.

    Args:
        config: a resolved ``T2VTurboConfig``.
        cells: the components ``text``, ``unet`` and ``vae``, with weights; to decode only, ``vae`` will do.
    """

    check = staticmethod(check)
    decoding_components = ("vae",)

    def __init__(self, config: Any, cells: Mapping[str, Any]) -> None:
        self.config = config
        decode = load_attr("videogen_cli.nets.vae2d:Decode")  # not before the device is started
        self._calls = {**cells, "vae": decode(cells["vae"])}
        self.tokenizer = load_tokenizer(config.tokenizer, config.text.context_length)
        d = config.diffusion
        self.schedule = NoiseSchedule.create(
            d.beta_schedule, d.train_timesteps, d.beta_start, d.beta_end, prediction_type=d.prediction_type
        )

        self._mean = _per_channel(d.latent_mean, config, 0.0)
        self._std = _per_channel(d.latent_std, config, 1.0) / np.float32(d.latent_scale)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return (c, f, h, w) of one video's latents."""
        sample, factor = self.config.sample, downsample_factor(self.config.vae)
        return self.config.unet.in_channels, sample.num_frames, sample.height // factor, sample.width // factor

    def encode_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the text states (b l d) of ``prompts``."""
        return self.encode_tokens(self.tokenizer.encode(list(prompts)))

    def encode_tokens(self, tokens: np.ndarray) -> np.ndarray:
        """Return the text states (b l d) of token ids (b l)."""
        return self._run("text", tokens.astype(np.int32))

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], callback: samplers.Callback | None = None
    ) -> np.ndarray:
        """Return latents (b c f h w) for ``prompts``; video i depends on ``prompts[i]`` and ``seeds[i]`` only."""
        context = self.encode_prompts(prompts)
        start = np.stack([rng(seed, "latents").standard_normal(self.latent_shape, np.float32) for seed in seeds])

        def noise(step: int) -> np.ndarray:
            draws = [rng(seed, "step", step).standard_normal(self.latent_shape, np.float32) for seed in seeds]
            return np.stack(draws)

        return self.sample_from(start, context, noise, callback)

    def sample_from(
        self,
        latents: np.ndarray,
        context: np.ndarray,
        noise: Callable[[int], np.ndarray],
        callback: samplers.Callback | None = None,
    ) -> np.ndarray:
        """Run the sampler from given noise.

        Args:
            latents: starting noise (b c f h w).
            context: text states (b l d).
            noise: step index -> fresh noise (b c f h w), for samplers that draw it.
            callback: called after every step.
        """
        denoise, timesteps = self._guided(context), sampling_timesteps(self.config)
        if self.config.sample.sampler == "lcm":
            return samplers.lcm(denoise, latents, self.schedule, timesteps, noise, callback)
        return samplers.ddim(denoise, latents, self.schedule, timesteps, callback=callback)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Decode latents (b c f h w) into uint8 frames (b f H W 3)."""
        video = self.decode_float(latents)
        pixels = np.clip(video, -1, 1).transpose(0, 2, 3, 4, 1)
        return ((pixels + 1) * 127.5).astype(np.uint8)

    def decode_float(self, latents: np.ndarray) -> np.ndarray:
        """Decode latents (b c f h w) into unclamped float32 frames (b 3 f H W) of about [-1, 1]."""
        codes = (latents * self._std + self._mean).transpose(0, 2, 1, 3, 4)
        b, f = codes.shape[:2]
        frames = in_batches(
            lambda part: self._run("vae", part), codes.reshape(b * f, *codes.shape[2:]), self.decode_batch
        )
        return frames.reshape(b, f, *frames.shape[1:]).transpose(0, 2, 1, 3, 4)

    @cached_property
    def decode_batch(self) -> int:
        """Return how many frames are decoded in one call: as configured, else as many of a video's as memory allows."""
        sample, device = self.config.sample, self.config.device
        if sample.decode_batch:
            return sample.decode_batch
        numbers = decoder_numbers(self.config.vae, sample.height, sample.width)
        needed = numbers * BYTES[compute_dtype(device.target, device.dtype)]
        return batch_that_fits(sample.num_frames, needed, activation_bytes(device))

    def normalise(self, codes: np.ndarray) -> np.ndarray:
        """Turn the autoencoder's codes (b c f h w) into the latents that are diffused; ``decode`` undoes it."""
        return (codes - self._mean) / self._std

    @property
    def latent_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what :meth:`normalise` subtracts and divides by, per channel: each (c 1 1 1)."""
        return self._mean, self._std

    def _guided(self, context: np.ndarray) -> samplers.Denoise:
        """Denoise under guidance: an input of a distilled network, else classifier-free, both branches in one call."""
        scale = self.config.sample.guidance_scale
        if self.config.sample.sampler == "lcm":
            return self._denoiser(context, self._scale_embedding(scale, len(context)))
        if scale == 1.0:
            return self._denoiser(context)
        # As many as there are prompts, though they are all the same: the text tower is then compiled for one shape.
        negative = self.encode_prompts([self.config.sample.negative_prompt] * len(context))
        both = np.concatenate([context, negative])
        return classifier_free(self._denoiser(both), scale)

    def _scale_embedding(self, scale: float, count: int) -> np.ndarray:
        """Return the embedding (b d) of a guidance scale, the same for ``count`` videos."""
        return lcm.guidance_scale_embedding(np.full(count, scale, np.float32), self.config.unet.time_cond_proj_dim)

    def _denoiser(self, context: np.ndarray, timestep_cond: np.ndarray | None = None) -> samplers.Denoise:
        fps = np.full(len(context), self.config.sample.fps, np.float32)

        def denoise(latents: np.ndarray, timestep: int) -> np.ndarray:
            steps = np.full(len(latents), timestep, np.float32)
            if timestep_cond is None:
                return self._run("unet", latents, steps, context, fps)
            return self._run("unet", latents, steps, context, fps, timestep_cond, *self._motion(timestep, len(context)))

        return denoise

    def _motion(self, timestep: int, count: int) -> tuple[np.ndarray, ...]:
        """Return the embedding (b d) of the motion guidance at a timestep, for a UNet that takes one; else nothing."""
        width, guidance = self.config.unet.motion_cond_proj_dim, self.config.motion_guidance
        if not width:
            return ()
        told = timestep >= self.schedule.train_timesteps * (1 - guidance.share)
        return (lcm.guidance_scale_embedding(np.full(count, guidance.scale if told else 0.0, np.float32), width),)

    def _run(self, component: str, *arrays: np.ndarray) -> np.ndarray:
        """Run one network on host arrays."""
        cell = self._calls[component]
        return graphs.run(cell, arrays, type(cell).__name__, asdict(getattr(self.config, component)))


def _per_channel(values: Sequence[float], config: Any, default: float) -> np.ndarray:
    """Return one number per latent channel as (c 1 1 1)."""
    channels = config.vae.embed_dim
    if values and len(values) != channels:
        what = f"{len(values)} numbers for {channels} latent channels"
        raise UsageError(what, where="diffusion.latent_mean and latent_std")
    return np.asarray(list(values) or [default] * channels, np.float32).reshape(-1, 1, 1, 1)
