"""Where golden cases are: ``VGEN_GOLDEN``, else ``shared/golden`` beside the checkout, else the copies in tests/."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the real hub for anything
HERE = Path(__file__).parent
ROOTS = [Path(os.environ.get("VGEN_GOLDEN", "/nonexistent")), HERE.parents[1] / "shared" / "golden", HERE / "golden"]


def find_golden(case: str) -> Path:
    """Return the folder of ``case`` ("model/name"); skip the test when no copy of it is at hand."""
    for root in ROOTS:
        if (root / case).is_dir():
            return root / case
    pytest.skip(f"golden case {case} is not here")


def read_golden(case: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return (config, inputs, outputs) of ``case``, tensor names without ``in.`` and ``out.``."""
    folder = find_golden(case)
    tensors = load_file(folder / "io.safetensors")
    inputs = {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
    outputs = {name[4:]: value for name, value in tensors.items() if name.startswith("out.")}
    return json.loads((folder / "case.json").read_text())["config"], inputs, outputs


@pytest.fixture
def golden_path() -> Callable[[str], Path]:
    """Give tests the folder of a golden case."""
    return find_golden


@pytest.fixture
def manifest_path() -> Callable[[str], Path]:
    """Give tests the list of a published file's keys and shapes ("model/name.json"); skip where it is not at hand."""

    def find(name: str) -> Path:
        for root in ROOTS:
            if (path := root.parent / "manifests" / name).exists():
                return path
        pytest.skip(f"the key list {name} is not here")

    return find


@pytest.fixture
def golden() -> Callable[[str], tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Give tests :func:`read_golden`."""
    return read_golden
