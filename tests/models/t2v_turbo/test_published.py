"""The published files fit the networks that are declared for them, by the lists of their keys and shapes."""

import gzip
import json

import pytest
from hub_server import serving, stand_in

from videogen_cli.output import Output
from videogen_cli.registry import spec
from videogen_cli.runners import download
from videogen_cli.runners.convert import ConvertRequest, run
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.published import find

# Name -> its list of keys, and how many of them are used.
LISTS = {
    "vc2": ("VideoCrafter2-model.ckpt.json.gz", 2026),
    "vc2-lora": ("T2V-Turbo-VC2-unet_lora.pt.json", 1150),
    "vc2-merged": ("T2V-Turbo-VC2-Merged-unet.json", 1485),
    "v2": ("T2V-Turbo-v2-unet_mg.pt.json", 1487),
    "ms": ("text-to-video-ms-1.7b-unet.json", 1480),
    "ms-lora": ("T2V-Turbo-MS-unet_lora.pt.json.gz", 1150),
    "hps": ("HPS_v2.1_compressed.pt.json", 686),
    "internvideo2": ("InternVideo2-stage2_1b-224p-f4.pt.json", 852),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_key_is_accounted_for_without_the_originals_config(name, manifest_path, tmp_path):
    listing, used = LISTS[name]
    path = manifest_path(f"t2v-turbo/{listing}")
    content = json.loads((gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()))
    del content["config"]  # the published file has none, so the declared sizes must do
    (tmp_path / "keys.json").write_text(json.dumps(content))
    item = find(f"hub:t2v-turbo/{name}").file
    request = ConvertRequest(
        item.type, tmp_path / "keys.json", check=True, model="t2v-turbo", preset=item.preset or None
    )
    account = run(request, Output(quiet=True))["account"]
    assert account["ok"] and account["used"] == used


def test_modelscopes_folder_is_fetched_and_converted_by_the_sizes_in_it(golden_path, tmp_path, monkeypatch):
    folder = golden_path("t2v-turbo/ms-folder") / "text-to-video-ms"
    item = find("hub:t2v-turbo/ms").file
    files = {f"{item.repo}/{path}": (folder / path).read_bytes() for path in item.files}
    with serving(files, small={name for name in files if name.endswith(".json")}) as server:
        stand_in(server, tmp_path, monkeypatch)
        (record,) = download.run(download.DownloadRequest("t2v-turbo", names=["ms"]), Output(quiet=True))
    original = open_checkpoint(folder).tensors
    converted = open_checkpoint(record["path"])
    assert converted.metadata["component"] == "unet,vae,text"
    key = "unet.conv_in.weight"
    assert any(
        tensor.shape == original[key].shape and (tensor.numpy() == original[key].numpy()).all()
        for name, tensor in converted.tensors.items()
        if name.startswith("unet.")
    )
    assert sum(t.size for t in converted.tensors.values()) == sum(t.size for t in original.values())


def needs(*arguments, **options):
    request = download.DownloadRequest("t2v-turbo", preset=arguments[0], **options, dry_run=True)
    return [record["name"] for record in download.run(request, Output(quiet=True))]


@pytest.mark.parametrize("teacher", ["vc2", "ms"])
def test_a_preset_needs_what_makes_videos_and_a_stage_what_it_trains_on(teacher):
    assert needs(teacher) == [teacher, f"{teacher}-lora"]
    assert needs(teacher, stage="distill") == [teacher]
    assert needs(teacher, stage="vae") == []
    assert needs(teacher, stage="1") == [teacher, "hps"]
    assert needs(teacher, stage="2") == [teacher, "internvideo2", "bert-vocab"]
    assert needs(teacher, stage="all") == [teacher, "hps", "internvideo2", "bert-vocab"]
    assert needs(teacher, stage="all", overrides=["distill.video_reward_scale=0"]) == [teacher, "hps"]


def test_a_given_file_is_not_fetched():
    files = [f"weights.{name}=mine.safetensors" for name in ("unet", "vae", "text")]
    assert needs("vc2", overrides=files) == ["vc2-lora"]
    assert needs("vc2", overrides=[*files, "weights.lora="]) == []


def test_all_are_listed():
    listed = [record["name"] for record in download.run(download.DownloadRequest("t2v-turbo"), Output(quiet=True))]
    assert listed == [item.name for item in spec("t2v-turbo").published]
