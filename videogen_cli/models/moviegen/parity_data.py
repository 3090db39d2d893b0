"""How golden cases of Movie Gen's data and metrics are run: case -> outputs, in upstream's names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from videogen_cli.data import buckets, latent_cache, text_embeddings
from videogen_cli.data.resize import resize_crop
from videogen_cli.errors import DataError
from videogen_cli.metrics.image import psnr, ssim, to_uint8
from videogen_cli.metrics.parity import Case

Outputs = dict[str, Any]


def data_buckets(case: Case) -> Outputs:
    """The size for every frame of ``hw``, by ``size<resolution>``.

    Raises:
        DataError: the case's own table of sizes is not ours.
    """
    for resolution, table in case.config.get("table", {}).items():
        ours = {ratio: list(size) for ratio, size in buckets.sizes(resolution).items()}
        _require_equal(ours, table, f"{case.name}: {resolution}")
    results: Outputs = {}
    for name in case.outputs:
        resolution = f"{re.sub(r'[^0-9]', '', name)}px"
        results[name] = [buckets.target_size(resolution, height, width) for height, width in case.config["hw"]]
    return results


def data_resize_crop(case: Case) -> Outputs:
    """Every ``x<i>`` at its target, by both interpolations."""
    config = case.config
    results: Outputs = {}
    for name in case.outputs:
        source, _, method = name.rpartition(".")
        target = config["targets"][int(source.removeprefix("x"))]
        frames = case.inputs[source].astype(np.uint8)
        results[name] = resize_crop(frames, tuple(target), method, config.get("preserve_orientation", True))
    return results


def data_latent_cache(case: Case) -> Outputs:
    """What is stored for ``mean`` and ``logvar``, and the latents drawn from it; the files must hold the same.

    Raises:
        DataError: a file holds something else than the case's moments.
    """
    given, config = case.inputs, case.config
    mean, std = latent_cache.moments(given["mean"], given["logvar"])
    rtol, atol = case.tolerance("latent_mean")
    for index, name in enumerate(config.get("files", ())):
        for stored, ours in zip(latent_cache.read(case.path(name)), (mean[index], std[index]), strict=True):
            if stored.shape != ours.shape or not np.allclose(ours, stored, rtol, atol):
                raise DataError("does not hold this case's moments", where=f"{case.name}: {name}")
    drawn = latent_cache.draw(mean, std, given["noise"], shift=config["shift_factor"], scale=config["scaling_factor"])
    return {"latent_mean": mean, "latent_std": std, "video": drawn}


def data_text_embedding_names(case: Case) -> Outputs:
    """The number of names; the names and captions themselves must be those of the config.

    Raises:
        DataError: a name or caption differs.
    """
    count, columns = 0, tuple(case.config.get("column_names", text_embeddings.COLUMNS))
    for name in case.config["files"]:
        path = case.path(name)
        found = [list(pair) for pair in text_embeddings.caption_files(path, columns)]
        _require_equal(found, case.config["expected"][path.name], f"{case.name}: {name}")
        count += len(found)
    return {"n": count}


def eval_metrics(case: Case) -> Outputs:
    """PSNR and SSIM of every frame of ``video`` and ``recon`` (b c f h w) as uint8."""
    video, recon = (_frames(to_uint8(case.inputs[name])) for name in ("video", "recon"))
    ratio, similarity = psnr(video, recon), ssim(video, recon)
    return {
        "video_u8": video,
        "recon_u8": recon,
        "psnr": ratio,
        "ssim": similarity,
        "mean_psnr": ratio.mean(),
        "mean_ssim": similarity.mean(),
    }


def _frames(clips: np.ndarray) -> np.ndarray:
    """Turn videos (b c f h w), or images (b c h w), into (b*f h w c)."""
    if clips.ndim == 4:
        clips = clips[:, :, None]
    return clips.transpose(0, 2, 3, 4, 1).reshape(-1, *clips.shape[3:], clips.shape[1])


def _require_equal(ours: Any, golden: Any, where: str) -> None:
    if ours != golden:
        raise DataError(f"gives {ours}, expected {golden}", where=where)
