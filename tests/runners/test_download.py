"""Published weights from a hub to networks: fetched once, converted once, killed at any moment, and then offline."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import HubServer, serving, stand_in
from made_files import Tensor, write_safetensors, write_torch_zip
from vgen_process import PLUGINS, Finished, run_vgen

from videogen_cli import registry
from videogen_cli.errors import DiskError, NetworkError, VgenError, WeightsError
from videogen_cli.output import Output
from videogen_cli.runners import download
from videogen_cli.runners.plan import run_request
from videogen_cli.runners.requests import InferRequest, TrainRequest
from videogen_cli.weights import hub as hub_module
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.store import locate

REPO = "someone/colours"
FIRST = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
SECOND = np.linspace(0, 1, 15, dtype=np.float32).reshape(3, 5)
PUBLISHED = ("hosted-colour", "--preset", "published")
INFER = ("infer", *PUBLISHED, "--prompt", "a red wall", "--json")


def published_files(folder: Path) -> dict[str, bytes]:
    """Make the files that the plugin ``hosted_colour`` declares."""
    weights = {"first.weight": Tensor("0", FIRST), "second.weight": Tensor("1", SECOND), "steps": 3}
    single = write_torch_zip(folder / "painter.pt", weights)
    parts = write_safetensors(folder / "model.safetensors", {"first.weight": FIRST, "second.weight": SECOND})
    return {
        f"{REPO}/painter.pt": single.read_bytes(),
        f"{REPO}/words.txt": b"red\ngreen\nblue\nwhite\n",
        f"{REPO}/parts/config.json": b'{"hidden": 5}',
        f"{REPO}/parts/model.safetensors": parts.read_bytes(),
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with serving(published_files(tmp_path), small={f"{REPO}/words.txt", f"{REPO}/parts/config.json"}) as running:
        yield running


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine that has fetched nothing yet."""
    return {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}


