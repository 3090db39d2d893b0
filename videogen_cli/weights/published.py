"""Published weights that configs name ``hub:MODEL/NAME``: what they are, and where they are once they have been made.

What is fetched lies in the hub's cache, which other programs share. Files that networks load are made from it once by
the model's key map, and lie in vgen's own cache under the hash of what they were made from; after that neither the hub
nor its cache is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import videogen_cli
from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.files import cache_root
from videogen_cli.registry import ModelSpec, PublishedFile, model_names, spec
from videogen_cli.weights.hub import Hub, HubFile, cached

HUB = "hub:"
RECORD = "published.json"


@dataclass(frozen=True)
class Published:
    """A published file and the model that declares it."""

    model: ModelSpec
    file: PublishedFile

    @property
    def uri(self) -> str:
        """Return its name in configs."""
        return f"{HUB}{self.model.name}/{self.file.name}"

    @property
    def converted(self) -> bool:
        """Whether networks load what a key map makes of it; otherwise it is used as it is."""
        return bool(self.file.type)

    @property
    def remotes(self) -> list[HubFile]:
        """Return the files of the repository."""
        item = self.file
        return [HubFile(item.repo, path, item.revision, item.sha256.get(path, "")) for path in item.files]

    @property
    def target(self) -> str:
        """Return the name of the file that is made."""
        return f"{self.file.name}.safetensors"

    def folder(self, digest: str = "*") -> Path:
        """Return where what is made of files with this hash belongs."""
        return cache_root() / "weights" / self.model.name / f"{self.file.name}-{digest[:12]}"

    def record(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """Return what is written beside what was made, to be recognised by."""
        made = {"name": self.file.name, "type": self.file.type, "vgen_version": videogen_cli.__version__}
        return {**made, "repo": self.file.repo, "files": dict(digests)}


def is_published(uri: str) -> bool:
    """Tell whether a config's value names published weights."""
    return uri.startswith(HUB)


def find(uri: str) -> Published:
    """Return what ``hub:MODEL/NAME`` names.

    Raises:
        WeightsError: no model declares it; the hint names the nearest.
    """
    model, _, name = uri.removeprefix(HUB).partition("/")
    if model in model_names():
        for item in spec(model).published:
            if item.name == name:
                return Published(spec(model), item)
    known = [f"{HUB}{other}/{item.name}" for other in model_names() for item in spec(other).published]
    raise WeightsError("vgen knows no such published weights", where=uri, hint=did_you_mean(uri, known) or None)


def find_all(uris: Iterable[str]) -> list[Published]:
    """Return what those of ``uris`` that name published weights are, each once."""
    return [find(uri) for uri in dict.fromkeys(uris) if is_published(uri)]


def ready(item: Published, hub: Hub | None = None) -> Path | None:
    """Return the file that networks load; None where it has yet to be fetched or made. Makes no connection.

    What another version of vgen made is not taken: key maps change.
    """
    if not item.converted:
        from videogen_cli.weights.hub import open_hub

        return cached(item.remotes[0], hub or open_hub(offline=True))
    for path in _newest_first(item.folder().parent.glob(f"{item.folder().name}/{RECORD}")):
        record = json.loads(path.read_text(encoding="utf-8"))
        known = {file.path: file.sha256 for file in item.remotes}
        expected = item.record({name: known.get(name) or digest for name, digest in record["files"].items()})
        if record == expected and record["files"].keys() == known.keys():
            return path.with_name(item.target)
    return None


def locate_published(uri: str) -> Path:
    """Return the file that networks load for ``hub:MODEL/NAME``.

    Raises:
        WeightsError: it is not on this machine; the hint says how it gets there.
    """
    item = find(uri)
    if path := ready(item):
        return path
    raise WeightsError("is not on this machine", where=uri, hint=f"Get it: {command([item])}")


def command(items: Iterable[Published]) -> str:
    """Return what to type to get ``items``."""
    items = list(items)
    return f"vgen download {items[0].model.name} " + " ".join(f"--name {item.file.name}" for item in items)


def fetched(item: Published, hub: Hub) -> bool:
    """Tell whether all files are in the hub's cache. Makes no connection."""
    return all(cached(file, hub) for file in pinned(item, hub))


def pinned(item: Published, hub: Hub) -> list[HubFile]:
    """Return the files of the repository, all of the commit that the cache has the first of."""
    first, *others = item.remotes
    path = cached(first, hub)
    commit = path.parents[first.path.count("/")].name if path else first.revision
    return [first, *(replace(file, revision=commit) for file in others)]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
