"""How DEMO's golden cases of tokens, pixels and prompts are run; every function takes a case and returns its outputs.

Inputs and outputs have upstream's names (PR-Ryan/DEMO; open_clip 2.24.0, torchvision 0.16.2).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from videogen_cli.data.tokenizers import OPENCLIP, load_tokenizer
from videogen_cli.data.transforms import CLIP_MEAN, CLIP_STD, clip_image
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.models.demo.data import (
    TARGET_FPS,
    ClipWindow,
    clip_pixels,
    shards,
    wrapped_uint8,
)
from videogen_cli.runners.prompts import read_prompts

Outputs = dict[str, Any]


def tokenizer(case: Case) -> Outputs:
    """Ids of the case's texts."""
    tokens = load_tokenizer(OPENCLIP, case.config.get("context_length", 77))
    if case.config.get("vocab_size", tokens.vocab_size) != tokens.vocab_size:
        raise DataError(f"OpenCLIP's vocabulary has {tokens.vocab_size} ids", where="vocab_size")
    return {"tokens": tokens.encode(case.record.get("texts", case.config.get("texts", [])))}


def clip_preprocess(case: Case) -> Outputs:
    """CLIP's view of ``image`` (3 h w), and what upstream shows it of the same ``frame`` in [-1, 1]."""
    given, config = case.inputs, case.config
    image = np.ascontiguousarray(given["image"].transpose(1, 2, 0).astype(np.uint8))
    mean, std = config.get("mean", CLIP_MEAN), config.get("std", CLIP_STD)
    return {
        "clip_image": clip_image(image, config["image_size"], mean, std),
        "upstream_wrapped_uint8": wrapped_uint8(given["frame"]) if "frame" in given else None,
    }


def data_prompts(case: Case) -> Outputs:
    """The number of videos asked for; their distribution over ranks is checked on the way.

    Raises:
        DataError: the prompts cannot be read, or the ranks get other videos than the case says.
    """
    request: Any = SimpleNamespace(prompts=[], prompts_file=str(case.path("prompts.csv")))
    count = len(read_prompts(request)) * case.config.get("repeat_times", 5)
    for world, expected in case.record.get("shards", {}).items():
        if (found := shards(count, int(world))) != expected:
            raise DataError(f"{world} ranks get {found} instead of {expected}", where=case.name)
    return {"count": count}


def data_frame_indices(case: Case) -> Outputs:
    """The window in every file, and the frames taken from ``start`` on."""
    given, config = case.inputs, case.config
    frames, rate = config.get("sample_n_frames", 16), config.get("target_fps", TARGET_FPS)
    windows = [
        ClipWindow.of(int(total), float(fps), frames, rate)
        for total, fps in zip(given["video_length"], given["fps"], strict=True)
    ]
    return {
        "stride": [window.stride for window in windows],
        "clip_length": [window.length for window in windows],
        "max_start": [window.max_start for window in windows],
        "indices": np.stack(
            [window.indices(int(start)) for window, start in zip(windows, given["start"], strict=True)]
        ),
    }


def data_pixel_transform(case: Case) -> Outputs:
    """Pixels of ``frames`` (f 3 h w) as upstream's pinned torchvision makes them, and as later ones do."""
    height, width = case.config["resolution"]
    frames = case.inputs["frames"]
    return {
        "pixels": clip_pixels(frames, (height, width)),
        "pixels_antialias": clip_pixels(frames, (height, width), antialias=True),
    }
