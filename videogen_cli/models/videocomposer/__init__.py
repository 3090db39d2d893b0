"""VideoComposer: text to video steered by sketches, depth, motion vectors, masks, images and styles.

Wang et al., "VideoComposer" (arXiv 2306.02018); upstream ali-vilab/videocomposer.
"""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.config import ModelConfig
from videogen_cli.registry import ModelSpec


@dataclass
class VideoComposerConfig(ModelConfig):
    """Defaults are the published model's."""


SPEC = ModelSpec(
    name="videocomposer",
    title="VideoComposer",
    summary="Text to video steered by sketches, depth, motion vectors, masks, images and styles.",
    source="arXiv 2306.02018; ali-vilab/videocomposer",
    config=VideoComposerConfig,
    components=(),
)
