"""How golden cases of the video autoencoder, its training loss and its inflation are run.

Shapes: b samples, c channels, t frames, h w pixels or latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import gradients, in_double, norm
from videogen_cli.metrics.parity_networks import build, call, networks, tensor
from videogen_cli.models.opensora_plan.weights_vae import INFLATED_KEYS, image_params, vae_params
from videogen_cli.runtime.tiling import Tiling
from videogen_cli.weights.inflation import InflatedKeys
from videogen_cli.weights.keymap import KeyMap
from videogen_cli.weights.keys.autoencoder import ldm_named
from videogen_cli.weights.readers import open_checkpoint

Outputs = dict[str, Any]
LATENT_SCALE = 0.18215
KL_WEIGHT = 1e-6  # of the recorded training step


def vae(case: Case) -> Outputs:
    """Encode ``video`` and ``image``, sample with ``noise``, decode ``latent``, and a training step of both halves."""
    cell, given = networks(case, ("vae",), "causal-vae", role="vae")["vae"], case.inputs
    results: Outputs = {}
    if "video" in given:
        results |= _encoded(call(cell.moments, given["video"]))
    if "noise" in given:
        results["latent_sample"] = results["mean"] + results["std"] * given["noise"]
        results["latent_scaled"] = results["latent_sample"] * np.float32(LATENT_SCALE)
    if "latent" in given:
        results["recon"] = call(cell.decode, given["latent"])
    if "image" in given:
        moments = call(cell.moments, given["image"])
        results |= {"image_moments": moments, "image_recon": call(cell.decode, _encoded(moments)["mean"])}
    if any(name.startswith("train.") for name in case.outputs):
        results |= {f"train.{name}": value for name, value in _trained(cell, case).items()}
    return results


def vae_tiled(case: Case) -> Outputs:
    """Encode ``video`` and decode ``latent``, whole and in tiles."""
    cell, config = networks(case, ("vae",), "causal-vae", role="vae")["vae"], case.config
    levels = len(vae_params(config)["vae"].hidden_size_mult)
    size = config.get("tile_sample_min_size", Tiling.sample_size)
    tiling = Tiling(
        size,
        config.get("tile_latent_min_size", int(size / 2 ** (levels - 1))),
        config.get("tile_overlap_factor", Tiling.overlap),
    )
    results: Outputs = {}
    for name, function, tiles in (("moments", cell.moments, tiling.encode), ("recon", cell.decode, tiling.decode)):
        given = case.inputs.get("video" if name == "moments" else "latent")
        if given is not None:
            results[f"untiled_{name}"] = call(function, given)
            results[f"tiled_{name}"] = tiles(lambda part, run=function: call(run, part), given)
    return results


def vae_inflate(case: Case) -> Outputs:
    """Compare an image autoencoder with the video autoencoder made of it, and every kernel with its recorded sums."""
    given = case.inputs
    cell = build(case, {"vae": vae_params(case.config)["vae"]})["vae"]
    lazy = load_at(case, INFLATED_KEYS, {"vae": cell})["vae"]
    weights = {name: part.float32() for name, part in lazy.items()}
    if "expected_3d" in case.record:
        _check_kernels(case.record["expected_3d"], weights)
    results: Outputs = {f"w.{name}": value for name, value in weights.items()}
    if "image" in given:
        image = given["image"][:, :, None]
        flat = _image_autoencoder(case)
        results["vae2d_moments"] = call(lambda x: flat.quant_conv(flat.encoder(x)), given["image"])
        results["vae3d_image_moments"] = call(cell.moments, image)
        if "latent2d" in given:
            results["vae2d_recon"] = call(flat.decode, given["latent2d"])
            results["vae3d_image_recon"] = call(cell.decode, given["latent2d"][:, :, None])
    if "video" in given:
        results["vae3d_video_moments"] = moments = call(cell.moments, given["video"])
        results["vae3d_video_recon"] = call(cell.decode, _encoded(moments)["mean"])
    return results


def lpips(case: Case) -> Outputs:
    """The distance of ``input`` and ``target`` (n 3 h w), its gradient by the input, and means of the features."""
    cell = networks(case, ("lpips",), "lpips")["lpips"]
    images, others = case.inputs["input"], case.inputs["target"]
    features = call(cell.features, images)
    return {
        "distance": call(cell, images, others),
        "grad_input": input_gradients(lambda x: cell(x, tensor(others)).sum(), images)[1][0],
        **{f"feat_mean_{index}": part.mean(dtype=np.float64) for index, part in enumerate(features)},
    }


def _encoded(moments: np.ndarray) -> Outputs:
    mean, logvar = np.split(moments, 2, 1)
    logvar = np.clip(logvar, -30.0, 20.0)
    return {"moments": moments, "mean": mean, "logvar": logvar, "std": np.exp(0.5 * logvar)}


def _trained(cell: Any, case: Case) -> Outputs:
    """One step of the autoencoder on absolute error and divergence alone, by the original's names."""
    from videogen_cli.nets.autoencoder_loss import kl_divergence
    from videogen_cli.nets.vae3d import posterior
    from videogen_cli.runtime import functional as F

    def loss(video: Any, noise: Any) -> Any:
        mean, logvar = posterior(cell.moments(video))
        recon = cell.decode(mean + F.exp(0.5 * logvar) * noise)
        error = (video - recon).abs().sum() / (video.shape[0] * video.shape[2])
        kl = kl_divergence(mean, logvar)
        return error + KL_WEIGHT * kl, kl, recon

    in_double(cell)
    given = case.inputs["video"], case.inputs["noise"]
    (total, kl, recon), grads = gradients(loss, {"vae": cell}, *given, real=np.float64)
    named = {f"grad.{name.removeprefix('vae.')}": value for name, value in grads.items()}
    return {"loss": total, "kl_loss": kl, "recon": recon, "grad_norm": norm(grads), **named}


