"""Published files fit the default sizes, key by key."""

import pytest

from videogen_cli.models.moviegen import SPEC as MOVIEGEN
from videogen_cli.models.moviegen import MovieGenConfig
from videogen_cli.models.opensora_plan import SPEC as OPENSORA
from videogen_cli.models.opensora_plan import OpenSoraPlanConfig
from videogen_cli.nets.vae2d import AutoencoderKL
from videogen_cli.registry import load_attr
from videogen_cli.runtime.module import build
from videogen_cli.weights.keys.autoencoder import DiffusersKeys
from videogen_cli.weights.latent_autoencoder import diffusers_params
from videogen_cli.weights.readers import open_manifest

FILES = [
    ("tae", "moviegen/tae.json", 388),
    ("tae", "moviegen/tae_vae2d.json", 244),
    ("sd35-vae", "moviegen/sd35-vae.json", 244),
    ("lpips", "moviegen/lpips_vgg.json", 5),
    ("lpips", "moviegen/vgg16-mindcv.json", 13),
    ("ul2", "moviegen/ul2-encoder.json", 291),
    ("byt5", "moviegen/byt5-small-encoder.json", 111),
    ("metaclip", "moviegen/metaclip-bigG14-text.json", 517),
    ("t5", "opensora-plan/t5_v1_1_xxl_encoder.json", 219),
]


@pytest.mark.parametrize(("kind", "file", "used"), FILES)
def test_every_key_has_its_place(manifest_path, kind, file, used):
    model, config = (OPENSORA, OpenSoraPlanConfig()) if file.startswith("opensora") else (MOVIEGEN, MovieGenConfig())
    tensors = open_manifest(manifest_path(file)).tensors
    checkpoint = next(item for item in model.checkpoints if item.type == kind)
    key_map = load_attr(checkpoint.key_map)
    params = key_map.prepare({name: getattr(config, name) for name in checkpoint.components}, tensors)
    cells = {name: build(load_attr(model.component(name).build), params[name]) for name in checkpoint.components}
    account = key_map.account(tensors, key_map.targets(cells))
    assert account.ok and account.keys_used == used


def test_the_image_autoencoder_it_is_inflated_from(manifest_path):
    manifest = open_manifest(manifest_path("moviegen/sd35-vae.json"))
    key_map = DiffusersKeys(rules=())
    account = key_map.account(
        manifest.tensors, key_map.targets({"vae": build(AutoencoderKL, diffusers_params(manifest.config))})
    )
    assert account.ok and account.keys_used == 244
