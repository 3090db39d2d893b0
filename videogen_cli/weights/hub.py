"""Files on the Hugging Face Hub or a mirror of it: fetched once, resumed where a connection broke, verified by hash.

Who is asked for what, with which token, and how the cache is laid out is huggingface_hub's, so files are shared with
other programs. The bytes are fetched here: ``hf_hub_download`` (2.4) throws away what has arrived when it is stopped,
compares no hash, and only warns of a full disk.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from videogen_cli.errors import NetworkError, UsageError, WeightsError
from videogen_cli.files import disk_errors, exclusive, fsync_dir, require_space, size_text, write_text
from videogen_cli.weights.partial import Partial, digest_for, file_digest

if TYPE_CHECKING:
    from videogen_cli.output import Output, Progress

RETRIES = 4  # attempts in a row that bring next to nothing
PAUSE = 1.0  # seconds before the first of them; twice as long before each further one
LONGEST_PAUSE = 60.0
NEXT_TO_NOTHING = 1 << 20  # bytes
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # status codes of trouble that passes


@dataclass(frozen=True)
class Hub:
    """Where files come from and where they are kept. ``offline``: no connection is made."""

    endpoint: str
    cache: Path
    offline: bool = False

    @property
    def host(self) -> str:
        """Return the server's name, for people."""
        return urlsplit(self.endpoint).netloc


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. ``sha256`` is what its bytes must have; empty = what the hub says."""

    repo: str
    path: str
    revision: str = "main"
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}"


@dataclass(frozen=True)
class Fetched:
    """A file in the cache: where, its hash (sha256, or git's of a small file), and the commit it belongs to."""

    path: Path
    digest: str
    commit: str


@dataclass(frozen=True)
class _Remote:
    """What a hub says about a file. ``etag`` is its hash."""

    url: str
    etag: str
    commit: str
    size: int | None


def open_hub(mirror: str | None = None, offline: bool = False) -> Hub:
    """Return the hub that ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE`` and ``HF_HUB_OFFLINE`` name.

    Args:
        mirror: address of another one.
        offline: make no connection, whatever the environment says.

    Raises:
        UsageError: the address is none.
    """
    constants = _library().constants
    endpoint = (mirror or constants.ENDPOINT).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", endpoint):
        where = "--mirror" if mirror else "HF_ENDPOINT"
        raise UsageError(f"'{endpoint}' is no address", where=where, hint="Example: https://huggingface.co")
    return Hub(endpoint, Path(constants.HF_HUB_CACHE), offline or constants.HF_HUB_OFFLINE)


def cached(file: HubFile, hub: Hub) -> Path | None:
    """Return where the cache has a file; None where it does not. Nothing is verified."""
    found = _library().try_to_load_from_cache(file.repo, file.path, cache_dir=hub.cache, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def partial_bytes(repo: str, hub: Hub) -> int:
    """Return how many bytes of a repository's files have arrived whose rest has not."""
    return sum(path.stat().st_size for path in (_folder(repo, hub) / "blobs").glob("*.incomplete"))


def fetch(file: HubFile, hub: Hub, output: Output) -> Fetched:
    """Return a file in the cache, whole and with the right bytes; what is missing of it is fetched.

    Raises:
        NetworkError: the hub cannot be reached, refuses, or breaks off again and again. What arrived is kept.
        WeightsError: the bytes have another hash than they should (they are deleted), or ``hub`` is offline.
        DiskError: the disk is full, or would be.
    """
    if found := _intact(file, hub, output):
        return found
    if hub.offline:
        raise WeightsError("is not in the cache, and --offline forbids fetching it", where=str(file))
    remote = _ask(file, hub, output)
    if file.sha256 and digest_for(remote.etag, 0) and len(remote.etag) == 64 and remote.etag != file.sha256:
        hint = f"The hub has sha256 {remote.etag}, vgen knows {file.sha256}. Give a file that you trust by its path."
        raise WeightsError("is not the file that vgen knows", where=str(file), hint=hint)
    expected = file.sha256 or remote.etag
    folder = _folder(file.repo, hub)
    blob, lock = folder / "blobs" / expected, hub.cache / ".locks" / folder.name / f"{expected}.lock"
    with disk_errors(hub.cache), exclusive(lock, lambda: output.info(f"another process fetches {file}: waiting")):
        if not _is_right(blob, expected, output):  # there for another revision, or since another process fetched it
            _fetch_blob(file, hub, remote, expected, blob, output)
        return Fetched(_place(file, folder, blob, remote.commit), expected, remote.commit)


def _library() -> Any:
    """Return huggingface_hub, told to ask for files alone: its telemetry asks the public hub, past any mirror."""
    import huggingface_hub.constants
    import huggingface_hub.errors
    import huggingface_hub.utils

    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def _folder(repo: str, hub: Hub) -> Path:
    return hub.cache / f"models--{repo.replace('/', '--')}"


def _is_right(blob: Path, expected: str, output: Output) -> bool:
    """Tell whether a file is there and has the hash it is named by, if that is a hash."""
    return blob.exists() and (digest_for(expected, 0) is None or file_digest(blob, expected, output) == expected)


def _intact(file: HubFile, hub: Hub, output: Output) -> Fetched | None:
    """Return a cached file if its bytes have the hash that it is named by; remove it if they do not."""
    path = cached(file, hub)
    if path is None:
        return None
    blob = path.resolve()
    expected = file.sha256 or (blob.name if digest_for(blob.name, 0) else "")
    digest = file_digest(blob, expected, output)
    commit = path.parents[file.path.count("/")].name
    if digest == (expected or digest):
        return Fetched(path, digest, commit)
    if hub.offline:
        raise WeightsError(f"is damaged: its hash is {digest}, not {expected}", where=str(path))
    output.warn(f"{path} is damaged (its hash is {digest}, not {expected}): fetching it again")
    path.unlink()
    blob.unlink(missing_ok=True)
    return None


def _ask(file: HubFile, hub: Hub, output: Output) -> _Remote:
    """Ask for a file's hash, size and commit."""
    library = _library()
    url = library.hf_hub_url(file.repo, file.path, revision=file.revision, endpoint=hub.endpoint)
    for attempt in range(1, RETRIES + 2):
        try:
            found = library.get_hf_file_metadata(url, endpoint=hub.endpoint)
            break
        except _http_error() as error:
            if attempt > RETRIES or not _passes(error):
                raise _failure(error, file, hub, partial_bytes(file.repo, hub), None) from error
            _wait(attempt, error, lambda text: output.info(f"{hub.host}: {text}"))
    commit, etag = found.commit_hash or file.revision, found.etag or file.sha256
    if not (_NAME.fullmatch(etag or "") and _NAME.fullmatch(commit)):  # they become names of files
        hint = "Check HF_ENDPOINT, --mirror, and whether a proxy answers in the hub's place."
        raise NetworkError(f"{hub.host} answers without a hash, as no hub does", where=str(file), hint=hint)
    pinned = library.hf_hub_url(file.repo, file.path, revision=commit, endpoint=hub.endpoint)
    return _Remote(pinned, etag, commit, found.size)


def _fetch_blob(file: HubFile, hub: Hub, remote: _Remote, expected: str, blob: Path, output: Output) -> None:
    """Fetch what is missing of a file, compare its hash, and give it its name in the cache."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = Partial(blob.with_name(f"{blob.name}.incomplete"), expected, remote.size)
    part.resume(output)
    if remote.size:
        require_space(hub.cache, remote.size - part.have, f"for the rest of {file}", "Set HF_HOME to a larger disk.")
    label = f"Fetching {file.path.rpartition('/')[2]}"
    with part.opened(), output.progress(label, remote.size, start=part.have, unit="bytes") as bar:
        _receive_all(file, hub, remote, part, bar)
    if wrong := part.wrong():
        part.path.unlink()
        hint = "What was fetched has been deleted. Run again; if it stays so, try another mirror."
        raise WeightsError(f"arrived from {hub.host} with the wrong bytes: {wrong}", where=str(file), hint=hint)
    os.replace(part.path, blob)
    fsync_dir(blob.parent)


def _receive_all(file: HubFile, hub: Hub, remote: _Remote, part: Partial, bar: Progress) -> None:
    """Ask for the rest of a file until all of it is there, or attempts bring next to nothing."""
    failures = 0
    while not part.complete:
        before, trouble = part.have, None  # no trouble: the connection ended early
        try:
            _receive(remote, part, bar)
        except _http_error() as error:
            trouble = error
            if not _passes(error):
                raise _failure(error, file, hub, part.have, remote.size) from error
        if not part.complete:
            failures = failures + 1 if part.have - before < NEXT_TO_NOTHING else 1
            if failures > RETRIES:
                raise _failure(trouble, file, hub, part.have, remote.size) from trouble
            _wait(failures, trouble, bar.update)
            bar.update("")


def _receive(remote: _Remote, part: Partial, bar: Progress) -> None:
    """Take what one connection brings. A server that ignores ranges begins anew, and so does the part."""
    library = _library()
    headers = {**library.utils.build_hf_headers(), "Accept-Encoding": "identity"}
    if part.have:
        headers["Range"] = f"bytes={part.have}-"
    request: dict[str, Any] = {"headers": headers, "timeout": library.constants.HF_HUB_DOWNLOAD_TIMEOUT}
    with library.get_session().stream("GET", remote.url, follow_redirects=True, **request) as response:
        if response.status_code == 416 and part.have:  # more is there than the server has
            part.restart()
            return
        library.utils.hf_raise_for_status(response)
        if part.have and not _goes_on(response, part.have):
            part.restart()
            bar.at(0, remote.size or 0)
        for chunk in response.iter_bytes():  # as they arrive: what a broken connection brought is not lost
            part.append(chunk)
            bar.advance(len(chunk))
            if part.too_long:
                return
    part.ended()


def _goes_on(response: Any, have: int) -> bool:
    """Tell whether an answer begins where the part ends."""
    begins = re.match(rf"bytes {have}-", response.headers.get("Content-Range", ""))
    return response.status_code == 206 and begins is not None


def _place(file: HubFile, folder: Path, blob: Path, commit: str) -> Path:
    """Put a file's name into the cache: a link in the snapshot of its commit."""
    pointer = folder / "snapshots" / commit / file.path
    if not (pointer.exists() and pointer.samefile(blob)):
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f".{pointer.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(blob, pointer.parent))
        os.replace(fresh, pointer)
    if commit != file.revision:
        write_text(folder / "refs" / file.revision, commit)
    return pointer


def _http_error() -> type[Exception]:
    """Return what all errors of the hub's HTTP library derive from: httpx's in huggingface_hub 1, httpx2's in 2."""
    return _library().errors.HTTPError


def _passes(error: Any) -> bool:
    """Tell whether trouble may be over at the next attempt: anything but a server's refusal."""
    response = getattr(error, "response", None)
    return response is None or response.status_code in _PASSING


def _wait(attempt: int, error: Any, say: Callable[[str], None]) -> None:
    """Wait before the next attempt: as long as the server asks for, else longer each time."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    seconds = min(float(asked) if asked.isdigit() else PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
    say(f"{_reason(error)}; attempt {attempt} of {RETRIES} in {seconds:.0f} s")
    time.sleep(seconds)


def _reason(error: Any) -> str:
    """Say in a few words what went wrong."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"it answers {response.status_code} {response.reason_phrase}".rstrip()
    text = (str(error).strip().splitlines() or [""])[0] if error else "the connection ended early"
    return text or type(error).__name__


def _failure(error: Any, file: HubFile, hub: Hub, have: int, size: int | None) -> NetworkError:
    """Turn trouble into an error that says what to do."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    if status in (401, 403):
        gated = response is not None and response.headers.get("X-Error-Code") == "GatedRepo"
        what = "wants you to accept its terms" if gated else f"is private, gated, or does not exist ({status})"
        first = f"Accept them on {hub.endpoint}/{file.repo}, then give" if gated else "Where it is private, give"
        hint = f"{first} a token that may read it: HF_TOKEN=hf_..., or run 'hf auth login'."
        return NetworkError(f"{file.repo} {what}", where=str(file), hint=hint)
    if status == 404:
        hint = "It may have moved. Get it by other means, and give its path in the config, e.g. weights.unet=FILE."
        return NetworkError(f"{hub.host} has no such file at revision '{file.revision}'", where=str(file), hint=hint)
    there = f"{size_text(have)} of {size_text(size)}" if size else size_text(have)
    other = "Check the network; HTTPS_PROXY names a proxy, HF_ENDPOINT another hub."
    hint = f"{there} is already there; run again to go on." if have else other
    return NetworkError(f"cannot be fetched from {hub.host}: {_reason(error)}", where=str(file), hint=hint)