@pytest.fixture
def here(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Let this process be such a machine, with the plugin installed."""
    stand_in(server, tmp_path, monkeypatch)
    monkeypatch.syspath_prepend(str(PLUGINS))
    forget_plugins()
    yield server
    forget_plugins()


def forget_plugins() -> None:
    registry._entry_points.cache_clear()
    registry.spec.cache_clear()


def get(*names: str, **options: Any) -> list[dict[str, Any]]:
    request = download.DownloadRequest("hosted-colour", names=list(names), **options)
    return download.run(request, Output())


def vgen(server: HubServer, places: dict[str, str], *arguments: str, cwd: Path) -> Finished:
    return run_vgen(*arguments, cwd=cwd, HF_ENDPOINT=server.address, **places)


def test_videos_are_made_with_weights_that_are_fetched_and_converted_once(
    server: HubServer, places: dict[str, str], tmp_path: Path
) -> None:
    first = vgen(server, places, *INFER, "--output-dir", "a", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    announced = f"fetching 1.5 kB from {server.address.removeprefix('http://')}"
    assert announced in first.stderr and "converting someone/colours, once" in first.stderr
    record = json.loads(first.stdout)
    assert record["weights"]["painter"].startswith("hub:hosted-colour/painter@")
    assert [name for kind, name, _ in server.requests if kind == "GET"] == [f"{REPO}/painter.pt", f"{REPO}/words.txt"]

    server.requests.clear()
    (fetched,) = Path(places["HF_HOME"]).rglob("painter.pt")
    fetched.resolve().unlink()  # what was fetched may go
    again = vgen(server, places, *INFER, "--output-dir", "b", cwd=tmp_path)
    assert again.returncode == 0 and not server.requests, again.stderr
    assert "fetching" not in again.stderr and "converting" not in again.stderr
    one, two = (np.load(tmp_path / folder / record["file"]) for folder in "ab")
    red = ((SECOND @ FIRST[:, 0]).clip(0, 1) * 255).round().astype(np.uint8)
    assert (one == red).all() and (two == red).all()


REQUESTS = {
    "infer": InferRequest("hosted-colour", preset="published", prompts=["a red wall"]),
    "train": TrainRequest("hosted-colour", preset="published", stage="paint"),
}


@pytest.mark.parametrize("verb", [*REQUESTS, "download"])
@pytest.mark.parametrize("environment", [False, True])
def test_offline_opens_no_connection_and_says_what_to_do(
    here: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str, environment: bool
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", environment)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="vgen download hosted-colour --name painter"):
        if verb == "download":
            get(preset="published", offline=not environment)
        else:
            run_request(replace(REQUESTS[verb], offline=not environment), verb, Output())


def test_nothing_is_fetched_when_another_file_is_missing(here: HubServer) -> None:
    overrides = ["words=hub:hosted-colour/words", "weights.painter=mine.safetensors"]
    with pytest.raises(WeightsError, match="there is no such file"):
        run_request(replace(REQUESTS["infer"], overrides=overrides), "infer", Output())
    assert not here.requests


def test_several_processes_are_started_when_all_is_here(here: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr("videogen_cli.runtime.launch.launch", lambda *_: started.append(len(here.requests)) or 0)
    with pytest.raises(SystemExit):
        run_request(replace(REQUESTS["infer"], nproc=2), "infer", Output())
    assert started == [4], "two files, each asked for and sent"


def test_a_dry_run_fetches_nothing_and_lists_what_would_be(here: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    def planned(**options: Any) -> dict[str, Any]:
        run_request(replace(REQUESTS["infer"], dry_run=True, **options), "infer", Output(json=True))
        return json.loads(capsys.readouterr().out)["files"]

    painter, words = planned()["published"]
    assert (painter["weights"], painter["repo"], painter["bytes"]) == ("hub:hosted-colour/painter", REPO, 1500)
    assert (painter["state"], painter["path"], words["state"]) == ("absent", None, "absent")
    assert (planned()["missing"], planned(offline=True)["missing"]) == ([], ["painter"])
    run_request(replace(REQUESTS["infer"], dry_run=True), "infer", Output())
    assert "hub:hosted-colour/painter  absent, 1.5 kB of someone/colours" in capsys.readouterr().out
    mine = planned(overrides=["weights.painter=mine.safetensors", "words=mine.txt"])
    assert mine["published"] == []
    assert not here.requests
    get(preset="published")
    capsys.readouterr()
    painter = planned()["published"][0]
    assert painter["state"] == "ready" and Path(painter["path"]).is_file()


def test_download_says_in_json_what_is_where(here: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    request = download.DownloadRequest("hosted-colour", preset="published")
    download.run(request, Output(json=True))
    painter, words = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (painter["name"], painter["state"]) == ("painter", "ready")
    assert {*open_checkpoint(painter["path"]).tensors} == {"painter.first", "painter.second"}
    assert Path(words["path"]).read_bytes() == here.files[f"{REPO}/words.txt"]
    assert locate("hub:hosted-colour/words") == Path(words["path"])


def test_a_folder_of_several_files_is_converted_without_its_neighbours(here: HubServer) -> None:
    here.files[f"{REPO}/parts/other.safetensors"] = here.files[f"{REPO}/parts/model.safetensors"]
    from videogen_cli.weights.hub import HubFile, fetch, open_hub

    fetch(HubFile(REPO, "parts/other.safetensors"), open_hub(), Output())  # as others might have
    (record,) = get("folder")
    tensors = open_checkpoint(record["path"]).tensors
    assert (tensors["painter.first"].numpy() == FIRST).all() and (tensors["painter.second"].numpy() == SECOND).all()


def test_the_mirror_is_asked_instead(server: HubServer, places: dict[str, str], tmp_path: Path) -> None:
    with serving({**server.files}) as mirror:
        words = ("download", "hosted-colour", "--name", "words", "--mirror", mirror.address)
        assert vgen(server, places, *words, cwd=tmp_path).returncode == 0
        assert len(mirror.requests) == 2 and not server.requests


def test_other_weights_than_declared_are_refused_and_not_kept(here: HubServer, tmp_path: Path) -> None:
    other = {"first.weight": Tensor("0", FIRST[:2]), "second.weight": Tensor("1", SECOND[:, :2])}
    here.files[f"{REPO}/painter.pt"] = write_torch_zip(tmp_path / "other.pt", other).read_bytes()
    with pytest.raises(WeightsError, match="shape") as caught:
        get("painter")
    assert "hub:hosted-colour/painter (" in str(caught.value.where)
    assert not list((tmp_path / "cache" / "vgen" / "weights").rglob("*.safetensors"))


def test_trouble_has_its_exit_code(here: HubServer) -> None:
    here.cuts = [10] * (hub_module.RETRIES + 1)
    with pytest.raises(NetworkError, match="run again to go on"):
        get("words")
    here.wrong[f"{REPO}/painter.pt"] = b"\0" * len(here.files[f"{REPO}/painter.pt"])
    with pytest.raises(WeightsError, match="wrong bytes"):
        get("painter")
    with pytest.raises(VgenError, match="Did you mean"):
        get("paintre")


def test_room_for_both_is_asked_before_the_first_byte(here: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2500))
    with pytest.raises(DiskError, match=r"needs 3\.0 kB for what is fetched and made of it, and 2\.5 kB are free"):
        get("painter")
    assert not here.requests


def kill_when(process: subprocess.Popen[str], happened: Any) -> None:
    """Kill a process with SIGKILL as soon as something has happened."""
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def start(places: dict[str, str], server: HubServer, *command: str) -> subprocess.Popen[str]:
    variables = {**os.environ, **places, "PYTHONPATH": str(PLUGINS), "HF_ENDPOINT": server.address}
    return subprocess.Popen(
        [sys.executable, *command], env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


DOWNLOAD = ("-m", "videogen_cli.cli.main", "download", *PUBLISHED)


def test_killed_while_fetching_it_goes_on_where_it_was(
    server: HubServer, places: dict[str, str], tmp_path: Path
) -> None:
    server.holds = [700]
    parts = Path(places["HF_HOME"]) / "hub" / "models--someone--colours" / "blobs"
    kill_when(start(places, server, *DOWNLOAD), lambda: server.asked("GET") and list(parts.glob("*.incomplete")))
    arrived = sum(path.stat().st_size for path in parts.glob("*.incomplete"))
    server.requests.clear()
    done = vgen(server, places, *DOWNLOAD[2:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert server.asked("GET")[0] == (f"bytes={arrived}-" if arrived else "")


def test_killed_while_converting_it_converts_again_and_fetches_nothing(
    server: HubServer, places: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import os, signal; from videogen_cli.runners import convert, download\n"
        "whole = convert.run\n"
        "def killed(*arguments): whole(*arguments); os.kill(os.getpid(), signal.SIGKILL)\n"
        "convert.run = killed\n"
        "from videogen_cli.cli.main import main\n"
        f"main({list(DOWNLOAD[2:])})"
    )
    process = start(places, server, "-c", code)
    process.communicate(timeout=60)
    root = tmp_path / "cache" / "vgen" / "weights" / "hosted-colour"
    left = list(root.glob(".painter-*.tmp/painter.safetensors"))
    assert process.returncode == -signal.SIGKILL and left, "a whole file that nobody may take for one"
    server.requests.clear()
    done = vgen(server, places, *DOWNLOAD[2:], "--offline", cwd=tmp_path)
    assert done.returncode == 4 and "hub:hosted-colour/words (" in done.stderr and "painter" not in done.stderr
    done = vgen(server, places, *DOWNLOAD[2:], cwd=tmp_path)
    assert done.returncode == 0 and [name for _, name, _ in server.requests] == [f"{REPO}/words.txt"] * 2
    assert [path.name for path in root.rglob("*.safetensors")] == ["painter.safetensors"]
    assert not list(root.glob(".painter-*"))


def test_two_processes_fetch_and_convert_once(server: HubServer, places: dict[str, str]) -> None:
    server.holds = [700]
    first = start(places, server, *DOWNLOAD)
    while not server.asked("GET"):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    second = start(places, server, *DOWNLOAD)
    assert second.stderr
    said = iter(second.stderr.readline, "")
    assert any("another process gets hub:hosted-colour/painter: waiting" in line for line in said)
    server.go_on.set()
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0 and errors.count("converted to ") == 1, errors
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0 and "converted to" not in errors, errors
    assert [name for kind, name, _ in server.requests if kind == "GET"] == [f"{REPO}/painter.pt", f"{REPO}/words.txt"]
