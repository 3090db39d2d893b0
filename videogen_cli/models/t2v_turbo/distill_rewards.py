"""The rewards of a distillation run: which samples and frames are judged, and by whom.

The original draws one sample of a batch; of it, five distinct frames for the image-text scorer, and frames spread
evenly from a random start for the video-text scorer (Ji4chenLi/t2v-turbo, train_t2v_turbo_v1_lora.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen_cli.models.t2v_turbo import rewards
from videogen_cli.models.t2v_turbo.scorers import image_tokenizer, video_tokenizer


class ImageReward:
    """Frames judged by ``image_reward``.

    Args:
        config: a resolved ``T2VTurboConfig``.
        cells: the component ``image_reward``, with weights.
        decoder: a ``FrameDecoder``.
    """

    name = "image_reward"

    def __init__(self, config: Any, cells: Mapping[str, Any], decoder: Any) -> None:
        self.settings, self.frames = config.distill, config.data.num_frames
        self.tokenizer = image_tokenizer(config)
        score = rewards.ImageScore(cells[self.name], config.image_reward.vision.image_size)
        self.loss: Any = rewards.ImageRewardLoss(decoder, score, self.settings.image_reward_scale)

    def draw(self, captions: Sequence[str], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return which samples (s,) of a batch with these captions, which frames (n,), and token ids (s k)."""
        d = self.settings
        samples = draws.permutation(len(captions))[: d.image_reward_samples].astype(np.int32)
        if d.image_reward_repeats:
            index = draws.integers(self.frames, size=d.image_reward_frames)
        else:
            index = draws.permutation(self.frames)[: d.image_reward_frames]
        ids = self.tokenizer.encode([captions[int(sample)] for sample in samples])
        return samples, index.astype(np.int32), ids.astype(np.int32)


class VideoReward:
    """Videos judged by ``video_reward``; the arguments are :class:`ImageReward`'s.

    Raises:
        UsageError: clips have fewer frames than the scorer sees.
    """

    name = "video_reward"

    def __init__(self, config: Any, cells: Mapping[str, Any], decoder: Any) -> None:
        self.settings, data, video = config.distill, config.data, config.video_reward.video
        self.frames, self.shown = data.num_frames, video.num_frames
        self.room = rewards.crop_room(data.height, data.width, video.image_size)
        self.stride = rewards.frame_stride(self.frames, self.shown)
        self.tokenizer = video_tokenizer(config)
        score = rewards.VideoScore(cells[self.name], video.image_size)
        self.loss: Any = rewards.VideoRewardLoss(decoder, score, self.settings.video_reward_scale)

    def draw(self, captions: Sequence[str], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return samples (s,), frames (n,), the crop's corner (2,), token ids (s k), and 1 where they count (s k)."""
        samples = draws.permutation(len(captions))[: self.settings.video_reward_samples].astype(np.int32)
        index = rewards.spread_frames(self.frames, self.shown, int(draws.integers(self.stride)))
        corner = draws.integers(self.room).astype(np.int32)
        ids, keep = self.tokenizer.encode([captions[int(sample)] for sample in samples])
        return samples, index, corner, ids.astype(np.int32), keep.astype(np.float32)


def chosen(config: Any, cells: Mapping[str, Any], mean: np.ndarray, std: np.ndarray) -> list[Any]:
    """Return the rewards whose scale is not 0, image before video.

    ``mean`` and ``std`` (c 1 1 1) turn latents back into the autoencoder's codes.
    """
    d = config.distill
    kinds = [kind for kind in (ImageReward, VideoReward) if getattr(d, f"{kind.name}_scale")]
    if not kinds:
        return []
    decoder = rewards.FrameDecoder(cells["vae"], mean, std)
    return [kind(config, cells, decoder) for kind in kinds]
