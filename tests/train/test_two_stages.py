"""The script of two stages in the README, killed in the middle of each and run again, ends like one left alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from videogen_cli.data.moving_shapes import write_dataset
from videogen_cli.files import cache_root, sha256_file
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime.cells import shapes
from videogen_cli.runtime.kernels.build import library
from videogen_cli.train.metrics import TIME, read
from videogen_cli.weights.writer import save_safetensors

README = Path(__file__).parents[2] / "README.md"
STEPS = 3
TOWER = {"width": 16, "heads": 2, "layers": 1, "embed_dim": 16}
FRAMES = {"num_frames": 4, "height": 32, "width": 32}
VIDEO = {"image_size": 32, "patch_size": 16, "tubelet_size": 2, "num_frames": 4, "origin_num_frames": 4}
SMALL = {  # every network of the preset, with its own kinds of blocks, a few hundred times smaller
    "device": {"mode": "pynative", "threads": 1},
    "vae": {"base_channels": 4, "channel_mult": [1, 1, 1, 1], "norm_groups": 2},
    "text": {**TOWER, "skip_last": 0},
    "unet": {
        **{"model_channels": 8, "channel_mult": [1, 1], "attention_resolutions": [1], "num_head_channels": 8},
        **{"context_dim": 16, "norm_groups": 2, "init_attention_heads": 1},
    },
    "image_reward": {"text": TOWER, "vision": {**TOWER, "image_size": 32, "patch_size": 16}},
    "video_reward": {
        "embed_dim": 16,
        "text": {"width": 16, "layers": 1, "heads": 2, "inner_width": 16},
        "video": {**VIDEO, "width": 16, "depth": 1, "heads": 2, "mlp_width": 16, "pool_heads": 2, "pool_width": 16},
    },
    "data": FRAMES,
    "sample": FRAMES,
    "lora": {"rank": 2},
    "distill": {"image_reward_samples": 1, "image_reward_frames": 2, "video_reward_samples": 1},
    "train": {
        **{"batch_size": 2, "keep_checkpoints": STEPS, "log_every": 1, "tensorboard": False},
        **{"preview_every": 0, "validate_every": 0},
    },
    "weights": {"lora": "", "time_cond_proj": ""},
}


def script() -> str:
    """Return the README's script, with fewer steps, and a checkpoint after each."""
    (found,) = (block for block in re.findall(r"```bash\n(.*?)```", README.read_text(), re.S) if "--stage 2" in block)
    return re.sub(r"\b40\b", str(STEPS), found).replace("checkpoint_every=10", "checkpoint_every=1")


def runs(folder: Path) -> list[Path]:
    """Return where the script's stages write."""
    return [folder / name for name in re.findall(r"--output-dir (\S+)", script())]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Put a vgen of small networks with made weights on the path, and a cache that has this machine's kernels."""
    folder = tmp_path_factory.mktemp("small")
    file, model = folder / "small.yaml", spec("t2v-turbo")
    file.write_text(yaml.safe_dump(SMALL))
    config, draws = resolve_config(model, preset="tiny", stage="all", file=file).config, np.random.default_rng(0)
    weights = {}
    for component in model.components:
        sizes = shapes(load_attr(component.build)(getattr(config, component.name)))
        weights[component.name] = str(folder / f"{component.name}.safetensors")
        made = {name: 0.05 * draws.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}
        save_safetensors(Path(weights[component.name]), made, {})
    clips = {"path": str(write_dataset(folder / "clips", 0, num_clips=4, num_frames=4)), **FRAMES}
    file.write_text(yaml.safe_dump({**SMALL, "data": clips, "weights": {**SMALL["weights"], **weights}}))
    program = folder / "bin" / "vgen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m videogen_cli.cli.main "$@" -c "{file}"\n')
    program.chmod(0o755)
    cache = folder / "cache"
    if kernels := library().path:
        shutil.copytree(kernels.parent, cache / cache_root().name / "kernels" / kernels.parent.name)
        (cache / cache_root().name / "kernels").chmod(0o700)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache)}


@pytest.fixture
def start(environment) -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Give what runs the script in a folder, in a session of its own."""
    begun: list[subprocess.Popen[bytes]] = []

    def run(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        settings = {"cwd": folder, "env": environment, "stderr": subprocess.STDOUT, "start_new_session": True}
        with open(folder / "log", "ab") as log:
            begun.append(subprocess.Popen(["bash", "-c", script()], stdout=log, **settings))
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def outcome(folder: Path) -> list[object]:
    """Return what must be equal: hashes of all that is saved at the end of a stage, and metrics without timings."""
    found: list[object] = []
    for run in runs(folder):
        last = run / "checkpoints" / f"step-{STEPS}"
        found.append({path.name: sha256_file(path) for path in sorted(last.glob("*.safetensors"))})
        found.append([{k: v for k, v in line.items() if k != TIME} for line in read(run / "metrics.jsonl")])
    return found


def test_the_script_killed_in_each_stage_and_run_again(start, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = start(whole)
    for run in runs(parts):
        process = start(parts)
        while process.poll() is None and not (run / "checkpoints" / "step-1").is_dir():
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (parts / "log").read_text()
        assert not (run / "checkpoints" / f"step-{STEPS}").exists(), "it was to be killed in the middle"
    assert start(parts).wait(120) == 0, (parts / "log").read_text()
    assert uninterrupted.wait(120) == 0, (whole / "log").read_text()
    assert outcome(parts) == (expected := outcome(whole))
    assert "lora.safetensors" in expected[0] and expected[0] != expected[2], "both stages have trained factors"
    resumed = re.findall(r"resumed from \S*?(\S+)/checkpoints/step-(\d)", (parts / "log").read_text())
    assert len({run for run, _ in resumed}) == 2, "both stages went on where they were"
