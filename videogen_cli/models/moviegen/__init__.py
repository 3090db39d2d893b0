"""Movie Gen: text to video with a flow-matching transformer and a temporal autoencoder (TAE).

Polyak et al., "Movie Gen: A Cast of Media Foundation Models" (arXiv 2410.13720); upstream mindspore-lab/mindone,
examples/moviegen. This file only declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class MovieGenConfig(ModelConfig):
    """Defaults are those of upstream's recipes, which train the 5B transformer; presets change them."""

    transformer: MovieGenParams = field(default_factory=MovieGenParams)
    text_projector: TextProjectorParams = field(default_factory=TextProjectorParams)


_HERE = "videogen_cli.models.moviegen"

SPEC = ModelSpec(
    name="moviegen",
    title="Movie Gen",
    summary="Text to video with a flow-matching transformer of up to 30 billion parameters and its autoencoder.",
    source="arXiv 2410.13720; mindspore-lab/mindone examples/moviegen",
    config=MovieGenConfig,
    components=(
        ComponentSpec(
            "transformer", "videogen_cli.nets.moviegen:MovieGenTransformer", "predicts the velocity from noise to video"
        ),
        ComponentSpec(
            "text_projector", "videogen_cli.nets.moviegen:TextProjector", "the transformer's text projection on its own"
        ),
    ),
    checkpoints=(
        CheckpointSpec(
            "llama",
            components=("transformer", "text_projector"),
            key_map=f"{_HERE}.weights:LLAMA_KEYS",
            params=f"{_HERE}.params:component_params",
            help="the transformer as upstream's training saves it, or the folder with its rank files",
        ),
        CheckpointSpec(
            "llama-zero3",
            components=(),
            key_map=f"{_HERE}.weights:ZERO3_KEYS",
            params=f"{_HERE}.params:component_params",
            help="the rank files of ZeRO-3, merged into one file under upstream's names",
        ),
    ),
    parity={
        "transformer": f"{_HERE}.parity:transformer",
        "text-projector": f"{_HERE}.parity:text_projector",
        "sampler": f"{_HERE}.parity:sampler",
        "scheduler": f"{_HERE}.parity:scheduler",
        "loss.rectified-flow": f"{_HERE}.parity:loss_rectified_flow",
        "convert.pos-embed-expand": f"{_HERE}.parity:convert_pos_embed_expand",
        "convert.zero3-merge": f"{_HERE}.parity:convert_zero3_merge",
    },
)
