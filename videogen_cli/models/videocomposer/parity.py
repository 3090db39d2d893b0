"""How the golden cases of VideoComposer are run, those around its UNet excepted (:mod:`.parity_unet`).

Inputs and outputs have upstream's names (ali-vilab/videocomposer). Shapes: b samples, c channels, f frames, h w pixels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data import masks, transforms
from videogen_cli.data.motion_vectors import read_motion
from videogen_cli.data.tokenizers import OPENCLIP, load_tokenizer
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.models.videocomposer.conditions import (
    depth_condition,
    midas_input,
    pidinet_input,
    sketch_condition,
)
from videogen_cli.models.videocomposer.parity_unet import sampling_loop

Outputs = dict[str, Any]
LATENT_SCALE = 0.18215
_MASKS = {"irregular": masks.irregular_mask, "rectangle": masks.rectangle_mask, "uncrop": masks.half_mask}


def vae(case: Case) -> Outputs:
    """Encode frames ``x`` (n 3 h w) with the posterior noise ``eps``, and decode scaled latents ``z``."""
    cell, given, scale = networks(case, ("vae",), "sd")["vae"], case.inputs, _latent_scale(case)
    results: Outputs = {}
    if "x" in given:
        mean, logvar = call(cell.encode, given["x"])
        moments = call(lambda x: cell.quant_conv(cell.encoder(x)), given["x"])
        results |= {"moments": moments, "mean": mean, "logvar": logvar}
        if "eps" in given:
            results["latent_scaled"] = scale * (mean + np.exp(0.5 * logvar) * given["eps"])
    if "z" in given:
        results["decoded"] = call(cell.decode, given["z"] / scale)
    return results


def clip(case: Case) -> Outputs:
    """Text states before and after the last block, and the image's feature."""
    cell, given = networks(case, ("clip",), "openclip")["clip"], case.inputs
    results: Outputs = {}
    if "tokens" in given:
        for output, blocks in (("text_penultimate", cell.text.layers - 1), ("text_last", cell.text.layers)):
            results[output] = call(partial(cell.text.states, blocks=blocks), given["tokens"])
    if "image" in given:
        results["image_feature"] = call(cell.visual, given["image"])
    return results


def tokenizer(case: Case) -> Outputs:
    """Ids of ``texts``."""
    return {"tokens": load_tokenizer(OPENCLIP, case.config.get("context_length", 77)).encode(case.record["texts"])}


def midas(case: Case) -> Outputs:
    """Depth, and the condition made of it, of every set of frames."""
    cell, results = networks(case, ("midas",), "midas")["midas"], {}
    for index, frames in _numbered(case, "frames"):
        depth = call(cell, midas_input(frames))
        scale, most = case.config.get("depth_std", 20.0), case.config.get("depth_clamp", 10.0)
        results |= {f"depth{index}": depth, f"condition{index}": depth_condition(depth, scale, most)}
    return results


def pidinet(case: Case) -> Outputs:
    """Edges of every set of frames, and the plain convolutions' kernels, as many rows as are recorded."""
    cell, results = networks(case, ("pidinet",), "pidinet")["pidinet"], {}
    from videogen_cli.nets.pidinet import DifferenceConv  # only now that the device is started is it the network's

    for index, frames in _numbered(case, "frames"):
        results[f"edge{index}"] = call(cell, pidinet_input(frames))
    for name, part in cell.cells_and_names():
        output = f"vanilla.{name}.weight"
        if isinstance(part, DifferenceConv) and output in case.outputs:
            results[output] = part.kernel().asnumpy()[: len(case.outputs[output])]
    return results


def condition_sketch(case: Case) -> Outputs:
    """The simplification of ``lines``, and the chain from ``frames`` to the condition."""
    cell, given = networks(case, ("sketch",), "sketch")["sketch"], case.inputs
    results: Outputs = {}
    if "lines" in given:
        results["cleaned"] = call(cell, given["lines"])
    if "frames" in given:
        detector = networks(_with(case, "weights_pidinet"), ("pidinet",), "pidinet")["pidinet"]
        edge = call(detector, pidinet_input(given["frames"]))
        results |= {"edge": edge, "sketch": sketch_condition(partial(call, cell), edge)}
    return results


