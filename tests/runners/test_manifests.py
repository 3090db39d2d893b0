"""Every published checkpoint's keys and shapes, as listed full size, are accounted for."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from conftest import ROOTS

from videogen_cli.output import Output
from videogen_cli.runners.convert import ConvertRequest, run


def _read(path: Path) -> dict:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


FOLDERS = [root.parent / "manifests" for root in ROOTS if (root.parent / "manifests").is_dir()]
MANIFESTS = sorted(path for path in FOLDERS[0].glob("*/*.json*") if _read(path).get("type")) if FOLDERS else []


@pytest.mark.skipif(not MANIFESTS, reason="the lists of published keys are not here")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_all_keys_are_accounted_for(path: Path) -> None:
    listed = _read(path)
    result = run(ConvertRequest(listed["type"], path, check=True), Output())
    account = result["account"]
    assert account["ok"]
    assert account["used"] + sum(account["ignored"].values()) == len(listed["tensors"])
    assert result["source_params"] == sum(math.prod(item["shape"]) for item in listed["tensors"].values())
