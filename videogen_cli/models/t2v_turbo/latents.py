"""Which samples a micro-batch holds, and clips as latents of the frozen autoencoder, encoded once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from videogen_cli.data.cache import cache_key, cached_array
from videogen_cli.data.datasets import ClipDataset
from videogen_cli.data.order import batch_indices
from videogen_cli.nets.vae2d import Encode
from videogen_cli.runtime import graphs
from videogen_cli.train.objective import StageContext

ENCODE_BATCH = 16  # images per call; bounds memory


def sample_indices(context: StageContext, size: int, step: int, micro: int, rank: int) -> list[int]:
    """Return which of ``size`` samples a micro-batch holds."""
    train = context.config.train
    position = step * train.accumulation + micro
    return batch_indices(context.config.seed, position, rank, context.world, train.batch_size, size).tolist()


def cached_moments(context: StageContext, dataset: ClipDataset) -> np.ndarray:
    """Return mean and standard deviation of every clip's latents, (n 2c f h w), encoded once and kept on disk."""
    config = context.config
    data = asdict(config.data)
    key = cache_key(
        vae=asdict(config.vae),
        weights=context.weights.get("vae", f"seed {config.seed}"),
        data={name: data[name] for name in ("num_frames", "height", "width", "frame_stride")},
        clips=dataset.fingerprint(),
    )
    return cached_array("latents", key, lambda: _encode_all(context, dataset))


def _encode_all(context: StageContext, dataset: ClipDataset) -> np.ndarray:
    encode: Any = Encode(context.cells["vae"])
    rows = []
    identity = ("Encode", asdict(context.config.vae))
    per_call = max(1, ENCODE_BATCH // context.config.data.num_frames)
    with context.output.progress("caching latents", len(dataset)) as progress:
        for first in range(0, len(dataset), per_call):
            indices = [min(first + k, len(dataset) - 1) for k in range(per_call)]
            clips = np.stack([dataset.item(index, 0).frames for index in indices])
            moments = graphs.run(encode, (clips.reshape(-1, *clips.shape[2:]),), *identity)
            rows.append(moments.reshape(per_call, -1, *moments.shape[1:]).transpose(0, 2, 1, 3, 4))
            progress.advance(min(per_call, len(dataset) - first))
    return np.concatenate(rows)[: len(dataset)]


def draw_codes(moments: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return autoencoder codes (b c f h w) drawn from their mean and standard deviation (b 2c f h w)."""
    mean, std = np.split(np.asarray(moments, np.float32), 2, axis=1)
    return mean + std * draws.standard_normal(mean.shape, np.float32)
