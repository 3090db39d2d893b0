"""Open-Sora-Plan v1.0: text to video with the LatteT2V transformer over a causal 4 x 8 x 8 video autoencoder.

Upstream PKU-YuanGroup/Open-Sora-Plan, tag v1.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.config import ModelConfig
from videogen_cli.registry import ModelSpec


@dataclass
class OpenSoraPlanConfig(ModelConfig):
    """Defaults are the published model's."""


SPEC = ModelSpec(
    name="opensora-plan",
    title="Open-Sora-Plan v1.0",
    summary="Text to video with the LatteT2V transformer over a causal video autoencoder.",
    source="PKU-YuanGroup/Open-Sora-Plan v1.0.0",
    config=OpenSoraPlanConfig,
    components=(),
)
