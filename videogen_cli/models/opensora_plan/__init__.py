"""Open-Sora-Plan v1.0: text to video with the LatteT2V transformer over a causal 4 x 8 x 8 video autoencoder.

Upstream PKU-YuanGroup/Open-Sora-Plan, tag v1.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class OpenSoraPlanConfig(ModelConfig):
    """Defaults are the published 17x256x256's; presets change them."""

    transformer: LatteParams = field(default_factory=LatteParams)
    text: T5Params = field(default_factory=T5Params)


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
    ),
    parity={
        "transformer": f"{_HERE}.parity_transformer:transformer",
        "scheduler": f"{_HERE}.parity_samplers:scheduler",
        "text-encoder": f"{_HERE}.parity_text:text_encoder",
    },
)
