"""VideoCrafter2's student as a user meets it first: a preset whose weights lie on a hub, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_server import HubServer, serving
from made_files import Tensor, write_torch_zip
from vgen_process import run_vgen

from tests.conftest import find_golden, read_golden
from tests.models.t2v_turbo.worlds import World
from videogen_cli.weights import open_checkpoint

PLUGIN = """
from dataclasses import replace
from pathlib import Path
from videogen_cli.models.t2v_turbo import SPEC as T2V_TURBO
from videogen_cli.registry import PublishedFile

SPEC = replace(
    T2V_TURBO,
    name="mini-turbo",
    presets_dir=Path(__file__).with_name("presets"),
    published=(
        PublishedFile("teacher", "mini/teacher", ("model.ckpt",), 300_000, "vc2", preset="mini"),
        PublishedFile("lora", "mini/student", ("unet_lora.pt",), 200_000, "lora", preset="mini"),
    ),
)
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World("vc2", tmp_path, find_golden, read_golden)


@pytest.fixture
def hub(world: World) -> Iterator[HubServer]:
    """Serve the case's teacher in VideoCrafter2's container, three networks in one file, and its factors."""
    tensors: dict[str, Any] = {}
    for source in dict.fromkeys(world.record["weights"]["base"]):
        tensors |= open_checkpoint(world.case / source).tensors
    content = {name: Tensor(str(number), tensor.numpy()) for number, (name, tensor) in enumerate(tensors.items())}
    teacher = write_torch_zip(world.folder / "model.ckpt", {"state_dict": content})
    factors = world.case / world.record["weights"]["lora"]
    with serving(
        {"mini/teacher/model.ckpt": teacher.read_bytes(), "mini/student/unet_lora.pt": factors.read_bytes()}
    ) as s:
        yield s


def install(world: World, site: Path) -> dict[str, str]:
    """Write a plugin whose one preset is the case's config with published weights; return where it is found."""
    config = yaml.safe_load(world.config_file.read_text())
    teacher = dict.fromkeys(("unet", "vae", "text"), "hub:mini-turbo/teacher")
    config["weights"] |= {**teacher, "lora": "hub:mini-turbo/lora"}
    config["sample"]["sampler"] = "lcm"  # as the preset vc2 has it
    (site / "presets").mkdir(parents=True)
    (site / "presets" / "mini.yaml").write_text(yaml.safe_dump(config))
    (site / "mini_turbo.py").write_text(PLUGIN)
    info = site / "mini_turbo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mini-turbo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vgen.models]\nmini-turbo = mini_turbo:SPEC\n")
    return {"PYTHONPATH": str(site), "HF_HOME": str(site / "hf"), "XDG_CACHE_HOME": str(site / "cache")}


def test_it_is_fetched_converted_and_merged_into_what_given_files_make(world: World, hub: HubServer) -> None:
    places = install(world, world.folder / "site")
    prompt = ("--prompt", "a red circle", "--format", "npy", "--json")

    def made(name: str, *arguments: str, **environment: str) -> tuple[dict[str, Any], np.ndarray]:
        folder = world.folder / name
        done = run_vgen("infer", *arguments, *prompt, "--output-dir", str(folder), **environment)
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)
        return record, np.load(folder / record["file"])

    hub.cuts = [100_000]
    online = {**places, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0"}
    record, first = made("first", "mini-turbo", "--preset", "mini", **online)
    assert {uri.partition("@")[0] for uri in record["weights"].values()} >= {"hub:mini-turbo/teacher"}
    assert [given for kind, name, given in hub.requests if kind == "GET"] == ["", "bytes=100000-", ""]
    _, given = made("given", "t2v-turbo", "--preset", "vc2", "-c", str(world.config_file))
    assert (first == given).all() and first.std() > 1
