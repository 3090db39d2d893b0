"""VideoComposer: text to video steered by sketches, depth, motion vectors, masks, images and styles.

Wang et al., "VideoComposer" (arXiv 2306.02018); upstream ali-vilab/videocomposer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.nets.params.clip import CLIPTextParams, OpenCLIPParams
from videogen_cli.nets.params.midas import MiDaSParams
from videogen_cli.nets.params.pidinet import PiDiNetParams
from videogen_cli.nets.params.sketch import SketchSimplificationParams
from videogen_cli.nets.params.unet3d import ConditionedUNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class VideoComposerConfig(ModelConfig):
    """Defaults are the published model's."""

    unet: ConditionedUNet3DParams = field(default_factory=ConditionedUNet3DParams)
    vae: AutoencoderKLParams = field(default_factory=AutoencoderKLParams)
    clip: OpenCLIPParams = field(default_factory=lambda: OpenCLIPParams(text=CLIPTextParams(skip_last=1)))
    midas: MiDaSParams = field(default_factory=MiDaSParams)
    pidinet: PiDiNetParams = field(default_factory=PiDiNetParams)
    sketch: SketchSimplificationParams = field(default_factory=SketchSimplificationParams)


_HERE = "videogen_cli.models.videocomposer"
_PARITY_COMPONENTS = (
    "vae",
    "clip",
    "tokenizer",
    "midas",
    "pidinet",
    "condition.sketch",
    "condition.mask",
    "condition.motion",
    "preprocess.frames",
    "pipeline",
)

SPEC = ModelSpec(
    name="videocomposer",
    title="VideoComposer",
    summary="Text to video steered by sketches, depth, motion vectors, masks, images and styles.",
    source="arXiv 2306.02018; ali-vilab/videocomposer",
    config=VideoComposerConfig,
    components=(
        ComponentSpec(
            "unet", "videogen_cli.nets.conditions:ConditionedUNet3D", "3D UNet that reads conditions and predicts noise"
        ),
        ComponentSpec("vae", "videogen_cli.nets.vae2d:AutoencoderKL", "frame-wise autoencoder of Stable Diffusion 2.1"),
        ComponentSpec("clip", "videogen_cli.nets.clip:OpenCLIP", "OpenCLIP: states of the text, feature of the style"),
        ComponentSpec("midas", "videogen_cli.nets.midas:MiDaS", "depth of the frames to be followed"),
        ComponentSpec("pidinet", "videogen_cli.nets.pidinet:PiDiNet", "edges of the frames to be followed"),
        ComponentSpec("sketch", "videogen_cli.nets.sketch:SketchSimplification", "clean lines of those edges"),
    ),
    checkpoints=(
        CheckpointSpec(
            "videocomposer",
            components=("unet",),
            key_map=f"{_HERE}.weights:UNET_KEYS",
            params=f"{_HERE}.params:unet_params",
            help="the UNet, non_ema_*.pth or the MindSpore port's non_ema_*.ckpt",
        ),
        CheckpointSpec(
            "sd",
            components=("vae",),
            key_map=f"{_HERE}.frozen_weights:SD_KEYS",
            params=f"{_HERE}.frozen_params:vae_params",
            help="the autoencoder in Stable Diffusion 2.1: v2-1_512-ema-pruned.ckpt, or the port's sd_v2-1_base-*.ckpt",
        ),
        CheckpointSpec(
            "openclip",
            components=("clip",),
            key_map=f"{_HERE}.frozen_weights:OPENCLIP_KEYS",
            params=f"{_HERE}.frozen_params:clip_params",
            help="OpenCLIP ViT-H-14: open_clip_pytorch_model.bin, or the MindSpore port's open_clip_vit_h_14-*.ckpt",
        ),
        CheckpointSpec(
            "midas",
            components=("midas",),
            key_map=f"{_HERE}.frozen_weights:MIDAS_KEYS",
            params=f"{_HERE}.frozen_params:midas_params",
            help="MiDaS v3: midas_v3_dpt_large.pth, or the MindSpore port's midas_v3_dpt_large-*.ckpt",
        ),
        CheckpointSpec(
            "pidinet",
            components=("pidinet",),
            key_map=f"{_HERE}.frozen_weights:PIDINET_KEYS",
            params=f"{_HERE}.frozen_params:pidinet_params",
            help="PiDiNet: table5_pidinet.pth, or the MindSpore port's table5_pidinet-*.ckpt",
        ),
        CheckpointSpec(
            "sketch",
            components=("sketch",),
            key_map=f"{_HERE}.frozen_weights:SKETCH_KEYS",
            params=f"{_HERE}.frozen_params:sketch_params",
            help="sketch simplification: sketch_simplification_gan.pth, or the MindSpore port's .ckpt",
        ),
    ),
    parity={
        "unet": f"{_HERE}.parity_unet:unet",
        "unet.stc_encoders": f"{_HERE}.parity_unet:unet_stc_encoders",
        "sampling-loop": f"{_HERE}.parity_unet:sampling_loop",
        "loss.diffusion": f"{_HERE}.parity_unet:loss_diffusion",
        "scheduler": f"{_HERE}.parity_scheduler:scheduler",
        **{name: f"{_HERE}.parity:{name.replace('.', '_')}" for name in _PARITY_COMPONENTS},
    },
)
