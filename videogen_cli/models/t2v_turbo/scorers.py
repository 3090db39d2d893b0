"""Scores of finished videos, by the networks that reward training: for evaluation, and to watch training.

Every frame or video is seen exactly as the rewards see it (:mod:`.rewards`); a score is the cosine of features, -1 to
1. Batches have one size, the last one filled up, so that a process compiles few graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from videogen_cli.data.tokenizers import Tokenizer, load_tokenizer
from videogen_cli.data.wordpiece import WordPieceTokenizer, load_wordpiece
from videogen_cli.errors import UsageError
from videogen_cli.models.t2v_turbo.rewards import FitSquare, VideoScore, crop_room, frame_stride, spread_frames
from videogen_cli.runtime import graphs
from videogen_cli.runtime.cells import Cell

TEXTS = 16  # prompts per call


class ImageFeatures(Cell):
    """The image side of a CLIP as a graph of its own: ``construct(frames (n h w 3) uint8) -> (n embed_dim)``."""

    def __init__(self, clip: Any, image_size: int) -> None:
        super().__init__()
        self.clip = clip
        self.fit: Any = FitSquare(image_size)

    def construct(self, frames: Any) -> Any:
        """Return features of length 1."""
        return self.clip.encode_image(self.fit(_pixels(frames, self.clip.visual.proj.dtype).permute(0, 3, 1, 2)))


class ClipText(Cell):
    """The text side of a CLIP as a graph of its own: ``construct(ids (n l)) -> (n embed_dim)``."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def construct(self, ids: Any) -> Any:
        """Return features of length 1."""
        return self.clip.encode_text(ids)


class VideoFeatures(Cell):
    """InternVideo2's video side as a graph: ``construct(frames (b f h w 3) uint8, corner (2,)) -> (b embed_dim)``."""

    def __init__(self, model: Any, image_size: int) -> None:
        super().__init__()
        self.model = model
        self.score: Any = VideoScore(model, image_size)

    def construct(self, frames: Any, corner: Any) -> Any:
        """Return features of length 1."""
        frames = _pixels(frames, self.model.vision_encoder.cls_token.dtype).permute(0, 1, 4, 2, 3)
        return self.model.encode_video(self.score.pixels(frames, corner))


class InternVideoText(Cell):
    """InternVideo2's text side as a graph of its own: ``construct(ids (n l), keep (n l)) -> (n embed_dim)``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def construct(self, ids: Any, keep: Any) -> Any:
        """Return features of length 1."""
        return self.model.encode_text(ids, keep)


def _pixels(frames: Any, dtype: Any) -> Any:
    return frames.astype(dtype) / 255.0


class ImageScorer:
    """How well each frame shows a prompt, by HPSv2.1 or another CLIP.

    Args:
        config: a resolved ``T2VTurboConfig``; its ``image_reward`` and ``image_tokenizer`` are used.
        cells: the component ``image_reward``, with weights.
        batch_size: frames per call.

    Raises:
        WeightsError: the tokenizer's file cannot be used.
        UsageError: the tokenizer has ids that the network has not.
    """

    def __init__(self, config: Any, cells: Mapping[str, Any], batch_size: int = 16) -> None:
        self.params, self.batch_size = config.image_reward, batch_size
        clip = cells["image_reward"]
        self.tokenizer = image_tokenizer(config)
        self._text = _Texts(ClipText(clip), self._encode, self.params)
        self._images = ImageFeatures(clip, self.params.vision.image_size)

    def text_features(self, prompts: Sequence[str]) -> np.ndarray:
        """Return features (n embed_dim) of length 1; every prompt is computed once and remembered."""
        return self._text(prompts)

    def forget(self) -> None:
        """Compute prompts anew when they are next needed: the network's weights have changed."""
        self._text.known.clear()

    def image_features(self, frames: np.ndarray) -> np.ndarray:
        """Return features (n embed_dim) of length 1 of frames, uint8 (n h w 3)."""
        return _in_batches(self._images, (frames,), self.batch_size, self.params)

    def scores(self, frames: np.ndarray, prompt: str) -> np.ndarray:
        """Return the score (f,) of every frame of a video, uint8 (f h w 3), for its prompt."""
        return self.image_features(frames) @ self.text_features([prompt])[0]

    def _encode(self, prompts: Sequence[str]) -> tuple[np.ndarray, ...]:
        return (self.tokenizer.encode(prompts).astype(np.int32),)


