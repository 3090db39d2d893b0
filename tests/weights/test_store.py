"""Finding weights, and one component's share of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.weights import store
from videogen_cli.weights.writer import save_safetensors

ONE = np.ones(1, np.float32)
PARTS = ("unet", "vae")


def test_locate_paths_and_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "assets_dir", lambda: tmp_path)
    (tmp_path / "tiny.safetensors").touch()
    assert store.locate("asset:tiny.safetensors") == tmp_path / "tiny.safetensors"
    assert store.locate(str(tmp_path / "tiny.safetensors")) == tmp_path / "tiny.safetensors"
    for wrong in ("asset:tony.safetensors", str(tmp_path / "tony.safetensors")):
        with pytest.raises(WeightsError, match=r"Did you mean tiny.safetensors"):
            store.locate(wrong)
    with pytest.raises(WeightsError, match="does not ship"):
        store.locate("asset:../../etc/passwd")


def test_component_of_a_file_of_several(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    save_safetensors(path, {"unet.w": ONE, "unet.unet.b": ONE, "vae.w": ONE}, {"component": "unet,vae"})
    assert list(store.open_component(path, "unet", PARTS)) == ["w", "unet.b"]
    assert list(store.open_component(path, "vae", PARTS)) == ["w"]
    save_safetensors(path, {"unet.w": ONE}, {"component": "unet"})
    with pytest.raises(WeightsError, match="no weights of the component 'vae'"):
        store.open_component(path, "vae", PARTS)


def test_component_of_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_safetensors(path, {"w": ONE, "down.0.w": ONE}, {})
    assert list(store.open_component(path, "unet", PARTS)) == ["w", "down.0.w"]
    save_safetensors(path, {"w": ONE}, {"component": "vae"})
    with pytest.raises(WeightsError, match="It holds: vae"):
        store.open_component(path, "unet", PARTS)
