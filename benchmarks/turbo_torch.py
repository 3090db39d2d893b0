"""PyTorch's side of ``turbo``: what the original's scripts compute, with diffusers and transformers, in eager mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hugging_face
import numpy as np
import torch
import torch_lora
from cases import FORWARD
from clock import Clock
from turbo import INFER_PARTS, PROMPT, SEED, Batch, Turbo, batch, draw_factor, schedule_of, weights_of

from videogen_cli.data.order import rng
from videogen_cli.data.tokenizers import load_tokenizer
from videogen_cli.diffusion import lcm, samplers
from videogen_cli.models.t2v_turbo.pipeline import sampling_timesteps
from videogen_cli.registry import load_attr, spec

MAKERS = {"text": hugging_face.clip, "unet": hugging_face.unet, "vae": hugging_face.vae}
Prepared = tuple[Callable[[], list[np.ndarray]], Callable[[], Any], Callable[[], dict[str, float]]]


def prepare(case: Turbo) -> Prepared:
    """Return what shows a case's outputs, what runs it once, and what tells the seconds of its parts."""
    return _infer(case) if case.phase == FORWARD else _distil(case)


class Networks:
    """The libraries' modules with vgen's weights, and the UNet's factors beside them."""

    def __init__(self, config: Any) -> None:
        made = {name: self._filled(name, getattr(config, name)) for name in MAKERS}
        (self.text, _), (self.unet, names), (self.vae, _) = made.values()

        def draw(weight: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
            return draw_factor(f"{names[weight].removesuffix('.weight')}.lora.{kind}", shape)

        self.factors = torch_lora.adapt(self.unet, config.lora.rank, draw)

    @staticmethod
    def _filled(name: str, params: Any) -> tuple[Any, dict[str, str]]:
        with torch.device("meta"):
            peer = load_attr(spec("t2v-turbo").component(name).build)(params)
        weights = weights_of({key: tuple(p.shape) for key, p in peer.named_parameters()})
        network = MAKERS[name](params).eval().requires_grad_(False)
        return network, hugging_face.fill(network, name, weights)

    def noise(self, latents: Any, timestep: Any, states: Any, guidance: Any = None) -> Any:
        """Return the UNet's prediction for latents (b c f h w)."""
        return self.unet(latents, timestep, states, timestep_cond=guidance, return_dict=False)[0]


def _infer(case: Turbo) -> Prepared:
    config, clock = case.config, Clock()
    networks, schedule = Networks(config), schedule_of(config)
    tokenizer = load_tokenizer(config.tokenizer, config.text.context_length)
    torch_lora.merge(networks.unet)
    sample, d = config.sample, config.diffusion
    shape = (1, config.unet.in_channels, sample.num_frames, sample.height // 8, sample.width // 8)
    scales = np.full(1, sample.guidance_scale, np.float32)
    guidance = torch.from_numpy(lcm.guidance_scale_embedding(scales, config.unet.time_cond_proj_dim))

    def drawn(*key: Any) -> torch.Tensor:
        return torch.from_numpy(rng(SEED, *key).standard_normal(shape[1:], np.float32)).reshape(shape)

    @torch.inference_mode()
    def frames() -> torch.Tensor:
        clock.begin()
        with clock(INFER_PARTS["text"]):
            states = networks.text(torch.from_numpy(tokenizer.encode([PROMPT]))).last_hidden_state

        def denoise(latents: torch.Tensor, timestep: int) -> torch.Tensor:
            with clock(INFER_PARTS["unet"]):
                return networks.noise(latents, timestep, states, guidance)

        latents = samplers.lcm(
            denoise, drawn("latents"), schedule, sampling_timesteps(config), lambda step: drawn("step", step)
        )
        with clock(INFER_PARTS["vae"]):
            codes = (latents / d.latent_scale).transpose(1, 2).flatten(0, 1)
            return networks.vae.decode(codes, return_dict=False)[0]

    def show() -> list[np.ndarray]:
        return [frames()[None].transpose(1, 2).numpy()]

    def run() -> np.ndarray:
        return ((frames().clamp(-1, 1).permute(0, 2, 3, 1) + 1) * 127.5).to(torch.uint8).numpy()

    return show, run, clock.medians


class Distillation:
    """A step of the original's training script, on a given sample."""

    def __init__(self, config: Any, sample: Batch, clock: Clock) -> None:
        self.config, self.clock, self.networks = config, clock, Networks(config)
        self.sample = Batch(*map(torch.from_numpy, sample))
        self.row = [self.sample.coefficients[:, index].reshape(-1, 1, 1, 1, 1) for index in range(10)]
        empty = load_tokenizer(config.tokenizer, config.text.context_length).encode([""])
        self.ids = torch.cat([self.sample.ids.long(), torch.from_numpy(empty)])
        t = config.train
        self.optimizer = torch.optim.AdamW(
            self.networks.factors, t.learning_rate, (t.beta1, t.beta2), t.epsilon, t.weight_decay, fused=True
        )

    def step(self) -> list[np.ndarray]:
        """Make an update; return the loss, and the gradient's norm before it was clipped."""
        self.clock.begin()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss()
        with self.clock("student, backward"):
            loss.backward()
        with self.clock("clipping and AdamW"):
            norm = torch.nn.utils.clip_grad_norm_(self.networks.factors, self.config.train.clip_norm)
            self.optimizer.step()
        return [loss.detach().numpy().reshape(1), norm.numpy().reshape(1)]

    def _loss(self) -> torch.Tensor:
        sample, row = self.sample, self.row
        with torch.no_grad():
            noisy = row[2] * self._latents() + row[3] * sample.noise
            with self.clock("text tower"):
                context, null = self.networks.text(self.ids).last_hidden_state.split(1)
            with self.clock("teacher, 2 calls"), torch_lora.without_factors(self.networks.unet):
                told, untold = (self.networks.noise(noisy, sample.start, states) for states in (context, null))
            noise = told + sample.w.reshape(-1, 1, 1, 1, 1) * (told - untold)
            step = row[8] * (noisy - row[3] * noise) / row[2] + row[9] * noise
            target = self._student(step, sample.end, row[4:8], context)
        error = self._student(noisy, sample.start, row[:4], context) - target
        c = self.config.distill.huber_c
        return ((error * error + c * c).sqrt() - c).mean()

    def _latents(self) -> torch.Tensor:
        """Return latents (b c f h w) of the clips (b f c H W)."""
        with self.clock("VAE encoder"):
            found = self.networks.vae.encode(self.sample.clips.flatten(0, 1)).latent_dist
        mean, std = (part[None].transpose(1, 2) for part in (found.mean, found.std))
        return (mean + std * self.sample.posterior) * self.config.diffusion.latent_scale

    def _student(self, noisy: Any, timestep: Any, row: Sequence[Any], context: Any) -> torch.Tensor:
        skip, out, alpha, sigma = row
        with self.clock("student, forward"):
            noise = self.networks.noise(noisy, timestep, context, self.sample.guidance)
        return skip * noisy + out * (noisy - sigma * noise) / alpha


def _distil(case: Turbo) -> Prepared:
    config, clock = case.config, Clock()
    step = Distillation(config, batch(config), clock).step
    return step, step, clock.medians
