"""T2V-Turbo: few-step text-to-video, distilled from VideoCrafter2 or from ModelScope.

Li et al., "T2V-Turbo" (arXiv 2405.18750); upstream Ji4chenLi/t2v-turbo and AILab-CVC/VideoCrafter. This file only
declares; the pipeline, training objectives, key maps and parity functions sit beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import DiffusionConfig, ModelConfig
from videogen_cli.models.t2v_turbo.distill_config import DistillConfig, LoraConfig
from videogen_cli.models.t2v_turbo.published import PUBLISHED
from videogen_cli.nets.params.clip import CLIPTextParams, OpenCLIPParams
from videogen_cli.nets.params.internvideo2 import InternVideo2Params
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.registry import AdapterSpec, CheckpointSpec, ComponentSpec, ModelSpec, ScorerSpec, StageSpec


@dataclass
class FewStepDiffusionConfig(DiffusionConfig):
    """With statistics that latents are normalised by, and what training for a few steps and sampling in them need."""

    latent_mean: list[float] = field(default_factory=list)  # per channel, subtracted before; empty = none
    latent_std: list[float] = field(default_factory=list)  # per channel, divided by before; empty = none
    noise_bias: float = 1.0  # training timesteps are T * u**(1/bias): above 1 favours noise, where the prompt decides
    origin_steps: int = 50  # length of the schedule that few-step sampling picks its steps from


@dataclass
class MotionGuidanceConfig:
    """What a UNet with a motion condition is told (T2V-Turbo-v2; Ji4chenLi/t2v-turbo, T2VTurboVC2Pipeline)."""

    scale: float = 0.05
    share: float = 0.5  # of the timesteps, the noisiest; at the others it is told 0


@dataclass
class AutoencoderLossConfig:
    """Weights of the autoencoder's training loss."""

    kl_weight: float = 1e-6
    l1_weight: float = 1.0
    l2_weight: float = 1.0
    foreground_weight: float = 0.0  # extra weight of pixels that are not black


@dataclass
class ContrastConfig:
    """How the scorers of images and videos are trained (stages ``image-scorer`` and ``video-scorer``)."""

    temperature: float = 0.07  # of similarities; the image scorer learns its own, down to this
    extra_captions: int = 64  # of other clips, as wrong answers beside those of the batch
    reconstructed: float = 0.5  # share of a batch that is seen through the autoencoder, as generated frames are


