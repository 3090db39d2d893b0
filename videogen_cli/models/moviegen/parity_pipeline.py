"""How golden cases of the whole of Movie Gen are run: text states to frames, in upstream's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.models.moviegen import params_tae, pipeline
from videogen_cli.models.moviegen.parity import denoise, require_size

_TILE, _OVERLAP = 32, 16  # of decoding, in frames; upstream's


def pipeline_t2v(case: Case) -> dict[str, Any]:
    """Sample from ``noise`` (b f c h w) with the case's text, and decode what the config asks for."""
    config = case.config
    transformer = networks(case, ("transformer",), "llama", role="transformer")["transformer"]
    require_size(case, case.inputs["noise"])
    method, steps = config.get("sample_method", "linear"), int(config.get("num_sampling_steps", 50))
    latents = denoise(case, transformer, config, method, steps)["latents"]
    tae = networks(_tae_case(case), ("tae",), "tae")["tae"]
    frames = pipeline.to_frames(
        latents,
        config["num_frames"],
        lambda part: call(tae.decode, part),
        params_tae.component_params(config)["tae"],
        _tiles(config),
    )
    return {"latents": latents, "frames": frames}


def _tiles(config: Mapping[str, Any]) -> tuple[int, int] | None:
    if not config.get("use_tile", False):
        return None
    return config.get("decode_tile", _TILE), config.get("decode_overlap", _OVERLAP)


def _tae_case(case: Case) -> Case:
    """Return the case as one of the autoencoder alone, whose weights the config names."""
    return replace(case, record={**case.record, "weights": case.config["tae_weights"]})
