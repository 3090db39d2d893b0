"""Stages ``image-scorer`` and ``video-scorer``: batches of true clips, degraded copies and captions; validation.

See :mod:`.contrast` for the loss. Batches are pure functions of (seed, step, micro-batch, rank).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from videogen_cli.data import moving_shapes
from videogen_cli.data.degradations import Degraded, degrade_look, degrade_motion, degrade_some, vary
from videogen_cli.data.order import batch_indices, rng
from videogen_cli.files import atomic_path
from videogen_cli.models.t2v_turbo.contrast import ImageTextLoss, VideoTextLoss, meaning, right_answers
from videogen_cli.models.t2v_turbo.rewards import crop_room, frame_stride, spread_frames
from videogen_cli.models.t2v_turbo.scorers import ImageScorer, VideoScorer, image_tokenizer, video_tokenizer
from videogen_cli.nets.params.vae2d import downsample_factor
from videogen_cli.train.objective import StageContext

GALLERY = 144  # clips that validation looks at
COLUMNS, FIELD = 48, 16  # of a preview: clips, and pixels per clip
CODE_NOISE = 0.1  # standard deviations of the codes' noise up to which frames still count as true


@dataclass(frozen=True)
class Gallery:
    """Clips to be told apart: ``videos`` uint8 (n f h w 3), what each shows, and the captions to choose from."""

    videos: np.ndarray
    shown: list[Any]
    captions: list[str]
    said: list[Any]


class ScorerObjective:
    """What both stages have in common; a subclass says what its network sees of a clip."""

    component: ClassVar[str]
    moves: ClassVar[bool]  # whether the network sees motion
    scalar_names: ClassVar[tuple[str, ...]]
    degrade: ClassVar[tuple[Any, ...]]  # ways to spoil a clip, one of which is drawn for each copy
    loss: Any
    _scorer: Any

    def __init__(self, context: StageContext) -> None:
        self.context, self.config = context, context.config
        self.trainable = {self.component: context.cells[self.component]}
        self.dataset = context.dataset()
        self.captions = [self.dataset.caption(index) for index in range(len(self.dataset))]
        config = self.config
        factor, d = downsample_factor(config.vae), config.diffusion
        self._code_shape = (config.vae.embed_dim, config.data.height // factor, config.data.width // factor)
        std = d.latent_std or [1 / d.latent_scale] * config.vae.embed_dim
        self._code_std = np.asarray(std, np.float32).reshape(-1, 1, 1)

    def sample_ids(self, step: int, micro: int, rank: int) -> list[int]:
        """Return the dataset indices of a batch."""
        train, world = self.config.train, self.context.world
        position = step * train.accumulation + micro
        return batch_indices(self.config.seed, position, rank, world, train.batch_size, len(self.dataset)).tolist()

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return what the loss takes: true clips and a degraded copy of each, and captions of these and other clips."""
        draws = rng(self.config.seed, self.component, step, micro, rank)
        indices, settings = self.sample_ids(step, micro, rank), self.config.contrast
        count = len(indices)
        through = round(settings.reconstructed * count)
        # Those that go through the autoencoder are first, and of these, as of the others, the true ones.
        halves = [(first, last, kind) for first, last in ((0, through), (through, count)) for kind in (0, count)]
        order = np.concatenate([kind + np.arange(first, last) for first, last, kind in halves])
        true = [self._true(index, draws) for index in indices]
        clips = [*true, *self._copies(true, through, draws)]
        clips = [clips[place] for place in order]
        captions = [self.captions[index] for index in indices]
        shown = [meaning(captions[place % count], self.moves) for place in order]
        captions += [self.captions[index] for index in draws.integers(len(self.captions), size=settings.extra_captions)]
        said = [meaning(caption, self.moves) for caption in captions]
        recognisable = np.array([clip.recognisable for clip in clips])
        frames = np.stack([clip.frames for clip in clips]).astype(np.float32)
        noise = self._noise(clips[: 2 * through], draws)
        return frames, noise, *right_answers(shown, said, order < count, recognisable), *self._text(captions, draws)

    def _true(self, index: int, draws: np.random.Generator) -> Degraded:
        frames = self.dataset.item(index, int(draws.integers(2**31))).frames
        return Degraded(vary(self._seen(frames * 0.5 + 0.5, draws), draws), True, draws.uniform(0, CODE_NOISE))

    def _copies(self, true: list[Degraded], through: int, draws: np.random.Generator) -> list[Degraded]:
        copies = []
        for number, clip in enumerate(true):
            way = self.degrade[int(draws.integers(len(self.degrade)))]
            copies.append(way(clip.frames, true[number - 1].frames, draws, number < through))
        return copies

    def _noise(self, clips: list[Degraded], draws: np.random.Generator) -> np.ndarray:
        """Return the noise (n*f c h/8 w/8) on the codes of clips that go through the autoencoder."""
        size = sum(len(clip.frames) for clip in clips)
        scale = np.repeat([clip.code_noise for clip in clips], [len(clip.frames) for clip in clips])
        noise = draws.standard_normal((size, *self._code_shape), np.float32)
        return noise * scale.reshape(-1, 1, 1, 1).astype(np.float32) * self._code_std

    def _seen(self, frames: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Return which frames (k 3 h w) of a clip (f 3 h w) the network is shown."""
        raise NotImplementedError

    def _text(self, captions: list[str], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return the loss's last inputs, made of captions."""
        raise NotImplementedError

    def _scores(self, gallery: Gallery) -> np.ndarray:
        """Return the score (n m) of each clip for each caption."""
        raise NotImplementedError

    def validate(self, step: int) -> dict[str, float]:
        """Return how often the best caption of all is a right one, and by how much a right one leads the best wrong.

        Of Moving Shapes, clips of another world than the training set's, trained and held-out combinations apart, with
        the plain captions of all 84 to choose from; of other data, clips and captions of the training set.
        ``ranked`` is the share of clips that score above a degraded copy.
        """
        results = {}
        self._scorer.forget()
        for name, gallery in self._galleries().items():
            scores = self._scores(gallery)
            right = np.array([[one == other for other in gallery.said] for one in gallery.shown])
            best_right = np.where(right, scores, -2).max(1)
            best_wrong = np.where(right, -2, scores).max(1)
            results[f"accuracy{name}"] = float((best_right > best_wrong).mean())
            results[f"gap{name}"] = float((best_right - best_wrong).mean())
            results[f"score{name}"] = float(scores[right].mean())
            spoiled = self._scores(self._spoiled(gallery))
            results[f"ranked{name}"] = float((spoiled[right] < scores[right]).mean())
        return results

    def _galleries(self) -> dict[str, Gallery]:
        data = self.config.data
        if data.path or data.height != data.width:
            samples = [self.dataset.item(index, 0) for index in range(min(GALLERY, len(self.dataset)))]
            clips = [(_as_uint8(sample.frames * 0.5 + 0.5), sample.caption) for sample in samples]
            return {"": self._gallery(clips, list(dict.fromkeys(caption for _, caption in clips)))}
        galleries, captions = {}, [moving_shapes.prompt(combination) for combination in moving_shapes.ALL]
        for name, held_out in (("", False), ("_held_out", True)):
            world = self.config.seed + 1
            shown = [
                moving_shapes.clip(world, index, data.num_frames, data.height, held_out=held_out)
                for index in range(GALLERY)
            ]
            clips = [(clip.frames, moving_shapes.prompt(clip.combination)) for clip in shown]
            galleries[name] = self._gallery(clips, captions)
        return galleries

    def _gallery(self, clips: list[tuple[np.ndarray, str]], captions: list[str]) -> Gallery:
        videos = np.stack([frames for frames, _ in clips])
        shown = [meaning(caption, self.moves) for _, caption in clips]
        return Gallery(videos, shown, captions, [meaning(caption, self.moves) for caption in captions])

    def _spoiled(self, gallery: Gallery) -> Gallery:
        draws = rng(self.config.seed, self.component, "validation")
        videos = gallery.videos.transpose(0, 1, 4, 2, 3).astype(np.float32) / 255
        clips = self._copies([Degraded(video, True) for video in videos], 0, draws)
        return replace(gallery, videos=np.stack([_as_uint8(clip.frames) for clip in clips]))

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Draw the scores as a table: a row per caption, a column per clip, which is shown above; right ones in red."""
        from PIL import Image

        files = []
        self._scorer.forget()
        for name, gallery in self._galleries().items():
            few = replace(gallery, videos=gallery.videos[:COLUMNS], shown=gallery.shown[:COLUMNS])
            path = folder / f"step-{step}{name}.png"
            with atomic_path(path) as temporary:
                Image.fromarray(_table(few, self._scores(few))).save(temporary, "png")
            files.append(path)
        return files


class ImageScorerObjective(ScorerObjective):
    """Stage ``image-scorer``: single frames, which do not tell where things move."""

    component, moves = "image_reward", False
    scalar_names = ("image_to_text", "text_to_image", "scale")
    degrade = (degrade_look,)

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        clip, params = context.cells["image_reward"], self.config.image_reward
        self.tokenizer, self._scorer = image_tokenizer(self.config), ImageScorer(self.config, context.cells)
        temperature = self.config.contrast.temperature
        self.loss = ImageTextLoss(clip, context.cells["vae"], params.vision.image_size, temperature)

    def _seen(self, frames: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        return frames[draws.integers(len(frames))][None]

    def _text(self, captions: list[str], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        return (self.tokenizer.encode(captions).astype(np.int32),)

    def _scores(self, gallery: Gallery) -> np.ndarray:
        middle = gallery.videos[:, gallery.videos.shape[1] // 2]
        return self._scorer.image_features(middle) @ self._scorer.text_features(gallery.captions).T


class VideoScorerObjective(ScorerObjective):
    """Stage ``video-scorer``: as many frames of a clip as InternVideo2 sees, spread over it."""

    component, moves = "video_reward", True
    scalar_names = ("video_to_text", "text_to_video")
    degrade = (degrade_look, degrade_motion, degrade_some)

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        model, params = context.cells["video_reward"], self.config.video_reward
        self.tokenizer, self._scorer = video_tokenizer(self.config), VideoScorer(self.config, context.cells)
        self._stride = frame_stride(self.config.data.num_frames, params.video.num_frames)
        temperature = self.config.contrast.temperature
        self.loss = VideoTextLoss(model, context.cells["vae"], params.video.image_size, temperature)

    def _seen(self, frames: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        count = self.config.video_reward.video.num_frames
        return frames[spread_frames(len(frames), count, int(draws.integers(self._stride)))]

    def _text(self, captions: list[str], draws: np.random.Generator) -> tuple[np.ndarray, ...]:
        data, size = self.config.data, self.config.video_reward.video.image_size
        corner = draws.integers(0, crop_room(data.height, data.width, size)).astype(np.int32)
        ids, keep = self.tokenizer.encode(captions)
        return corner, ids.astype(np.int32), keep.astype(np.float32)

    def _scores(self, gallery: Gallery) -> np.ndarray:
        features = self._scorer.video_features(gallery.videos).mean(1)
        return features @ self._scorer.text_features(gallery.captions).T


def _as_uint8(frames: np.ndarray) -> np.ndarray:
    """Return frames (f 3 h w) in [0, 1] as uint8 (f h w 3)."""
    return np.rint(frames * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _table(gallery: Gallery, scores: np.ndarray) -> np.ndarray:
    """Return a picture (h w 3) of scores (n m), with a thumbnail above each column, and right answers in red."""
    from PIL import Image

    middle = gallery.videos[:, gallery.videos.shape[1] // 2]
    above = [np.asarray(Image.fromarray(frame).resize((FIELD, FIELD))) for frame in middle]
    grey = np.rint(255 * (scores - scores.min()) / max(float(np.ptp(scores)), 1e-6)).astype(np.uint8).T
    fields = np.repeat(grey[..., None], 3, -1)
    right = np.array([[one == other for one in gallery.shown] for other in gallery.said])
    fields[right, 1:] //= 4
    return np.concatenate([np.concatenate(above, 1), fields.repeat(FIELD // 2, 0).repeat(FIELD, 1)])