def load_at(case: Case, key_map: Any, cells: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Load cells that stand at dotted names of the components, and return their weights by the cells' own names."""
    from videogen_cli.runtime import module

    tensors = {name: lazy for path in case.weights() for name, lazy in key_map.open(path).tensors.items()}
    account = key_map.account(tensors, key_map.targets(cells))
    account.require_ok(case.name)
    loaded = {
        place: {n.removeprefix(f"{place}."): t for n, t in account.tensors.items() if n.startswith(f"{place}.")}
        for place in cells
    }
    for place, cell in cells.items():
        module.load(cell, loaded[place], where=f"{case.name}: {place}")
    return loaded


def input_gradients(
    loss: Any, *arrays: np.ndarray, real: type[np.floating] = np.float32
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Return the values of ``loss`` (a scalar first) and the gradients of that by ``arrays``, cast to ``real``."""
    from mindspore import value_and_grad

    def forward(*tensors: Any) -> Any:
        found = loss(*tensors)
        return found if isinstance(found, tuple) else (found, found)

    differentiate: Any = value_and_grad
    places = tuple(range(len(arrays)))
    found, grads = differentiate(forward, grad_position=places, has_aux=True)(
        *(tensor(array, real) for array in arrays)
    )
    grads = grads if isinstance(grads, tuple) else (grads,)  # a single one comes bare
    return tuple(part.asnumpy() for part in found), tuple(part.asnumpy() for part in grads)


def _image_autoencoder(case: Case) -> Any:
    """Return the image autoencoder of ``vae2d``'s sizes with the case's weights."""
    from videogen_cli.nets.vae2d import AutoencoderKL
    from videogen_cli.runtime import module

    cell = module.build(AutoencoderKL, image_params(case.config["vae2d"]))
    tensors = {name: lazy for path in case.weights() for name, lazy in open_checkpoint(path).tensors.items()}
    beside = KeyMap(InflatedKeys.rules)  # what such files hold beside the autoencoder
    named = {name: lazy for name, lazy in ldm_named(tensors)[0].items() if not beside.resolve(name)}
    module.load(cell, named, where=f"{case.name}: image autoencoder")
    return cell


def _check_kernels(expected: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Any]) -> None:
    """Raise DataError naming the first inflated tensor whose shape or sums are not those recorded."""
    if odd := set(expected) ^ set(weights):
        raise DataError(f"'{min(odd)}' is not among both the inflated and the expected tensors")
    for name, record in expected.items():
        array = weights[name].astype(np.float64)
        sums = {"sum": array.sum(), "abs_sum": np.abs(array).sum()}
        if record.get("tail_abs_sum") is not None:
            sums["tail_abs_sum"] = np.abs(array[:, :, -1]).sum()
        same = [np.isclose(value, record[key], rtol=1e-5, atol=1e-5) for key, value in sums.items() if key in record]
        if list(array.shape) != list(record["shape"]) or not all(same):
            raise DataError(f"{list(array.shape)} with {sums}, expected {dict(record)}", where=name)
