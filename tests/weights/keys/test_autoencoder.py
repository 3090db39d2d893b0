"""Every layout in which diffusers keeps the frame-wise autoencoder has its place, and comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.vae2d import AutoencoderKL
from videogen_cli.runtime.cells import shapes
from videogen_cli.weights.keymap import rename
from videogen_cli.weights.keys.autoencoder import DiffusersKeys, DiffusersLayout, layout_of, ldm_named
from videogen_cli.weights.tensor import from_array

KEYS = DiffusersKeys((rename("unet.{*}", "unet.{*}"),), source="first.")
LAYOUTS = [
    DiffusersLayout(levels, old, kernels) for levels in (1, 2, 3) for old in (False, True) for kernels in (False, True)
]


def ours(levels: int) -> dict:
    params = AutoencoderKLParams(base_channels=4, channel_mult=[1, 2, 1][:levels], num_res_blocks=1, norm_groups=2)
    draws = np.random.default_rng(levels)
    return {
        f"vae.{name}": from_array(draws.standard_normal(shape).astype(np.float32))
        for name, shape in shapes(AutoencoderKL(params)).items()
    }


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.levels} levels, {layout.word}")
def test_there_and_back(layout: DiffusersLayout) -> None:
    tensors = ours(layout.levels)
    theirs = KEYS.fitted(layout).export(tensors).tensors
    assert layout_of(theirs, "first.") == layout
    query = "query" if layout.old_attention else "to_q"
    assert len(theirs[f"first.encoder.mid_block.attentions.0.{query}.weight"].shape) == (4 if layout.kernels else 2)
    account = KEYS.account(theirs, {name: tensor.shape for name, tensor in tensors.items()})
    assert account.ok
    assert all(np.array_equal(account.tensors[name].numpy(), tensor.numpy()) for name, tensor in tensors.items())
    back = KEYS.export(account.tensors, account.metadata).tensors
    assert {name: tensor.shape for name, tensor in back.items()} == {n: t.shape for n, t in theirs.items()}
    assert all(np.array_equal(back[name].numpy(), tensor.numpy()) for name, tensor in theirs.items())
    named, origin = ldm_named(theirs, "first.")
    assert {f"vae.{name}": tensor.shape for name, tensor in named.items()} == {n: t.shape for n, t in tensors.items()}
    assert origin["quant_conv.bias"] == "first.quant_conv.bias"


def test_levels_are_numbered_from_the_other_end() -> None:
    account = KEYS.account(KEYS.fitted(DiffusersLayout(3)).export(ours(3)).tensors, dict.fromkeys(ours(3), ()))
    sources = {item.target: item.source for item in account.mismatched}
    assert sources["vae.decoder.up.2.block.0.norm1.weight"] == "first.decoder.up_blocks.0.resnets.0.norm1.weight"
    assert sources["vae.encoder.down.2.block.0.norm1.weight"] == "first.encoder.down_blocks.2.resnets.0.norm1.weight"


def test_latent_diffusions_names_stay() -> None:
    tensors = {name.removeprefix("vae."): tensor for name, tensor in ours(2).items()}
    named, origin = ldm_named(tensors)
    assert list(named) == list(origin) == list(tensors)


@pytest.mark.parametrize("name", ["sd_vae_ft_mse_diffusers", "sd_vae_ft_mse_ldm"])
def test_published_names(name: str, manifest_path: Callable[[str], Path]) -> None:
    listed = json.loads(manifest_path(f"opensora-plan/{name}.json").read_text())["tensors"]
    tensors = {key: from_array(np.broadcast_to(np.float32(0), entry["shape"])) for key, entry in listed.items()}
    named = {name: tensor.shape for name, tensor in ldm_named(tensors)[0].items()}
    assert named == shapes(AutoencoderKL(AutoencoderKLParams()))
