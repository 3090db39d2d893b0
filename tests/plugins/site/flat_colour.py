"""A sixth model, added without touching vgen: it learns which colour a word means and fills the video with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.config import ModelConfig
from videogen_cli.data.order import batch_indices, rng
from videogen_cli.errors import UsageError
from videogen_cli.registry import ComponentSpec, ModelSpec, StageSpec
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, Init, parameter

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}
FRESH = {"train": {"from_scratch": True}}


@dataclass
class PainterParams:
    """Sizes of the network."""

    hidden: int = 8


@dataclass
class FlatColourConfig(ModelConfig):
    """One component, one section."""

    painter: PainterParams = field(default_factory=PainterParams)


class Painter(Cell):
    """Two linear layers from words to a colour: ``construct(words (b w)) -> (b 3)`` in [0, 1] when trained."""

    def __init__(self, params: PainterParams) -> None:
        super().__init__()
        self.first = parameter((params.hidden, len(COLOURS)), Init("normal", 0.5))
        self.second = parameter((3, params.hidden), Init("normal", 0.5))

    def construct(self, words: Any) -> Any:
        """Return colours (b 3)."""
        return F.linear(F.linear(words, self.first), self.second)


class Words:
    """Which of the known colours a prompt names."""

    def truncated(self, prompt: str) -> bool:
        """Return False: any length is read."""
        return False

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """Return 1.0 where a colour is named, (b w) float32."""
        return np.array([[colour in prompt.split() for colour in COLOURS] for prompt in prompts], np.float32)


class FlatColourPipeline:
    """Prompt -> colour -> frames."""

    def __init__(self, config: Any, cells: Mapping[str, Any]) -> None:
        self.config, self.cells, self.tokenizer = config, cells, Words()

    @staticmethod
    def check(config: Any) -> None:
        """Refuse what the model cannot do."""
        if config.sample.height != config.sample.width:
            raise UsageError("videos are square", where="sample.height", hint="Use the same height and width.")

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return (c, f, h, w)."""
        return 3, self.config.sample.num_frames, 1, 1

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], callback: Callable[..., None] | None = None
    ) -> np.ndarray:
        """Return one pixel per frame, (b 3 f 1 1)."""
        from mindspore import Tensor

        colours = self.cells["painter"](Tensor(self.tokenizer.encode(prompts))).asnumpy()
        if callback:
            callback(0, 1, {})
        return np.tile(colours[:, :, None, None, None], (1, 1, self.config.sample.num_frames, 1, 1))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return uint8 frames (b f h w 3)."""
        sample = self.config.sample
        pixels = np.broadcast_to(latents, (*latents.shape[:3], sample.height, sample.width))
        return (pixels.transpose(0, 2, 3, 4, 1).clip(0, 1) * 255).round().astype(np.uint8)


class PainterLoss(Cell):
    """Mean squared error: ``construct(words (b w), colours (b 3)) -> loss``."""

    def __init__(self, painter: Any) -> None:
        super().__init__()
        self.painter = painter

    def construct(self, words: Any, colours: Any) -> Any:
        """Return the loss."""
        error = self.painter(words) - colours
        return (error * error).mean()


class PaintObjective:
    """Stage ``paint``: colours named by their words."""

    scalar_names = ()

    def __init__(self, context: Any) -> None:
        self.config, self.world, self.words = context.config, context.world, Words()
        self.trainable = {"painter": context.cells["painter"]}
        self.loss = PainterLoss(context.cells["painter"])

    def sample_ids(self, step: int, micro: int, rank: int) -> list[int]:
        """Return which colours are learned from."""
        size, seed = self.config.train.batch_size, self.config.seed
        return batch_indices(seed, step, rank, self.world, size, len(COLOURS)).tolist()

    def batch(self, step: int, micro: int, rank: int) -> tuple[np.ndarray, ...]:
        """Return words (b w) and colours (b 3) with a little noise."""
        names = [list(COLOURS)[index] for index in self.sample_ids(step, micro, rank)]
        noise = rng(self.config.seed, "paint", step, micro, rank).normal(0, 0.01, (len(names), 3))
        return self.words.encode(names), (np.array([COLOURS[name] for name in names]) + noise).astype(np.float32)

    def validate(self, step: int) -> dict[str, float]:
        """Measure nothing."""
        return {}

    def preview(self, folder: Path, step: int) -> list[Path]:
        """Show nothing."""
        return []


SPEC = ModelSpec(
    name="flat-colour",
    title="Flat Colour",
    summary="Fills the video with the colour a prompt names.",
    config=FlatColourConfig,
    components=(ComponentSpec("painter", "flat_colour:Painter", "words to a colour"),),
    pipeline="flat_colour:FlatColourPipeline",
    stages=(StageSpec("paint", "flat_colour:PaintObjective", trains=("painter",), defaults=FRESH, help="learn words"),),
    presets_dir=Path(__file__).with_name("flat_colour_presets"),
)
