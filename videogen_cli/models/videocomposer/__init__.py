"""VideoComposer: text to video steered by sketches, depth, motion vectors, masks, images and styles.

Wang et al., "VideoComposer" (arXiv 2306.02018); upstream ali-vilab/videocomposer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.nets.params.unet3d import ConditionedUNet3DParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class VideoComposerConfig(ModelConfig):
    """Defaults are the published model's."""

    unet: ConditionedUNet3DParams = field(default_factory=ConditionedUNet3DParams)


_HERE = "videogen_cli.models.videocomposer"


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
    ),
    checkpoints=(
        CheckpointSpec(
            "videocomposer",
            components=("unet",),
            key_map=f"{_HERE}.weights:UNET_KEYS",
            params=f"{_HERE}.params:unet_params",
            help="the UNet, non_ema_*.pth or the MindSpore port's non_ema_*.ckpt",
        ),
    ),
    parity={
        "unet": f"{_HERE}.parity_unet:unet",
        "unet.stc_encoders": f"{_HERE}.parity_unet:unet_stc_encoders",
        "sampling-loop": f"{_HERE}.parity_unet:sampling_loop",
        "loss.diffusion": f"{_HERE}.parity_unet:loss_diffusion",
    },
)
