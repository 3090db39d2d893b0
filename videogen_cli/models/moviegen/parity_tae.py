"""How golden cases of the TAE and its loss are run; names are upstream's."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from videogen_cli.errors import DataError
from videogen_cli.metrics import parity_gradients
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, checkpoint_kind, networks
from videogen_cli.models.moviegen import params_tae
from videogen_cli.models.moviegen.tiling import decode_tiles, encode_tiles
from videogen_cli.registry import load_attr
from videogen_cli.weights.readers import open_checkpoint

_KINDS = ("tae", "sd35-vae")
_TILED = re.compile(r"tiled\.e(\d+)\.d(\d+)\.o(\d+)\.")
_GRADIENT_SCALE = 1000.0  # cases keep gradients divided by this


def tae(case: Case) -> dict[str, Any]:
    """Encode ``video`` and ``image`` (b 3 f h w), draw with ``noise``, decode ``z``; whole and in tiles.

    Raises:
        DataError: the case names another kind of checkpoint.
    """
    kind = case.record["checkpoint_type"]
    if kind not in _KINDS:
        raise DataError(f"'{kind}' is not one of {', '.join(_KINDS)}", where="checkpoint_type")
    cell = networks(case, ("tae",), kind, role="vae")["tae"]
    results: dict[str, Any] = {}
    for name in ("video", "image"):
        if name in case.inputs:
            mean, logvar = call(cell.encode, case.inputs[name])
            results |= {f"{name}.mean": mean, f"{name}.logvar": logvar}
            if f"{name}.decode" in case.outputs:
                results[f"{name}.decode"] = call(cell.decode, mean)
    if "z" in case.inputs:
        results["decode"] = call(cell.decode, case.inputs["z"])
        results["decode_image"] = call(cell.decode, case.inputs["z"][:, :, :1])
    if "noise" in case.inputs:
        results["recon"], results["z_sample"], *_ = call(cell, case.inputs["video"], case.inputs["noise"])
    return {**results, **_tiled(cell, case)}


def loss_tae(case: Case) -> dict[str, Any]:
    """Run the training loss of ``video`` (b 3 f h w) with the latents drawn with ``noise``, and its gradients."""
    cells = networks(case, ("tae", "lpips"), "tae")
    from videogen_cli.models.moviegen.tae_loss import TAELoss

    loss = TAELoss(cells["tae"], cells["lpips"], replace(params_tae.loss_params(case.config), **_logvar(case)))
    trained = {"tae": cells["tae"]}
    outputs, grads = parity_gradients.gradients(loss, trained, case.inputs["video"], case.inputs["noise"])
    names = (
        "loss_without_opl",
        "loss",
        "weighted_nll",
        "weighted_kl",
        "opl",
        "l1_sum_per_frame",
        "lpips",
        "recon",
        "z",
    )
    by_name = parity_gradients.by_original_name(case, "tae", grads)
    return {
        **dict(zip(names, outputs, strict=True)),
        "grad_norm_without_opl": parity_gradients.norm(grads),
        **{f"grad.{name}": value / _GRADIENT_SCALE for name, value in by_name.items()},
    }


def _tiled(cell: Any, case: Case) -> dict[str, Any]:
    """Encode ``video`` and decode ``z`` in the tiles that the outputs' names give (frames)."""
    params = load_attr(checkpoint_kind(case, "tae").params)(case.config)["tae"]
    results: dict[str, Any] = {}
    for prefix, *sizes in {(match[0], *match.groups()) for match in map(_TILED.match, case.outputs) if match}:
        encode_tile, decode_tile, overlap = map(int, sizes)
        if (video := case.inputs.get("video")) is not None:
            mean, logvar = encode_tiles(lambda part: call(cell.encode, part), video, encode_tile, params)
            results |= {f"{prefix}mean": mean, f"{prefix}logvar": logvar}
        if (z := case.inputs.get("z")) is not None:
            found = decode_tiles(lambda part: call(cell.decode, part), z, decode_tile, overlap, params)
            results[f"{prefix}decode"] = found
    return results


def _logvar(case: Case) -> dict[str, float]:
    """Return the log-variance of the reconstruction where the weights hold it."""
    for path in case.weights():
        if (found := open_checkpoint(path).tensors.get("logvar")) is not None:
            return {"logvar": float(np.ravel(found.numpy())[0])}
    return {}