@dataclass
class T2VTurboConfig(ModelConfig):
    """Defaults are the published VideoCrafter2 teacher's; presets change them."""

    unet: UNet3DParams = field(default_factory=UNet3DParams)
    vae: AutoencoderKLParams = field(default_factory=AutoencoderKLParams)
    text: CLIPTextParams = field(default_factory=CLIPTextParams)
    image_reward: OpenCLIPParams = field(default_factory=OpenCLIPParams)
    video_reward: InternVideo2Params = field(default_factory=InternVideo2Params)
    diffusion: FewStepDiffusionConfig = field(default_factory=FewStepDiffusionConfig)
    motion_guidance: MotionGuidanceConfig = field(default_factory=MotionGuidanceConfig)
    vae_loss: AutoencoderLossConfig = field(default_factory=AutoencoderLossConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    tokenizer: str = "openclip"  # "openclip", or a tokenizers JSON file ("asset:..." ships with vgen)
    image_tokenizer: str = "openclip"  # of image_reward; as tokenizer
    video_tokenizer: str = "bert"  # of video_reward: BERT's vocab.txt, or a tokenizers JSON file of WordPiece


_HERE = "videogen_cli.models.t2v_turbo"
# What all the originals' recipes share (Ji4chenLi/t2v-turbo, mindone's examples/t2v_turbo).
_DISTILLED = {
    "data": {"drop_caption": 0.0},
    "train": {
        "learning_rate": 1e-5,
        "warmup_steps": 500,
        "warmup_from_zero": True,
        "clip_norm": 1.0,
        "max_steps": 10000,
    },
}


def _stage(name: str, image: float, video: float, summary: str) -> StageSpec:
    """Declare a stage that trains a student's factors, with the scales of its rewards."""
    scales = {"image_reward_scale": image, "video_reward_scale": video}
    return StageSpec(
        name,
        objective=f"{_HERE}.distill_objective:DistillObjective",
        trains=(),
        adapts=("unet",),
        frozen=("text", "vae"),
        frozen_if={reward: f"distill.{reward}_scale" for reward in ("image_reward", "video_reward")},
        defaults={**_DISTILLED, "distill": scales},
        help=summary,
    )


_PARITY_COMPONENTS = (
    "unet",
    "vae",
    "text-encoder",
    "lora-merged-unet",
    "pipeline.vc2",
    "model.vc2",
    "scheduler",
    "scheduler.math",
    "ddim-solver",
    "tokenizer.openclip",
)
_REWARD_COMPONENTS = ("openclip", "reward.hps", "reward.internvideo2", "loss.image-reward", "loss.video-reward")


def _functions(module: str, components: tuple[str, ...]) -> dict[str, str]:
    """Return the parity functions of golden-case components: their names with underscores."""
    return {name: f"{_HERE}.{module}:{name.replace('-', '_').replace('.', '_')}" for name in components}


SPEC = ModelSpec(
    name="t2v-turbo",
    title="T2V-Turbo (VideoCrafter2, ModelScope)",
    summary="Text to video in a few steps: consistency-distilled students of VideoCrafter2 and ModelScope.",
    source="arXiv 2405.18750; Ji4chenLi/t2v-turbo; AILab-CVC/VideoCrafter",
    config=T2VTurboConfig,
    components=(
        ComponentSpec("text", "videogen_cli.nets.clip:CLIPText", "OpenCLIP text tower, penultimate layer"),
        ComponentSpec("unet", "videogen_cli.nets.unet3d:UNet3D", "3D UNet that predicts the noise"),
        ComponentSpec("vae", "videogen_cli.nets.vae2d:AutoencoderKL", "frame-wise autoencoder, 8x smaller latents"),
        ComponentSpec(
            "image_reward", "videogen_cli.nets.clip:OpenCLIP", "HPSv2.1, which scores frames in training", samples=False
        ),
        ComponentSpec(
            "video_reward",
            "videogen_cli.nets.internvideo2:InternVideo2",
            "InternVideo2 stage 2, which scores videos in training",
            samples=False,
            files=("video_tokenizer",),
        ),
    ),
    pipeline=f"{_HERE}.pipeline:T2VTurboPipeline",
    stages=(
        StageSpec(
            "vae",
            objective=f"{_HERE}.train:AutoencoderObjective",
            trains=("vae",),
            defaults={"train": {"from_scratch": True}},
            help="train the autoencoder on single frames",
        ),
        StageSpec(
            "base",
            objective=f"{_HERE}.train:DiffusionObjective",
            trains=("unet", "text"),
            frozen=("vae",),
            defaults={"train": {"from_scratch": True}},
            help="train the teacher: UNet and text tower on the diffusion loss over cached latents",
        ),
        StageSpec(
            "image-scorer",
            objective=f"{_HERE}.scorer_training:ImageScorerObjective",
            trains=("image_reward",),
            frozen=("vae",),
            defaults={"train": {"from_scratch": True}},
            help="train the image-text reward on single frames against captions, and true against degraded ones",
        ),
        StageSpec(
            "video-scorer",
            objective=f"{_HERE}.scorer_training:VideoScorerObjective",
            trains=("video_reward",),
            frozen=("vae",),
            defaults={"train": {"from_scratch": True}},
            help="train the video-text reward on clips against captions, and true against degraded ones",
        ),
        _stage("distill", 0.0, 0.0, "distil the teacher into a student of a few steps, without rewards"),
        _stage("1", 1.0, 0.0, "distil with the image-text reward"),
        _stage("2", 0.0, 2.0, "distil with the video-text reward, from the factors of stage 1 (weights.lora)"),
        _stage("all", 1.0, 2.0, "distil with both rewards at once"),
    ),
    checkpoints=(
        CheckpointSpec(
            "vc2",
            components=("unet", "vae", "text"),
            key_map=f"{_HERE}.weights:VC2_KEYS",
            params=f"{_HERE}.params:component_params",
            help="VideoCrafter2's model.ckpt: UNet, autoencoder, and text tower in one file",
        ),
        CheckpointSpec(
            "vc2-unet",
            components=("unet",),
            key_map=f"{_HERE}.weights:VC2_UNET_KEYS",
            params=f"{_HERE}.params:component_params",
            help="a UNet alone under VideoCrafter2's names: a merged student, or T2V-Turbo-v2's unet_mg.pt",
        ),
        CheckpointSpec(
            "ms",
            components=("unet", "vae", "text"),
            key_map=f"{_HERE}.modelscope:MODELSCOPE_KEYS",
            params=f"{_HERE}.modelscope:component_params",
            help="ModelScope's diffusers folder text-to-video-ms-1.7b, or the file of one of its networks",
        ),
        CheckpointSpec(
            "lora",
            components=("unet",),
            key_map=f"{_HERE}.weights:LORA_KEYS",
            params=f"{_HERE}.params:component_params",
            help="T2V-Turbo's unet_lora.pt: low-rank factors of the student UNet",
        ),
        CheckpointSpec(
            "hps",
            components=("image_reward",),
            key_map=f"{_HERE}.reward_weights:HPS_KEYS",
            params=f"{_HERE}.reward_weights:image_reward_params",
            help="HPSv2.1's HPS_v2.1_compressed.pt, the image-text reward",
        ),
        CheckpointSpec(
            "openclip",
            components=("image_reward",),
            key_map=f"{_HERE}.reward_weights:OPENCLIP_KEYS",
            params=f"{_HERE}.reward_weights:image_reward_params",
            help="OpenCLIP ViT-H-14's own weights, as another image-text reward",
        ),
        CheckpointSpec(
            "internvid",
            components=("video_reward",),
            key_map=f"{_HERE}.reward_weights:INTERNVIDEO_KEYS",
            params=f"{_HERE}.reward_weights:video_reward_params",
            help="InternVideo2-stage2_1b-224p-f4.pt, the video-text reward",
        ),
    ),
    adapters=(
        AdapterSpec(
            "lora",
            component="unet",
            merge=f"{_HERE}.student:adapted",
            help="LoRA factors of the student, any published container or what 'vgen convert' makes of it",
            beside={
                "time_cond_proj": "base weight of the projection of the guidance scale (.npy or .safetensors), "
                "which no published LoRA file holds"
            },
        ),
    ),
    scorers=(
        ScorerSpec("hps", "image_reward", f"{_HERE}.video_scores:HpsScores", help="HPSv2.1, image-text"),
        ScorerSpec(
            "clip",
            "image_reward",
            f"{_HERE}.video_scores:ClipScores",
            weights="clip",
            help="OpenCLIP ViT-H-14, image-text",
            hint="--preset vc2 scores by the published networks, fetched by 'vgen download t2v-turbo --name openclip'",
        ),
        ScorerSpec("video-text", "video_reward", f"{_HERE}.video_scores:VideoTextScores", help="InternVideo2 stage 2"),
    ),
    published=PUBLISHED,
    parity={
        **_functions("parity", _PARITY_COMPONENTS),
        **_functions("parity_modelscope", ("model.modelscope", "pipeline.modelscope")),
        **_functions("parity_rewards", _REWARD_COMPONENTS),
        **_functions("parity_distillation", ("loss.distill",)),
    },
    device={
        "ascend": {"mode": "graph", "jit_level": "O1", "dtype": "fp16", "recompute": True},
        "cpu": {"mode": "graph", "dtype": "fp32"},
    },
)
