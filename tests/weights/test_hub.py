"""Fetching from a hub that breaks off, lies, refuses and stumbles."""

from __future__ import annotations

import hashlib
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer, etag, serving

from videogen_cli.errors import DiskError, ExitCode, NetworkError, UsageError, VgenError, WeightsError
from videogen_cli.output import Output
from videogen_cli.weights import hub as module
from videogen_cli.weights.hub import Hub, HubFile, cached, fetch, open_hub, partial_bytes

NAME = "someone/model/weights/model.ckpt"
FILE = HubFile("someone/model", "weights/model.ckpt")
DATA = bytes(range(256)) * 1200  # 307,200 bytes
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[HubServer]:
    with serving({NAME: DATA}) as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return Hub(server.address, tmp_path / "hub")


def parts(hub: Hub) -> list[Path]:
    return list(hub.cache.rglob("*.incomplete"))


def refusal(hub: Hub, file: HubFile = FILE) -> VgenError:
    with pytest.raises(VgenError) as caught:
        fetch(file, hub, Output())
    return caught.value


def test_a_file_is_fetched_once(server: HubServer, hub: Hub) -> None:
    assert cached(FILE, hub) is None
    found = fetch(FILE, hub, Output())
    assert found.path.read_bytes() == DATA and (found.digest, found.commit) == (SHA, COMMIT)
    assert [kind for kind, *_ in server.requests] == ["HEAD", "GET"]
    assert set(server.tokens) == {"Bearer hf_secret"}
    assert fetch(FILE, hub, Output()) == found and cached(FILE, hub) == found.path
    assert len(server.requests) == 2 and not parts(hub)


