"""Open-Sora-Plan v1.0: text to video with the LatteT2V transformer over a causal 4 x 8 x 8 video autoencoder.

Upstream PKU-YuanGroup/Open-Sora-Plan, tag v1.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.nets.params.autoencoder_loss import AutoencoderLossParams
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.nets.params.lpips import LPIPSParams
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.nets.params.vae3d import CausalVAEParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class OpenSoraPlanConfig(ModelConfig):
    """Defaults are the published 17x256x256's; presets change them."""

    transformer: LatteParams = field(default_factory=LatteParams)
    text: T5Params = field(default_factory=T5Params)
    vae: CausalVAEParams = field(default_factory=CausalVAEParams)
    loss: AutoencoderLossParams = field(default_factory=AutoencoderLossParams)
    lpips: LPIPSParams = field(default_factory=LPIPSParams)


_HERE = "videogen_cli.models.opensora_plan"


SPEC = ModelSpec(
    name="opensora-plan",
    title="Open-Sora-Plan v1.0",
    summary="Text to video with the LatteT2V transformer over a causal video autoencoder.",
    source="PKU-YuanGroup/Open-Sora-Plan v1.0.0",
    config=OpenSoraPlanConfig,
    components=(
        ComponentSpec("transformer", "videogen_cli.nets.latte:Latte", "LatteT2V, predicts noise and its variance"),
        ComponentSpec("text", "videogen_cli.nets.t5:T5Encoder", "T5 v1.1 XXL's encoder"),
        ComponentSpec(
            "vae", "videogen_cli.nets.vae3d:CausalVAE", "causal video autoencoder, 4 x 8 x 8 smaller latents"
        ),
        ComponentSpec(
            "loss",
            "videogen_cli.nets.autoencoder_loss:AutoencoderLoss",
            "what the autoencoder learns from: perceptual distance and discriminator",
        ),
        ComponentSpec("lpips", "videogen_cli.nets.lpips:LPIPS", "the perceptual distance by itself"),
    ),
    checkpoints=(
        CheckpointSpec(
            "latte-t2v",
            components=("transformer",),
            key_map=f"{_HERE}.weights:LATTE_KEYS",
            params=f"{_HERE}.params:component_params",
            help="the transformer's folder, or its diffusion_pytorch_model.safetensors",
        ),
        CheckpointSpec(
            "latte-pt",
            components=("transformer",),
            key_map=f"{_HERE}.weights:PRETRAINED_KEYS",
            params=f"{_HERE}.params:component_params",
            help="Latte's t2v.pt, which training starts from",
        ),
        CheckpointSpec(
            "t5",
            components=("text",),
            key_map=f"{_HERE}.weights_text:T5_KEYS",
            params=f"{_HERE}.weights_text:text_params",
            help="the text encoder's folder: T5 v1.1 XXL, of which the encoder is read",
        ),
        CheckpointSpec(
            "causal-vae",
            components=("vae", "loss"),
            key_map=f"{_HERE}.weights_vae:CAUSAL_VAE_KEYS",
            params=f"{_HERE}.weights_vae:vae_params",
            help="the video autoencoder's folder or file, with its loss networks where it has them",
        ),
        CheckpointSpec(
            "vae2d-inflate",
            components=("vae",),
            key_map=f"{_HERE}.weights_vae:INFLATED_KEYS",
            params=f"{_HERE}.weights_vae:inflated_params",
            help="Stable Diffusion's image autoencoder, which the video autoencoder's training starts from",
        ),
        CheckpointSpec(
            "lpips",
            components=("lpips",),
            key_map="videogen_cli.weights.keys.lpips:LPIPS_KEYS",
            params=f"{_HERE}.weights_vae:perceptual_params",
            help="perceptual distance: its heads, its VGG16, or both",
        ),
    ),
    parity={
        "transformer": f"{_HERE}.parity_transformer:transformer",
        "text-preprocess": f"{_HERE}.parity_data:text_preprocess",
        "data.frame-sampling": f"{_HERE}.parity_data:data_frame_sampling",
        "data.transform": f"{_HERE}.parity_data:data_transform",
        "eval.psnr-ssim": f"{_HERE}.parity_data:eval_psnr_ssim",
        "scheduler": f"{_HERE}.parity_samplers:scheduler",
        "scheduler.gaussian-p-sample": f"{_HERE}.parity_samplers:scheduler_gaussian_p_sample",
        "loss.diffusion": f"{_HERE}.parity_samplers:loss_diffusion",
        "pipeline": f"{_HERE}.parity_pipeline:pipeline",
        "text-encoder": f"{_HERE}.parity_text:text_encoder",
        "vae": f"{_HERE}.parity_vae:vae",
        "vae.tiled": f"{_HERE}.parity_vae:vae_tiled",
        "vae.inflate": f"{_HERE}.parity_vae:vae_inflate",
        "lpips": f"{_HERE}.parity_vae:lpips",
        "loss.vae-2d": f"{_HERE}.parity_vae_loss:vae_loss",
        "loss.vae-3d": f"{_HERE}.parity_vae_loss:vae_loss",
        "loss.vae-simple": f"{_HERE}.parity_vae_loss:vae_loss",
    },
)
