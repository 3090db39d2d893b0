"""DEMO: text to video with decomposed encoding and conditioning of content and motion.

Ruan et al., "Enhancing Motion in Text-to-Video Generation with Decomposed Encoding and Conditioning"
(arXiv 2410.24219); upstream PR-Ryan/DEMO.
"""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.config import ModelConfig
from videogen_cli.registry import ModelSpec


@dataclass
class DemoConfig(ModelConfig):
    """Defaults are the published model's."""


SPEC = ModelSpec(
    name="demo",
    title="DEMO",
    summary="Text to video with separate text towers for content and motion.",
    source="arXiv 2410.24219; PR-Ryan/DEMO",
    config=DemoConfig,
    components=(),
)
