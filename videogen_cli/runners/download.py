"""``vgen download``, and what other verbs do before they load: fetch published weights and convert them, once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from videogen_cli.config import parse_overrides
from videogen_cli.data.cache import cache_key
from videogen_cli.errors import UsageError, WeightsError
from videogen_cli.files import (
    atomic_dir,
    cache_root,
    disk_errors,
    exclusive,
    existing_parent,
    require_space,
    size_text,
    write_json,
)
from videogen_cli.output import Output
from videogen_cli.registry import resolve_config, spec
from videogen_cli.runners import convert
from videogen_cli.runners.plan import Plan
from videogen_cli.runners.requests import Request
from videogen_cli.weights.hub import Fetched, Hub, fetch, open_hub, partial_bytes
from videogen_cli.weights.published import HUB, RECORD, Published, command, fetched, find, find_all, ready

READY, FETCHED, ABSENT = "ready", "fetched", "absent"


@dataclass
class DownloadRequest(Request):
    """``vgen download``."""

    stage: str = ""
    names: list[str] = field(default_factory=list)  # published files by name, beside what preset and stage need
    mirror: str | None = None


def run(request: DownloadRequest, output: Output) -> list[dict[str, Any]]:
    """Get what a request names; where it names nothing, and in a dry run, say what there is.

    Raises:
        UsageError: an unknown model, preset, stage or name.
        VgenError: see :func:`prepare`.
    """
    model = spec(request.model)
    named = [find(f"{HUB}{model.name}/{name}").uri for name in request.names]
    chosen = bool(request.preset or request.config_file or request.overrides)
    if request.stage and not chosen:
        raise UsageError("say of which preset", where="--preset", hint=f"{model.name} has {', '.join(model.presets())}")
    listing = not (chosen or named)
    uris = [f"{HUB}{model.name}/{item.name}" for item in model.published] if listing else named
    items = find_all([*uris, *(_needed(request) if chosen else [])])
    hub = open_hub(request.mirror, request.offline)
    if not (request.dry_run or listing):
        prepare(items, hub, output)
    records = [describe(item, hub) for item in items]
    for record in records:
        output.result(record)
    rows = [(r["name"], r["repo"], size_text(r["bytes"]), r["state"], r["path"] or "") for r in records]
    if rows:
        output.table(f"{model.title}: published weights", ("name", "repository", "size", "", "file"), rows)
    else:
        output.info("nothing to fetch: no published weights are named there")
    if listing and rows:
        output.info("to get some: --preset NAME, with --stage STAGE for what training needs, or --name NAME")
    return records


def _needed(request: DownloadRequest) -> list[str]:
    """Return where the weights are that making videos, or a stage of training, would load."""
    from videogen_cli.runners.session import needed_uris

    model = spec(request.model)
    stage = model.stage(request.stage) if request.stage else None
    resolved = resolve_config(
        model,
        preset=request.preset,
        stage=stage.name if stage else None,
        file=request.config_file,
        overrides=parse_overrides(request.overrides),
    )
    plan = Plan(model, resolved, request.preset, stage.name if stage else None)
    return needed_uris(plan, plan.components, plan.loaded)


def describe(item: Published, hub: Hub | None = None) -> dict[str, Any]:
    """Return what is known of published weights without a connection.

    ``state`` is "ready" (``path`` is what networks load), "fetched" (to be converted) or "absent".
    """
    path = ready(item, hub)
    return {
        "name": item.file.name,
        "weights": item.uri,
        "repo": item.file.repo,
        "files": list(item.file.files),
        "bytes": item.file.size,
        "state": READY if path else FETCHED if fetched(item, hub or open_hub(offline=True)) else ABSENT,
        "path": str(path) if path else None,
    }


def prepare(items: Sequence[Published], hub: Hub, output: Output) -> None:
    """Bring published weights to where networks load them from: fetch what is missing, convert it once.

    Raises:
        WeightsError: the hub is offline and something is missing, or what arrived is not what it should be.
        NetworkError: something cannot be fetched; what arrived is kept.
        DiskError: there is not enough room.
    """
    absent = [item for item in items if ready(item, hub) is None]
    missing = [item for item in absent if not fetched(item, hub)]
    if missing and hub.offline:
        names = ", ".join(f"{item.uri} ({item.file.repo}, {size_text(item.file.size)})" for item in missing)
        hint = f"With a network: {command(missing)}"
        raise WeightsError(f"offline, and not on this machine: {names}", hint=hint)
    if missing:
        total = sum(item.file.size for item in missing)
        parts = ", ".join(f"{item.file.repo} ({size_text(item.file.size)})" for item in missing)
        output.info(f"fetching {size_text(total)} from {hub.host} into {hub.cache}, once: {parts}")
    _require_space(absent, missing, hub)
    for item in absent:
        _make(item, hub, output)


def _require_space(absent: Sequence[Published], missing: Sequence[Published], hub: Hub) -> None:
    """Refuse to begin when disks cannot hold what is to be fetched and what is to be made of it."""
    arrived = {item.file.repo: partial_bytes(item.file.repo, hub) for item in missing}
    fetching = max(0, sum(item.file.size for item in missing) - sum(arrived.values()))
    making = sum(item.file.size for item in absent if item.converted)
    made = cache_root()
    if existing_parent(hub.cache).stat().st_dev == existing_parent(made).stat().st_dev:
        fetching, making = fetching + making, 0
    hint = "Free some space, or set HF_HOME (what is fetched) and XDG_CACHE_HOME (what is made of it) to a larger disk."
    require_space(hub.cache, fetching, "for what is fetched and made of it", hint)
    require_space(made, making, "for converted weights", hint)


def _make(item: Published, hub: Hub, output: Output) -> Path:
    """Fetch and convert one, unless another process does."""
    root = item.folder().parent
    with (
        disk_errors(root),
        exclusive(root / f"{item.file.name}.lock", lambda: output.info(f"another process gets {item.uri}: waiting")),
    ):
        if path := ready(item, hub):
            return path
        found: list[Fetched] = []
        for file in item.remotes:
            found.append(fetch(replace(file, revision=found[0].commit) if found else file, hub, output))
        return _convert(item, found, output) if item.converted else found[0].path


def _convert(item: Published, found: Sequence[Fetched], output: Output) -> Path:
    """Make what networks load. A process that is killed leaves nothing that is taken for it."""
    digests = {file: one.digest for file, one in zip(item.file.files, found, strict=True)}
    target = item.folder(found[0].digest if len(found) == 1 else cache_key(files=digests))
    for left in target.parent.glob(f".{target.name}.*"):  # of a killed process: this one has the lock
        shutil.rmtree(left, ignore_errors=True)
    output.info(f"converting {item.file.repo}, once")
    began = time.monotonic()
    with atomic_dir(target) as folder, _source(item, found, folder.parent, target.name) as source:
        request = convert.ConvertRequest(
            item.file.type,
            source,
            folder / item.target,
            model=item.model.name,
            preset=item.file.preset or None,
        )
        with _errors_at(item, found):
            convert.run(request, Output(debug=output.debug, quiet=True))
        write_json(folder / RECORD, item.record(digests))
    output.info(f"converted to {target} in {time.monotonic() - began:.0f} s")
    return target / item.target


@contextmanager
def _source(item: Published, found: Sequence[Fetched], root: Path, name: str) -> Iterator[Path]:
    """Yield what to convert: the file, or a folder of links to several and to nothing else of the repository."""
    if len(found) == 1:
        yield found[0].path
        return
    with TemporaryDirectory(prefix=f".{name}.", dir=root) as folder:
        for path, one in zip(item.file.files, found, strict=True):
            link = Path(folder) / path
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(one.path.resolve(), link)
        yield Path(folder, os.path.commonpath([os.path.dirname(path) for path in item.file.files]))


@contextmanager
def _errors_at(item: Published, found: Sequence[Fetched]) -> Iterator[None]:
    """Let errors name what was fetched, not the links to it."""
    try:
        yield
    except WeightsError as error:
        cached = found[0].path if len(found) == 1 else found[0].path.parents[item.file.files[0].count("/")]
        raise WeightsError(error.what, where=f"{item.uri} ({cached})", hint=error.hint) from error


def describe_all(uris: Iterable[str]) -> list[dict[str, Any]]:
    """Return what is known of the published weights among ``uris``; see :func:`describe`."""
    return [describe(item) for item in find_all(uris)]


def prepare_weights(uris: Iterable[str], offline: bool, output: Output) -> None:
    """Get the published weights among ``uris``, which a run is about to load; see :func:`prepare`."""
    absent = [item for item in find_all(uris) if ready(item) is None]
    if absent:
        prepare(absent, open_hub(offline=offline), output)
