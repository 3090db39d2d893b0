"""How the scorers are trained: images or videos against captions, and true ones against degraded copies.

Contrastive learning of Radford et al. 2021 (CLIP, arXiv 2103.00020), symmetric over images and texts, with several
right answers where captions say the same (Yang et al. 2022, UniCL, arXiv 2204.03610). For a caption, degraded copies
of what it describes are wrong answers too, which makes a score fall with quality, and not only with content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from videogen_cli.metrics.adherence import parse_prompt
from videogen_cli.models.t2v_turbo.rewards import FitSquare, VideoScore
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell


class ContrastiveLoss(Cell):
    """The symmetric cross-entropy of similarities; ``rows`` (n m) and ``columns`` (m n) say which answers are right.

    Each row of either is 1 in sum, or 0 where nothing is asked.
    """

    def construct(self, similarity: Any, rows: Any, columns: Any) -> Any:
        """Return the loss and its halves, visual to text and text to visual, of scaled similarities (n m)."""
        of_visuals = self.cross_entropy(similarity, rows)
        of_texts = self.cross_entropy(similarity.permute(1, 0), columns)
        return 0.5 * (of_visuals + of_texts), of_visuals, of_texts

    def cross_entropy(self, logits: Any, right: Any) -> Any:
        """Return the mean over the rows that ask something."""
        logits = logits - F.stop_gradient(logits.max(-1, keepdims=True))
        log_probability = logits - F.log(F.exp(logits).sum(-1, keepdims=True))
        return -(right * log_probability).sum() / F.maximum(right.sum(), 1.0)


class Reconstructed(Cell):
    """Some images as a frozen autoencoder shows them, with noise on their codes: what generated frames look like."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def construct(self, images: Any, noise: Any) -> Any:
        """Map images (n 3 h w) in [0, 1], the first of which get ``noise`` (k c h/8 w/8), to such images."""
        count = noise.shape[0]
        mean, _ = self.vae.encode(F.leading(images, count, 0) * 2.0 - 1.0)
        shown = F.stop_gradient((self.vae.decode(mean + noise) * 0.5 + 0.5).clip(0, 1))
        return shown if count == images.shape[0] else F.concat([shown, images[count:]], 0)


class ImageTextLoss(Cell):
    """``construct(frames (n 1 3 h w), noise, rows (n m), columns (m n), ids (m l)) -> loss, halves, scale``.

    The scale of similarities is learned, from the file's up to ``1 / temperature``.
    """

    def __init__(self, clip: Any, vae: Any, image_size: int, temperature: float) -> None:
        super().__init__()
        self.clip, self.most = clip, 1 / temperature
        self.reconstructed, self.fit, self.loss = Reconstructed(vae), FitSquare(image_size), ContrastiveLoss()

    def construct(self, frames: Any, noise: Any, rows: Any, columns: Any, ids: Any) -> Any:
        """Return the loss, its halves, and the scale of similarities."""
        images = self.reconstructed(frames.reshape(-1, *frames.shape[2:]), noise)
        scale = F.exp(self.clip.text.logit_scale).clip(None, self.most)
        similarity = F.linear(self.clip.encode_image(self.fit(images)), self.clip.encode_text(ids))
        return (*self.loss(similarity * scale, rows, columns), scale)


class VideoTextLoss(Cell):
    """``construct(frames (n f 3 h w), noise, rows, columns, corner (2,), ids (m l), keep (m l)) -> loss, halves``."""

    def __init__(self, model: Any, vae: Any, image_size: int, temperature: float) -> None:
        super().__init__()
        self.model, self.scale = model, 1 / temperature
        self.reconstructed, self.score, self.loss = Reconstructed(vae), VideoScore(model, image_size), ContrastiveLoss()

    def construct(self, frames: Any, noise: Any, rows: Any, columns: Any, corner: Any, ids: Any, keep: Any) -> Any:
        """Return the loss and its halves."""
        shown = self.reconstructed(frames.reshape(-1, *frames.shape[2:]), noise).reshape(frames.shape)
        videos = self.model.encode_video(self.score.pixels(shown, corner))
        return self.loss(F.linear(videos, self.model.encode_text(ids, keep)) * self.scale, rows, columns)


def right_answers(shown: Sequence[Any], said: Sequence[Any], true: np.ndarray, told: np.ndarray) -> tuple[Any, Any]:
    """Return ``rows`` (n m) and ``columns`` (m n) for :class:`ContrastiveLoss`.

    Args:
        shown: what each of n images or videos shows.
        said: what each of m texts says.
        true: whether an image or video is as it should be (n,); only such ones are right answers for a text.
        told: whether it can be told what an image or video shows (n,); of others nothing is asked.
    """
    same = np.array([[one == other for other in said] for one in shown], np.float32)
    rows, columns = same * told[:, None], (same * true[:, None]).T
    return tuple(table / np.maximum(table.sum(1, keepdims=True), 1) for table in (rows, columns))


def meaning(caption: str, moves: bool) -> Any:
    """Return what two captions have in common that say the same of a video, or of a frame if it ``moves`` not.

    Of Moving Shapes that is colour, shape and direction, which no single frame tells; of others the words.
    """
    if (wanted := parse_prompt(caption)) is None:
        return caption.strip().lower()
    return (wanted.colour, wanted.shape, wanted.direction) if moves else (wanted.colour, wanted.shape)
