"""Names of published weights in configs, and where what was made of them is found again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import videogen_cli
from videogen_cli.config import load_yaml
from videogen_cli.errors import WeightsError
from videogen_cli.files import write_json
from videogen_cli.registry import model_names, spec
from videogen_cli.weights.published import RECORD, Published, find, find_all, is_published, ready
from videogen_cli.weights.store import locate

LORA = "hub:t2v-turbo/vc2-lora"
SHA, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vgen" / "weights"


def make(item: Published, digest: str, **changes: Any) -> Path:
    record = {**item.record({"unet_lora.pt": digest}), **changes}
    write_json(item.folder(digest) / RECORD, record)
    return item.folder(digest) / item.target


def test_a_name_is_that_of_a_declaration() -> None:
    item = find(LORA)
    assert (item.uri, item.file.repo, item.target) == (LORA, "jiachenli-ucsb/T2V-Turbo-VC2", "vc2-lora.safetensors")
    assert [str(file) for file in item.remotes] == ["jiachenli-ucsb/T2V-Turbo-VC2/unet_lora.pt"]
    for wrong in ("hub:t2v-turbo/vc2-lara", "hub:t2v-turbi/vc2-lora", "hub:vc2-lora"):
        with pytest.raises(WeightsError, match="Did you mean hub:t2v-turbo/vc2-lora"):
            find(wrong)


def test_what_is_named_among_other_files_is_found_once() -> None:
    found = find_all([LORA, "asset:a", "b.safetensors", "hub:t2v-turbo/vc2", LORA])
    assert [item.uri for item in found] == [LORA, "hub:t2v-turbo/vc2"]


def test_what_is_not_here_says_how_it_gets_here() -> None:
    with pytest.raises(WeightsError, match="vgen download t2v-turbo --name vc2-lora"):
        locate(LORA)


def test_what_was_made_is_found_by_its_record(cache: Path) -> None:
    item = find(LORA)
    assert ready(item) is None
    path = make(item, SHA)
    assert path == cache / "t2v-turbo" / f"vc2-lora-{SHA[:12]}" / "vc2-lora.safetensors"
    assert ready(item) == locate(LORA) == path
    assert ready(find("hub:t2v-turbo/vc2")) is None


@pytest.mark.parametrize(
    "change", [{"vgen_version": "0.0.1"}, {"repo": "someone/else"}, {"type": "vc2"}, {"files": {}}]
)
def test_what_another_version_made_of_other_things_is_not_taken(change: dict[str, Any]) -> None:
    make(find(LORA), SHA, **change)
    assert ready(find(LORA)) is None


def test_the_newest_is_taken_or_the_one_whose_hash_is_declared() -> None:
    import os
    from dataclasses import replace

    item = find(LORA)
    old, new = make(item, SHA), make(item, OTHER)
    os.utime(old.with_name(RECORD), (1, 1))
    assert ready(item) == new
    assert ready(Published(item.model, replace(item.file, sha256={"unet_lora.pt": SHA}))) == old


def published_values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from published_values(item)
    elif isinstance(value, str) and is_published(value):
        yield value


@pytest.mark.parametrize("model", model_names())
def test_presets_name_what_is_declared_and_types_are_known(model: str) -> None:
    for path in spec(model).presets().values():
        for uri in published_values(load_yaml(path)):
            assert find(uri).model.name == model
    types = {item.type for item in spec(model).checkpoints}
    for item in spec(model).published:
        assert not item.type or item.type in types
        assert not item.preset or item.preset in spec(model).presets()
        assert item.size > 0 and item.files and {*item.sha256} <= {*item.files}


def test_the_version_is_part_of_the_record() -> None:
    assert find(LORA).record({})["vgen_version"] == videogen_cli.__version__