def condition_mask(case: Case) -> Outputs:
    """Holes of each kind drawn from the seed, and the condition made of ``frames`` and ``mask``."""
    config, given, results = case.config, case.inputs, {}
    for name, draw in _MASKS.items():
        if name in case.outputs:
            size = config.get("size", masks.CANVAS)
            mask = draw(np.random.RandomState(config["seed"]), size, size)
            results[name] = masks.resize_nearest(mask, config.get("resized", size))
    if "frames" in given:
        results["masked"] = masks.masked_frames(given["frames"], given["mask"])
    return results


def condition_motion(case: Case) -> Outputs:
    """Vectors of the re-encoded stream (``.m4v``) and of its source, and the condition of the first window."""
    files = {Path(name).suffix: case.path(name) for name in case.record["files"]}
    if ".m4v" not in files:
        raise DataError("has no re-encoded stream (.m4v)", where=case.name)
    clip, config = read_motion(files[".m4v"]), case.config
    length = config.get("max_frames", 16)
    starts = clip.starts(length)
    if not len(starts):
        raise DataError(f"has no window of {length} frames", where=str(files[".m4v"]))
    start = int(starts[0])
    results: Outputs = {
        "start_candidates": starts,
        "is_I": clip.intra,
        "motion": clip.condition(start, length, config["resolution"]),
        "field_sparse_frame1": clip.field(start + 1),
        "field_sparse_last": clip.field(start + length - 1),
        "frame0_bgr": clip.frames[0, ::4, ::4, ::-1],
        **{f"mvs.frame{index}": table for index, table in enumerate(clip.tables)},
    }
    for suffix in files.keys() - {".m4v"}:
        tables = read_motion(files[suffix]).tables
        results |= {f"h264.mvs.frame{index}": table for index, table in enumerate(tables)}
    return results


def preprocess_frames(case: Case) -> Outputs:
    """Every view of every image: the autoencoder's, the extractors' with each filter, and CLIP's two."""
    config, results = case.config, {}
    for index, image in _numbered(case, "image"):
        pixels = image.astype(np.uint8)
        for name in transforms.FILTERS:
            results[f"misc_{name}{index}"] = transforms.condition_frames(pixels[None], config["misc_size"], name)[0]
        results |= {
            f"video{index}": transforms.latent_frames(pixels[None], config["resolution"])[0],
            f"style{index}": transforms.clip_image(pixels, config["vit_image_size"]),
            f"vit{index}": transforms.style_frame(pixels, config["vit_image_size"]),
        }
    return results


def pipeline(case: Case) -> Outputs:
    """Noise to frames: the guided loop, then the autoencoder."""
    latents = sampling_loop(case)["x0"]
    cell = networks(_with(case, "weights_vae"), ("vae",), "sd")["vae"]
    b, c, f, h, w = latents.shape
    images = call(cell.decode, latents.transpose(0, 2, 1, 3, 4).reshape(b * f, c, h, w) / _latent_scale(case))
    decoded = images.reshape(b, f, *images.shape[1:]).transpose(0, 2, 1, 3, 4)
    return {"x0": latents, "decoded": decoded, "frames01": np.clip(decoded * 0.5 + 0.5, 0, 1)}


def _latent_scale(case: Case) -> np.float32:
    return np.float32(case.config.get("scale_factor", LATENT_SCALE))


def _numbered(case: Case, name: str) -> list[tuple[str, np.ndarray]]:
    """Return the inputs called ``name`` and a number, with that number."""
    return [(key.removeprefix(name), value) for key, value in case.inputs.items() if key.startswith(name)]


def _with(case: Case, key: str) -> Case:
    """Return the case with the weights named under ``key`` as its only ones.

    Raises:
        DataError: it names none.
    """
    if key not in case.record:
        raise DataError(f"lacks '{key}'", where=case.name)
    return replace(case, record={**case.record, "weights": case.record[key]})
