"""Full-size networks have exactly the published files' names, shapes and order."""

import json
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
from networks import our_name

from videogen_cli.nets.lora import adapted_modules
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.runtime.cells import shapes
from videogen_cli.runtime.module import build
from videogen_cli.weights.readers import open_manifest

PREFIXES = {"teacher": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model.model."}


@pytest.fixture(scope="module")
def skeletons():
    script = Path(__file__).with_name("published_shapes.py")
    return json.loads(subprocess.run([sys.executable, script], capture_output=True, check=True).stdout)


@pytest.fixture
def manifest(golden_path):
    folder = golden_path("t2v-turbo/vc2-unet-teacher").parents[2] / "manifests" / "t2v-turbo"

    def read(name, prefix=""):
        if not folder.is_dir():
            pytest.skip("manifests are not here")
        tensors = open_manifest(folder / name).tensors.items()
        return [[our_name(k[len(prefix) :]), list(v.shape)] for k, v in tensors if k.startswith(prefix)]

    return read


@pytest.mark.parametrize(("network", "size"), [("teacher", 1_413_284_420), ("vae", 83_653_863), ("text", 354_032_641)])
def test_videocrafter2_file(skeletons, manifest, network, size):
    assert sum(prod(shape) for _, shape in skeletons["shapes"][network]) == size
    assert skeletons["shapes"][network] == manifest("VideoCrafter2-model.ckpt.json.gz", PREFIXES[network])


@pytest.mark.parametrize(
    ("network", "file"),
    [("student", "T2V-Turbo-VC2-Merged-unet.json"), ("motion", "T2V-Turbo-v2-unet_mg.pt.json")],
)
def test_student_files(skeletons, manifest, network, file):
    assert skeletons["shapes"][network] == manifest(file)


def test_adapted_layers_match_the_published_lora(skeletons, manifest):
    factors = [shape for _, shape in manifest("T2V-Turbo-VC2-unet_lora.pt.json")]
    layers = skeletons["adapted"]
    assert len(layers) == 575 == len(factors) // 2
    for (name, _, shape), up, down in zip(layers, factors[::2], factors[1::2], strict=True):
        rank = min(64, *shape[:2])
        assert up == [shape[0], rank, *[1] * (len(shape) - 2)], name
        assert down == [rank, *shape[1:]], name


def test_adapted_layers_are_in_module_order(golden):
    config, _, _ = golden("t2v-turbo/vc2-lora-merged")
    params = UNet3DParams(
        model_channels=32, channel_mult=[1, 2, 1], num_res_blocks=1, attention_resolutions=[1], num_head_channels=8,
        context_dim=24, time_cond_proj_dim=256,
    )  # fmt: skip
    names = [module.name for module in adapted_modules(build(UNet3D, params))]
    assert names == [our_name(name) for name in config["module_order"]]


def test_running_networks_have_the_skeletons_names(skeletons):
    cell = build(UNet3D, UNet3DParams(time_cond_proj_dim=256))
    assert [[name, list(shape)] for name, shape in shapes(cell).items()] == skeletons["shapes"]["student"]
    assert [list(module)[:2] for module in adapted_modules(cell)] == [row[:2] for row in skeletons["adapted"]]
