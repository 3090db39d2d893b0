"""Movie Gen: text to video with a flow-matching transformer and a temporal autoencoder (TAE).

Polyak et al., "Movie Gen: A Cast of Media Foundation Models" (arXiv 2410.13720).
"""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.config import ModelConfig
from videogen_cli.registry import ModelSpec


@dataclass
class MovieGenConfig(ModelConfig):
    """Defaults are the published model's."""


SPEC = ModelSpec(
    name="moviegen",
    title="Movie Gen",
    summary="Text to video with a flow-matching transformer of up to 30 billion parameters and its autoencoder.",
    source="arXiv 2410.13720",
    config=MovieGenConfig,
    components=(),
)
