"""DEMO: text to video with decomposed encoding and conditioning of content and motion.

Ruan et al., "Enhancing Motion in Text-to-Video Generation with Decomposed Encoding and Conditioning"
(arXiv 2410.24219); upstream PR-Ryan/DEMO. This file only declares; key maps, losses and parity functions sit beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import DiffusionConfig, ModelConfig
from videogen_cli.nets.params.clip import CLIPTextParams, CLIPVisionParams
from videogen_cli.nets.params.raft import RAFTParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


def _unet() -> UNet3DParams:
    return UNet3DParams(
        attention_resolutions=[1, 2, 4], temporal_projection="conv1d", motion_attention=True, fps_condition=False
    )


@dataclass
class LossConfig:
    """Weights of what is added to the diffusion loss."""

    video_motion: float = 0.1  # differences between frames of the prediction follow those of the target
    text_motion: float = 0.1  # attention to the end of the motion text moves as the video does
    regularization: float = 0.1  # the motion text's end stays near the image of the middle frame
    # Upstream's checkpointing cuts the attention from the graph, so that its text-motion loss trains nothing; what the
    # paper says needs the gradient.
    detach_attention: bool = False
    first_trained_layer: int = 10  # of the motion encoder; its earlier blocks and its embeddings stay


@dataclass
class DemoConfig(ModelConfig):
    """Defaults are the published model's."""

    text: CLIPTextParams = field(default_factory=CLIPTextParams)
    motion: CLIPTextParams = field(default_factory=CLIPTextParams)
    unet: UNet3DParams = field(default_factory=_unet)
    vae: AutoencoderKLParams = field(default_factory=AutoencoderKLParams)
    visual: CLIPVisionParams = field(default_factory=CLIPVisionParams)
    raft: RAFTParams = field(default_factory=RAFTParams)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    tokenizer: str = "openclip"  # "openclip", or a tokenizers JSON file ("asset:..." ships with vgen)


_HERE = "videogen_cli.models.demo"
_PARAMS = f"{_HERE}.params:component_params"
_PARITY = {
    "parity_networks": ("unet", "vae", "text-encoder", "motion-encoder", "raft-small", "pipeline"),
    "parity_losses": ("loss.diffusion+video-motion", "loss.regularization", "loss.text-motion", "loss.total"),
    "parity_numbers": ("scheduler", "scheduler.ddim", "lr-schedule", "optimizer"),
    "parity_data": ("tokenizer", "clip-preprocess", "data.prompts", "data.frame-indices", "data.pixel-transform"),
}


def _function(component: str) -> str:
    return component.translate(str.maketrans(".-+", "___"))


SPEC = ModelSpec(
    name="demo",
    title="DEMO",
    summary="Text to video with separate text towers for content and motion.",
    source="arXiv 2410.24219; PR-Ryan/DEMO",
    config=DemoConfig,
    components=(
        ComponentSpec("text", "videogen_cli.nets.clip:CLIPText", "OpenCLIP text tower that reads the content"),
        ComponentSpec("motion", "videogen_cli.nets.clip:CLIPText", "the same, trained to read the motion"),
        ComponentSpec("unet", "videogen_cli.nets.unet3d:UNet3D", "3D UNet that predicts the noise"),
        ComponentSpec("vae", "videogen_cli.nets.vae2d:AutoencoderKL", "frame-wise autoencoder, 8x smaller latents"),
        ComponentSpec("visual", "videogen_cli.nets.clip:CLIPVision", "OpenCLIP image tower, to train", samples=False),
        ComponentSpec("raft", "videogen_cli.nets.raft:RAFT", "optical flow, to train", samples=False),
    ),
    checkpoints=(
        CheckpointSpec("demo", ("unet",), f"{_HERE}.weights:DEMO_KEYS", _PARAMS, "demo.pth: the UNet"),
        CheckpointSpec(
            "modelscope",
            ("unet",),
            f"{_HERE}.weights:MODELSCOPE_KEYS",
            _PARAMS,
            "text2video_pytorch_model.pth: ModelScope's UNet, from which training starts",
        ),
        CheckpointSpec(
            "modelscope-vae",
            ("vae",),
            f"{_HERE}.weights:VAE_KEYS",
            _PARAMS,
            "VQGAN_autoencoder.pth: the autoencoder in a Stable Diffusion checkpoint",
        ),
        CheckpointSpec(
            "motion-encoder", ("motion",), f"{_HERE}.weights:MOTION_KEYS", _PARAMS, "motion_encoder.pth: the text tower"
        ),
        CheckpointSpec(
            "openclip",
            ("text", "visual"),
            f"{_HERE}.weights:OPENCLIP_KEYS",
            _PARAMS,
            "open_clip_pytorch_model.bin: both towers of OpenCLIP ViT-H-14",
        ),
        CheckpointSpec("raft", ("raft",), f"{_HERE}.weights:RAFT_KEYS", _PARAMS, "torchvision's raft_small"),
    ),
    parity={name: f"{_HERE}.{file}:{_function(name)}" for file, names in _PARITY.items() for name in names},
    device={
        "ascend": {"mode": "graph", "jit_level": "O1", "dtype": "fp16", "recompute": True},
        "cpu": {"mode": "graph", "dtype": "fp32"},
    },
)
