"""``vgen convert`` from end to end, without MindSpore."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOTS

from videogen_cli.errors import UsageError, VgenError, WeightsError
from videogen_cli.output import Output
from videogen_cli.runners.convert import ConvertRequest, run
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.tensor import from_array
from videogen_cli.weights.writer import save_safetensors

TINY = (
    "unet.model_channels=32",
    "unet.channel_mult=[1,2,1]",
    "unet.num_res_blocks=1",
    "unet.attention_resolutions=[1]",
    "unet.num_head_channels=8",
    "unet.context_dim=24",
)
TEACHER = "t2v-turbo/vc2-unet-teacher"


def convert(kind: str, source: Path, target: Path | None = None, **options) -> dict:
    return run(ConvertRequest(kind, source, target, **options), Output())


def manifest(name: str) -> Path:
    for root in ROOTS:
        if (path := root.parent / "manifests" / "t2v-turbo" / name).is_file():
            return path
    pytest.skip(f"manifest {name} is not here")


@pytest.mark.parametrize(
    ("kind", "name", "used", "ignored"),
    [
        ("vc2", "VideoCrafter2-model.ckpt.json.gz", 2026, 13),
        ("lora", "T2V-Turbo-VC2-unet_lora.pt.json", 1150, 0),
    ],
)
def test_published_files_are_accounted_for(kind: str, name: str, used: int, ignored: int) -> None:
    account = convert(kind, manifest(name), check=True)["account"]
    assert account["ok"]
    assert (account["used"], sum(account["ignored"].values())) == (used, ignored)


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("vc2", "HPS_v2.1_compressed.pt.json", "OpenCLIP"),
        ("vc2", "InternVideo2-stage2_1b-224p-f4.pt.json", "InternVideo2"),
        ("vc2", "T2V-Turbo-VC2-unet_lora.pt.json", "Its type is 'lora'"),
        ("vc2", "T2V-Turbo-VC2-Merged-unet.json", "merged T2V-Turbo"),
        ("vc2", "text-to-video-ms-1.7b-unet.json", "ModelScope"),
        ("lora", "VideoCrafter2-model.ckpt.json.gz", "Its type is 'vc2'"),
    ],
)
def test_wrong_files_are_called_by_name(kind: str, name: str, said: str) -> None:
    with pytest.raises(WeightsError) as caught:
        convert(kind, manifest(name), check=True)
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_one_wrong_key_is_named_with_its_neighbour(tmp_path: Path) -> None:
    path = manifest("VideoCrafter2-model.ckpt.json.gz")
    content = json.loads(gzip.decompress(path.read_bytes()))
    key = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    content["tensors"][key.replace("in_layers", "inlayers")] = content["tensors"].pop(key)
    content["tensors"]["first_stage_model.quant_conv.bias"]["shape"] = [9]
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(content))
    with pytest.raises(WeightsError) as caught:
        convert("vc2", edited, check=True)
    message = str(caught.value)
    assert "1 missing: unet.middle_block.0.in_layers.2.weight" in message
    assert f"inlayers.2.weight (near {key})" in message
    assert "first_stage_model.quant_conv.bias is [9] instead of [8]" in message


def test_convert_and_back(tmp_path: Path, golden_path) -> None:
    source = golden_path(TEACHER) / "weights.ckpt"
    target = tmp_path / "unet.safetensors"
    result = convert("vc2", source, target, overrides=TINY, components=("unet",), dtype="fp32")
    ours = open_checkpoint(target)
    assert ours.metadata["model"] == "t2v-turbo"
    assert ours.metadata["component"] == "unet"
    assert ours.metadata["source"] == "weights.ckpt"
    assert ours.metadata["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest() == result["source_sha256"]
    theirs = open_checkpoint(source).tensors
    assert {tensor.dtype for tensor in ours.tensors.values()} == {"float32"}
    assert len(ours.tensors) == result["account"]["used"]
    back = tmp_path / "back.ckpt"
    convert("vc2", target, back, export=True)
    exported = open_checkpoint(back)
    assert exported.container == "mindspore-ckpt"
    for name, tensor in exported.tensors.items():
        assert np.array_equal(tensor.float32(), theirs[name].float32()), name


def test_params_file_gives_the_sizes(tmp_path: Path, golden_path) -> None:
    folder = golden_path(TEACHER)
    options = {"params": folder / "case.json", "components": ("unet",)}
    convert("vc2", folder / "weights.ckpt", tmp_path / "u.safetensors", **options)
    assert (tmp_path / "u.safetensors").exists()


def test_lora_is_named_and_labelled(tmp_path: Path, golden_path) -> None:
    source = golden_path("t2v-turbo/vc2-lora-merged") / "unet_lora.pt"
    target = tmp_path / "lora.safetensors"
    convert("lora", source, target, overrides=TINY)
    ours = open_checkpoint(target)
    assert (ours.metadata["rank"], ours.metadata["alpha"], ours.metadata["component"]) == ("5", "1.0", "unet")
    assert list(ours.tensors)[:2] == ["time_embed.0.lora_up", "time_embed.0.lora_down"]
    items = open_checkpoint(source).tensors.values()
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(ours.tensors.values(), items, strict=True))
    assert convert("lora", target, check=True, overrides=TINY)["account"]["ok"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--params case.json"),
        ({"overrides": TINY}, "To convert the rest: --component unet"),
    ],
)
def test_partial_or_unpublished_files_say_what_to_do(tmp_path: Path, golden_path, options, said: str) -> None:
    with pytest.raises(WeightsError) as caught:
        convert("vc2", golden_path(TEACHER) / "weights.ckpt", tmp_path / "u.safetensors", **options)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "target", "options", "code"),
    [
        ("raw", None, {}, 2),
        ("raw", "x.bin", {}, 2),
        ("raw", "x.safetensors", {"dtype": "fp8"}, 2),
        ("raw", "x.safetensors", {"components": ("unet",)}, 2),
        ("vc3", "x.safetensors", {}, 2),
        ("vc2", "x.safetensors", {"components": ("unnet",)}, 2),
        ("vc2", "x.safetensors", {"model": "t3v"}, 2),
        ("vc2", "x.safetensors", {"overrides": ("unet.chanels=3",)}, 2),
        ("vc2", "x.safetensors", {"params": Path("nowhere.json")}, 2),
        ("raw", "source.safetensors", {}, 2),
    ],
)
def test_wrong_requests_write_nothing(tmp_path: Path, kind: str, target: str | None, options, code: int) -> None:
    source = tmp_path / "source.safetensors"
    save_safetensors(source, {"w": np.ones(2, np.float32)}, {})
    with pytest.raises(VgenError) as caught:
        convert(kind, source, tmp_path / target if target else None, **options)
    assert caught.value.code == code
    assert [item.name for item in tmp_path.iterdir()] == ["source.safetensors"]


def test_manifests_are_only_for_checking(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Add --check"):
        convert("vc2", manifest("VideoCrafter2-model.ckpt.json.gz"), tmp_path / "x.safetensors")


def test_command_line(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_safetensors(source, {"w": np.ones(2, np.float32)}, {})
    command = [sys.executable, "-m", "videogen_cli.cli.main", "convert", "--type", "raw", "--source", str(source)]
    done = subprocess.run([*command, "--target", str(target), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == [str(target)]
    source.write_bytes(source.read_bytes()[:-1])
    failed = subprocess.run(
        [*command, "--target", str(tmp_path / "b.ckpt")], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 4
    assert "Traceback" not in failed.stderr
    assert str(source) in failed.stderr
    assert failed.stdout == ""
    assert not (tmp_path / "b.ckpt").exists()


def test_mindspore_is_never_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from videogen_cli.output import Output; "
        "from videogen_cli.runners.convert import ConvertRequest, run; "
        "run(ConvertRequest('vc2', Path(sys.argv[1]), check=True), Output()); assert 'mindspore' not in sys.modules"
    )
    path = manifest("VideoCrafter2-model.ckpt.json.gz")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    save_safetensors(source, {str(i): from_array(np.zeros((4096, 4096), np.float32)) for i in range(8)}, {})
    target = tmp_path / "out" / "target.safetensors"
    target.parent.mkdir()
    command = [sys.executable, "-m", "videogen_cli.cli.main", "convert", "--type", "raw", "--source", str(source)]
    process = subprocess.Popen([*command, "--target", str(target)], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not list(target.parent.iterdir()) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors and "Traceback" not in errors
    assert not list(target.parent.iterdir())


def test_a_dry_run_sizes_a_published_model_without_weights(tmp_path: Path) -> None:
    source = manifest("VideoCrafter2-model.ckpt.json.gz")
    result = convert("vc2", source, dry_run=True)
    estimate = result["estimate"]
    assert result["account"]["ok"] and result["model"] == "t2v-turbo"
    assert result["source_params"] == json.loads(gzip.decompress(source.read_bytes()))["params"]
    assert estimate["params"] == sum(estimate["params_by_component"].values()) < result["source_params"]
    assert set(estimate["params_by_component"]) == {"unet", "vae", "text"}
    factors = convert("lora", manifest("T2V-Turbo-VC2-unet_lora.pt.json"), dry_run=True)["estimate"]
    assert factors["params_by_component"] == {"unet": factors["params"]}
    half = convert("vc2", source, tmp_path / "x.safetensors", dry_run=True, dtype="fp16")
    assert half["estimate"]["bytes"] == 2 * estimate["params"]
    assert not list(tmp_path.iterdir())


def test_weights_with_nan_are_refused_by_name(tmp_path: Path, golden_path) -> None:
    source = golden_path(TEACHER) / "weights.ckpt"
    tensors = {name: tensor.float32().copy() for name, tensor in open_checkpoint(source).tensors.items()}
    name = "model.diffusion_model.out.2.weight"
    tensors[name][0, 0, 0, 0] = np.nan
    bad, target = tmp_path / "bad.safetensors", tmp_path / "target.safetensors"
    save_safetensors(bad, tensors, {})
    with pytest.raises(WeightsError, match=r"bad\.safetensors.*'unet\.out\.2\.weight' holds NaN"):
        convert("vc2", bad, target, components=["unet"], params=golden_path(TEACHER) / "case.json")
    assert not target.exists()
    assert convert("raw", bad, target)["tensors"] == len(tensors), "raw keeps whatever there is"
