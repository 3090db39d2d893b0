"""The original's hyper-parameters of the networks that VideoComposer uses and never trains, to the params of ours.

Upstream: ali-vilab/videocomposer tools/videocomposer/autoencoder.py, artist/models/midas.py, tools/annotator/sketch;
open_clip 2.0.2. Each function takes the config of its network, or one with a section for it, and returns params by
component; an absent key has the value it has in the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videogen_cli.nets.params.midas import MiDaSParams
from videogen_cli.nets.params.pidinet import OPERATORS, PiDiNetParams
from videogen_cli.nets.params.sketch import SketchSimplificationParams
from videogen_cli.originals import LAYERS_SKIPPED, looked_up, required
from videogen_cli.weights.keys.openclip import openclip_params
from videogen_cli.weights.latent_autoencoder import autoencoder_params

Config = Mapping[str, Any]


def vae_params(config: Config) -> dict[str, Any]:
    """Return ``vae``, of ``ddconfig`` and ``embed_dim``.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    return {"vae": autoencoder_params(required(config, "ddconfig"), config.get("embed_dim", 4))}


def clip_params(config: Config) -> dict[str, Any]:
    """Return ``clip``, whose text states are read at ``layer``: ``penultimate`` (before the last block) or ``last``.

    Raises:
        DataError: a key is missing, or its value asks for a network we do not have.
    """
    return {"clip": openclip_params(config, looked_up(config.get("layer", "penultimate"), LAYERS_SKIPPED, "layer"))}


def midas_params(config: Config) -> dict[str, Any]:
    """Return ``midas``."""
    config = config.get("midas", config)
    names = {
        "image_size": "image_size",
        "patch_size": "patch_size",
        "dim": "width",
        "neck_dims": "neck_channels",
        "fusion_dim": "fusion_channels",
        "num_heads": "heads",
        "num_layers": "layers",
    }
    return {"midas": replace(MiDaSParams(), **{ours: config[name] for name, ours in names.items() if name in config})}


def pidinet_params(config: Config) -> dict[str, Any]:
    """Return ``pidinet``.

    Raises:
        DataError: a key is missing, or there is no such list of operators.
    """
    config = config.get("pidinet", config)
    looked_up(required(config, "pdcs", "pidinet"), OPERATORS, "pidinet.pdcs")
    return {
        "pidinet": PiDiNetParams(
            channels=required(config, "inplane", "pidinet"),
            dilation_channels=config.get("dil") or 0,
            attention=config.get("sa", False),
            operators=config["pdcs"],
            converted=config.get("converted", False),
        )
    }


def sketch_params(config: Config) -> dict[str, Any]:
    """Return ``sketch``."""
    config = config.get("sketch", config)
    given = {name: config[name] for name in ("mean", "std", "width_divisor") if name in config}
    return {"sketch": replace(SketchSimplificationParams(), **given)}
