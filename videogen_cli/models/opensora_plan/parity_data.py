"""How golden cases of data, captions and measures are run; every function takes a case and returns its outputs.

Cases with ``rows`` say how many there are; what is returned is the number of rows that come out as recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from videogen_cli.data.captions import clean_caption, plain_caption
from videogen_cli.errors import DataError
from videogen_cli.metrics.image import gaussian, psnr, ssim, to_uint8
from videogen_cli.metrics.parity import Case
from videogen_cli.models.opensora_plan.data import centre_crop, clip_end, frame_indices, last_begin, square, to_pixels

Outputs = dict[str, Any]
_HIGHEST_PSNR = 100.0  # of frames that differ by less than 1e-10, in Open-Sora-Plan
_INFINITE = 1e9  # how cases store the PSNR of equal frames, in the MindSpore port


def data_frame_sampling(case: Case) -> Outputs:
    """Which frames a clip has, from the drawn ``begin``."""

    def row(given: Mapping[str, Any]) -> Mapping[str, Any]:
        total, count, rate, begin = (given[key] for key in ("total_frames", "num_frames", "sample_rate", "begin"))
        return {
            "max_begin": last_begin(total, count, rate),
            "end": clip_end(total, count, rate, begin),
            "indices": frame_indices(total, count, rate, begin).tolist(),
        }

    return {"n": _matching(case, row)}


def text_preprocess(case: Case) -> Outputs:
    """Captions as in training and in sampling, and those that are not cleaned."""

    def row(given: Mapping[str, Any]) -> Mapping[str, Any]:
        raw = given["raw"]
        return {
            "cleaned_train": clean_caption(raw),
            "cleaned_infer": clean_caption(raw, strip=False),
            "no_clean": plain_caption(raw),
        }

    return {"n": _matching(case, row)}


def data_transform(case: Case) -> Outputs:
    """Every clip as the transformer's training sees it, and as the autoencoder's."""
    results: Outputs = {}
    for spec in case.config["specs"]:
        pixels, index = to_pixels(case.inputs[spec["clip"]]), spec["clip"].removeprefix("clip")
        if "size" in spec:
            results[f"center_crop_resize{index}"] = 2 * square(pixels, spec["size"]) - 1
        if "crop" in spec:
            results[f"center_crop{index}"] = 2 * centre_crop(pixels, spec["crop"]) - 1
    return results


def eval_psnr_ssim(case: Case) -> Outputs:
    """Both measures as Open-Sora-Plan takes them of videos (b t c h w) in [0, 1], and as its MindSpore port does."""
    videos = case.inputs["real"], case.inputs["generated"]
    shape = videos[0].shape[:2]
    real, made = (video.reshape(-1, *video.shape[2:]).transpose(0, 2, 3, 1) for video in videos)
    peak = np.minimum(psnr(real, made, 1.0), _HIGHEST_PSNR).reshape(shape)
    likeness = ssim(real, made, gaussian(), 1.0).reshape(shape)
    eight_bit = to_uint8(2 * real - 1), to_uint8(2 * made - 1)
    return {
        "psnr_frames": peak,
        "psnr_per_frame_mean": peak.mean(0),
        "psnr": peak.mean(),
        "ssim_frames": likeness,
        "ssim_per_frame_mean": likeness.mean(0),
        "ssim": likeness.mean(),
        "ms_psnr_frames": np.minimum(psnr(*eight_bit), _INFINITE),
        "ms_ssim_frames": ssim(*eight_bit),
    }


def _matching(case: Case, compute: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
    """Return how many of a case's rows have the values that ``compute`` finds from them.

    Raises:
        DataError: the case has no rows, or one of them lacks a field.
    """
    rows = case.record.get("rows")
    if not rows:
        raise DataError("has no rows", where=case.name)
    try:
        return sum(all(row[key] == value for key, value in compute(row).items()) for row in rows)
    except KeyError as error:
        raise DataError(f"a row lacks {error}", where=case.name) from error