class VideoScorer:
    """How well a video shows a prompt, by InternVideo2 stage 2.

    Args:
        config: a resolved ``T2VTurboConfig``; its ``video_reward`` and ``video_tokenizer`` are used.
        cells: the component ``video_reward``, with weights.
        batch_size: videos per call.

    Raises:
        WeightsError: the tokenizer's file cannot be used.
        UsageError: the tokenizer has ids that the network has not.
    """

    def __init__(self, config: Any, cells: Mapping[str, Any], batch_size: int = 4) -> None:
        self.params, self.batch_size = config.video_reward, batch_size
        model = cells["video_reward"]
        self.tokenizer = video_tokenizer(config)
        self._text = _Texts(InternVideoText(model), self._encode, self.params)
        self._videos = VideoFeatures(model, self.params.video.image_size)

    def text_features(self, prompts: Sequence[str]) -> np.ndarray:
        """Return features (n embed_dim) of length 1; every prompt is computed once and remembered."""
        return self._text(prompts)

    def forget(self) -> None:
        """Compute prompts anew when they are next needed: the network's weights have changed."""
        self._text.known.clear()

    def video_features(self, videos: np.ndarray) -> np.ndarray:
        """Return features (b k embed_dim) of length 1 of videos of one size, uint8 (b f h w 3).

        The network sees ``num_frames`` of the frames, spread over the video. There are ``k`` such choices, from the
        first frame and, where the spread leaves frames out, from between, so that no two frames in a row go unseen
        in a video of up to four times as many. The centre is cut out where a video is not square.

        Raises:
            UsageError: a video has fewer frames than the network sees.
        """
        count, size = self.params.video.num_frames, self.params.video.image_size
        frames, height, width = videos.shape[1:4]
        starts = sorted({0, frame_stride(frames, count) // 2})
        corner = np.array([(room - 1) // 2 for room in crop_room(height, width, size)], np.int32)
        shown = [videos[:, spread_frames(frames, count, start)] for start in starts]
        seen = np.stack(shown, 1).reshape(-1, *shown[0].shape[1:])
        features = _in_batches(self._videos, (seen,), self.batch_size, self.params, corner)
        return features.reshape(len(videos), len(starts), -1)

    def scores(self, videos: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Return the score (b,) of each video, uint8 (b f h w 3), for its prompt: the mean over choices of frames."""
        return (self.video_features(videos).mean(1) * self.text_features(prompts)).sum(-1)

    def _encode(self, prompts: Sequence[str]) -> tuple[np.ndarray, ...]:
        ids, keep = self.tokenizer.encode(prompts)
        return ids.astype(np.int32), keep.astype(np.float32)


class _Texts:
    """Features of prompts, each computed once.

    Args:
        cell: the text side of a network.
        encode: prompts -> the cell's inputs.
        params: the network's, for the identity of its graph.
    """

    def __init__(self, cell: Any, encode: Callable[[Sequence[str]], tuple[np.ndarray, ...]], params: Any) -> None:
        self.cell, self.encode, self.params = cell, encode, params
        self.known: dict[str, np.ndarray] = {}

    def __call__(self, prompts: Sequence[str]) -> np.ndarray:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        if new:
            self.known |= zip(new, _in_batches(self.cell, self.encode(new), TEXTS, self.params), strict=True)
        return np.stack([self.known[prompt] for prompt in prompts])


def _in_batches(cell: Any, arrays: tuple[np.ndarray, ...], size: int, params: Any, *shared: np.ndarray) -> np.ndarray:
    """Return the outputs of ``cell`` for rows of ``arrays``, ``size`` at a time; ``shared`` goes along with each."""
    rows = []
    for first in range(0, len(arrays[0]), size):
        picked = np.minimum(np.arange(first, first + size), len(arrays[0]) - 1)
        batch = tuple(array[picked] for array in arrays)
        rows.append(graphs.run(cell, (*batch, *shared), type(cell).__name__, asdict(params)).astype(np.float32))
    return np.concatenate(rows)[: len(arrays[0])]


def image_tokenizer(config: Any) -> Tokenizer:
    """Return the tokenizer of ``image_reward``.

    Raises:
        WeightsError: its file cannot be used.
        UsageError: it has ids that the network has not.
    """
    text = config.image_reward.text
    tokenizer = load_tokenizer(config.image_tokenizer, text.context_length)
    _check_fits(tokenizer.vocab_size, text.vocab_size, "image_tokenizer")
    return tokenizer


def video_tokenizer(config: Any) -> WordPieceTokenizer:
    """Return the tokenizer of ``video_reward``; raises as :func:`image_tokenizer`."""
    tokenizer = load_wordpiece(config.video_tokenizer, config.video_reward.max_text_length)
    _check_fits(tokenizer.vocab_size, config.video_reward.text.vocab_size, "video_tokenizer")
    return tokenizer


def _check_fits(ids: int, known: int, where: str) -> None:
    if ids > known:
        hint = "Give the tokenizer that the scorer was trained with."
        raise UsageError(f"has {ids} ids, and the scorer's text tower knows {known}", where=where, hint=hint)