def test_other_programs_find_it_where_hugging_face_puts_it(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir

    fetch(FILE, hub, Output())
    there = hf_hub_download(FILE.repo, FILE.path, cache_dir=hub.cache, local_files_only=True)
    assert Path(there).read_bytes() == DATA
    scanned = scan_cache_dir(hub.cache)
    assert not scanned.warnings and [repo.repo_id for repo in scanned.repos] == [FILE.repo]


def test_what_other_programs_fetched_is_taken(server: HubServer, hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    there = hf_hub_download(FILE.repo, FILE.path, cache_dir=hub.cache, endpoint=server.address)
    asked = len(server.requests)
    assert fetch(FILE, hub, Output()).path == Path(there) and len(server.requests) == asked


def test_a_broken_connection_is_taken_up_where_it_broke(server: HubServer, hub: Hub) -> None:
    server.cuts = [100_000, 250_000]
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    first, second, third = server.asked("GET")
    assert first == "" and (second, third) == ("bytes=100000-", "bytes=250000-")


def test_a_hub_that_keeps_breaking_off_is_given_up_and_the_next_run_goes_on(server: HubServer, hub: Hub) -> None:
    server.cuts = [150_000] * (module.RETRIES + 1)
    error = refusal(hub)
    assert error.code == ExitCode.NETWORK and error.where == NAME
    assert "127.0.0.1" in error.what and "150 kB of 307 kB is already there" in (error.hint or "")
    assert partial_bytes(FILE.repo, hub) == 150_000
    server.requests.clear()
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert server.asked("GET") == ["bytes=150000-"] and not parts(hub)


def test_a_connection_that_stands_still_is_given_up_for_another(
    server: HubServer, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    server.holds = [100_000]
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert server.asked("GET") == ["", "bytes=100000-"]


def test_a_server_without_ranges_begins_anew(server: HubServer, hub: Hub) -> None:
    server.cuts, server.deaf = [200_000], True
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert len(server.asked("GET")) == 2


def test_wrong_bytes_are_deleted(server: HubServer, hub: Hub) -> None:
    server.wrong[NAME] = DATA[:-1] + b"\0"
    error = refusal(hub)
    assert error.code == ExitCode.WEIGHTS and "wrong bytes" in error.what and SHA in error.what
    assert not parts(hub) and cached(FILE, hub) is None
    server.wrong.clear()
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert server.asked("GET") == ["", ""]


def test_a_part_that_was_damaged_on_disk_is_deleted(server: HubServer, hub: Hub) -> None:
    server.cuts = [100_000] * (module.RETRIES + 1)
    refusal(hub)
    parts(hub)[0].write_bytes(b"\0" * 100_000)
    assert refusal(hub).code == ExitCode.WEIGHTS and not parts(hub)
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA


@pytest.mark.parametrize("length", [len(DATA) - 7, len(DATA) + 7])
def test_a_file_of_another_length_is_not_taken(server: HubServer, hub: Hub, length: int) -> None:
    server.wrong[NAME] = (DATA + DATA)[:length]
    error = refusal(hub)
    assert error.code == (ExitCode.NETWORK if length < len(DATA) else ExitCode.WEIGHTS)
    assert cached(FILE, hub) is None


def test_a_damaged_file_in_the_cache_is_fetched_again(
    server: HubServer, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch(FILE, hub, Output()).path
    path.resolve().write_bytes(DATA[:1000])
    with pytest.raises(WeightsError, match="is damaged"):
        fetch(FILE, Hub(hub.endpoint, hub.cache, offline=True), Output())
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert "is damaged" in capsys.readouterr().err and len(server.asked("GET")) == 2


def test_a_damaged_file_of_another_revision_is_fetched_again(server: HubServer, hub: Hub) -> None:
    fetch(FILE, hub, Output()).path.resolve().write_bytes(DATA[:1000])
    server.commit = "f" * 40
    other = HubFile(FILE.repo, FILE.path, revision="v2")
    assert fetch(other, hub, Output()).path.read_bytes() == DATA
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA and len(server.asked("GET")) == 2


def test_small_files_have_gits_hash(server: HubServer, hub: Hub) -> None:
    server.small.add(NAME)
    assert fetch(FILE, hub, Output()).digest == etag(server, NAME)
    other = HubFile("someone/model", "vocab.txt")
    server.files["someone/model/vocab.txt"] = b"[PAD]\n"
    server.small.add("someone/model/vocab.txt")
    server.wrong["someone/model/vocab.txt"] = b"[pad]\n"
    assert "wrong bytes" in refusal(hub, other).what


def test_a_known_hash_is_held_against_the_hub(server: HubServer, hub: Hub) -> None:
    known = HubFile(FILE.repo, FILE.path, sha256=SHA)
    assert fetch(known, hub, Output()).digest == SHA
    shutil.rmtree(hub.cache)
    error = refusal(hub, HubFile(FILE.repo, FILE.path, sha256="0" * 64))
    assert error.code == ExitCode.WEIGHTS and "is not the file that vgen knows" in error.what
    assert server.asked("GET") == [""]


def test_a_hub_that_stumbles_is_asked_again(server: HubServer, hub: Hub) -> None:
    server.statuses = [(503, {}), (429, {"Retry-After": "0"})]
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert [kind for kind, *_ in server.requests] == ["HEAD", "HEAD", "HEAD", "GET"]


def test_a_hub_that_stumbles_amid_a_file_is_asked_again(server: HubServer, hub: Hub) -> None:
    server.cuts = [1000]
    server.before = lambda: server.statuses.append((503, {})) if server.cuts else None
    assert fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert server.asked("GET") == ["", "bytes=1000-", "bytes=1000-"]


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (401, {}, ("private, gated, or does not exist", "HF_TOKEN")),
        (403, {"X-Error-Code": "GatedRepo"}, ("accept its terms", "/someone/model, then give a token")),
        (404, {"X-Error-Code": "EntryNotFound"}, ("no such file at revision 'main'", "weights.unet=FILE")),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    server: HubServer, hub: Hub, status: int, headers: dict[str, str], said: tuple[str, str]
) -> None:
    server.statuses = [(status, headers)]
    error = refusal(hub)
    assert error.code == ExitCode.NETWORK and len(server.requests) == 1
    assert said[0] in error.what and said[1] in (error.hint or "")


def test_a_hub_that_is_not_there(hub: Hub) -> None:
    error = refusal(Hub("http://127.0.0.1:9", hub.cache))
    assert isinstance(error, NetworkError) and "127.0.0.1:9" in error.what


def test_a_server_that_is_no_hub(server: HubServer, hub: Hub) -> None:
    server.unnamed = True
    assert "without a hash" in refusal(hub).what
    assert fetch(HubFile(FILE.repo, FILE.path, sha256=SHA), hub, Output()).path.read_bytes() == DATA


@pytest.mark.parametrize("commit", ["../../../evil", "/evil", ".."])
def test_a_hub_that_names_other_folders_is_not_trusted(server: HubServer, hub: Hub, commit: str) -> None:
    server.commit = commit
    assert "as no hub does" in refusal(hub).what and not list(hub.cache.parent.rglob("evil"))


def test_large_files_come_from_elsewhere_which_is_told_no_token(server: HubServer, hub: Hub) -> None:
    with serving(server.files, cuts=[100_000], unnamed=True) as storage:
        server.moved = storage.address
        found = fetch(FILE, hub, Output())
    assert found.path.read_bytes() == DATA and (found.digest, found.commit) == (SHA, COMMIT)
    assert storage.asked("GET") == ["", "bytes=100000-"] and set(storage.tokens) == {""}
    assert server.asked("GET") == ["", "bytes=100000-"] and set(server.tokens) == {"Bearer hf_secret"}


def test_offline_asks_nobody(server: HubServer, hub: Hub) -> None:
    offline = Hub(hub.endpoint, hub.cache, offline=True)
    assert refusal(offline).code == ExitCode.WEIGHTS
    fetch(FILE, hub, Output())
    server.requests.clear()
    assert fetch(FILE, offline, Output()).path.read_bytes() == DATA and not server.requests


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    server: HubServer, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    error = refusal(hub)
    assert isinstance(error, DiskError) and "needs 307 kB" in error.what and "300 kB are free" in error.what
    assert not server.asked("GET")


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: HubServer, hub: Hub) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, before[1]))
    try:
        error = refusal(hub)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(error, DiskError) and "incomplete" in (error.where or "")
    arrived = partial_bytes(FILE.repo, hub)
    assert 0 < arrived <= 120_000 and fetch(FILE, hub, Output()).path.read_bytes() == DATA
    assert server.asked("GET") == ["", f"bytes={arrived}-"]


def test_of_several_that_want_a_file_one_fetches_it(server: HubServer, hub: Hub) -> None:
    both = threading.Barrier(2)
    server.before = lambda: threading.Event().wait(0.2)
    found = []

    def want() -> None:
        both.wait()
        found.append(fetch(FILE, hub, Output()).path.read_bytes())

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA, DATA] and len(server.asked("GET")) == 1


def test_the_environment_names_hub_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://hf-mirror.com")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_hub() == Hub("https://hf-mirror.com", tmp_path, True)
    assert open_hub("http://10.0.0.1:80/hub/").endpoint == "http://10.0.0.1:80/hub"
    with pytest.raises(UsageError, match="--mirror"):
        open_hub("hf-mirror.com")
