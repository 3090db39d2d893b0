"""A Hugging Face Hub on 127.0.0.1 that can be told to misbehave."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """Files by ``repo/path``, and what goes wrong with them.

    ``cuts``: after how many bytes of the file the next connections break. ``statuses``: what the next requests are
    answered instead, with headers. ``wrong``: bytes sent in place of the file's. ``said``: sizes announced in place of
    the file's. ``deaf``: ranges are ignored. ``unnamed``: no hash is sent. ``commit``: what is sent as such.
    """

    files: dict[str, bytes]
    address: str = ""
    cuts: list[int] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    wrong: dict[str, bytes] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    deaf: bool = False
    unnamed: bool = False
    commit: str = COMMIT
    moved: str = ""  # address that requests are sent on to, as the hub does with large files
    small: set[str] = field(default_factory=set)  # named by git's hash, as files outside LFS are
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, repo/path, Range
    tokens: list[str] = field(default_factory=list)
    before: Callable[[], object] = lambda: None  # called before a body is sent
    holds: list[int] = field(default_factory=list)  # after how many bytes the next connections stand still
    go_on: threading.Event = field(default_factory=threading.Event)

    def asked(self, method: str) -> list[str]:
        """Return the ranges of the requests of one kind."""
        return [given for kind, _, given in self.requests if kind == method]


def etag(server: HubServer, name: str) -> str:
    """Return the hash that a hub names a file by."""
    data = server.files[name]
    if name in server.small:
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub = self.hub
        repo, _, rest = self.path.lstrip("/").partition("/resolve/")
        name = f"{repo}/{rest.partition('/')[2]}"
        given = self.headers.get("Range", "")
        hub.requests.append((self.command, name, given))
        hub.tokens.append(self.headers.get("Authorization", ""))
        if hub.statuses:
            status, headers = hub.statuses.pop(0)
            return self._head(status, {**headers, "Content-Length": "0"})
        if name not in hub.files:
            return self._head(404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
        data = hub.wrong.get(name, hub.files[name]) if body else hub.files[name]
        first = int(given.removeprefix("bytes=").partition("-")[0]) if given and not hub.deaf else 0
        total = hub.said.get(name, len(data))
        named = {} if hub.unnamed else {"ETag": f'"{etag(hub, name)}"', "X-Repo-Commit": hub.commit}
        if hub.moved:
            linked = {"X-Linked-Etag": named.pop("ETag"), "X-Linked-Size": str(total), "ETag": '"of the link"'}
            return self._head(302, {**named, **linked, "Location": hub.moved + self.path, "Content-Length": "0"})
        headers = {**named, "Content-Length": str(total - first), "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
        self._head(206 if first else 200, headers)
        if body:
            self._body(data, first)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, data: bytes, first: int) -> None:
        self.hub.before()
        if self.hub.holds:
            hold = self.hub.holds.pop(0)
            self.wfile.write(data[first:hold])
            self.wfile.flush()
            self.hub.go_on.wait(60)
            first = hold
        end = self.hub.cuts.pop(0) if self.hub.cuts else len(data)
        with suppress(ConnectionError):  # of a client that was killed
            self.wfile.write(data[first:end])
        if end < len(data):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def stand_in(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take ``server`` for the hub, with caches in ``folder`` and no time lost between attempts."""
    from huggingface_hub import constants

    from videogen_cli.weights import hub

    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
    monkeypatch.setattr(hub, "PAUSE", 0.0)


@contextmanager
def serving(files: dict[str, bytes], **trouble: Any) -> Iterator[HubServer]:
    """Run a hub in a thread for as long as the context lasts."""
    hub = HubServer(files, **trouble)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()
