"""The scorers of ``vgen eval videos``: the networks that reward training, and OpenCLIP itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen_cli.metrics.video_quality import Measure
from videogen_cli.models.t2v_turbo.scorers import ImageScorer, VideoScorer

_COSINE = (-1.0, 1.0)


class HpsScores:
    """HPSv2.1 (Wu et al. 2023, arXiv 2306.09341): how well people would say that frames show the prompt."""

    measures: tuple[Measure, ...] = (
        Measure("hps", "HPS", "image-text score of HPSv2.1: cosine with the prompt, mean of frames", limits=_COSINE),
        Measure("hps_consistency", "HPS consistency", "likeness of frames by HPSv2.1's image features"),
    )

    def __init__(self, config: Any, cells: Mapping[str, Any]) -> None:
        self.scorer = ImageScorer(config, cells)

    def score(self, videos: np.ndarray, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the likeness to prompts, and of frames among themselves, (b,) each, of videos uint8 (b f h w 3)."""
        b, f = videos.shape[:2]
        images = self.scorer.image_features(videos.reshape(b * f, *videos.shape[2:])).reshape(b, f, -1)
        text = self.scorer.text_features(prompts)
        found = {self.measures[0].name: (images * text[:, None]).sum(-1).mean(1)}
        if f > 1:
            found[self.measures[1].name] = feature_consistency(images)
        return found


class ClipScores(HpsScores):
    """OpenCLIP ViT-H-14 as it was published: the CLIP similarity of the literature."""

    measures = (
        Measure("clip", "CLIP similarity", "image-text score of OpenCLIP: cosine, mean of frames", limits=_COSINE),
        Measure("clip_consistency", "CLIP consistency", "likeness of frames by OpenCLIP's image features"),
    )


class VideoTextScores:
    """InternVideo2 stage 2 (Wang et al. 2024, arXiv 2403.15377): how well the video as a whole shows the prompt."""

    measures: tuple[Measure, ...] = (
        Measure("video_text", "video-text", "video-text score of InternVideo2: cosine with the prompt", limits=_COSINE),
    )

    def __init__(self, config: Any, cells: Mapping[str, Any]) -> None:
        self.scorer = VideoScorer(config, cells)

    def score(self, videos: np.ndarray, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the likeness (b,) of videos, uint8 (b f h w 3), to their prompts.

        Raises:
            UsageError: they have fewer frames than the network sees.
        """
        return {self.measures[0].name: self.scorer.scores(videos, prompts)}


def feature_consistency(features: np.ndarray) -> np.ndarray:
    """Return how alike frames are, (b,) in [0, 1], by features (b f d) of length 1.

    As VBench's ``background_consistency`` (vbench/background_consistency.py): every frame but the first is compared
    with the one before and with the first, by cosines of at least 0.
    """
    before = (features[:, 1:] * features[:, :-1]).sum(-1)
    first = (features[:, 1:] * features[:, :1]).sum(-1)
    return (np.maximum(before, 0) + np.maximum(first, 0)).mean(1) / 2
