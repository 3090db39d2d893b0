import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def files(folder):
    return {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc" and path.is_file()}


def test_a_wheel_carries_presets_and_assets(tmp_path):
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q", "-w"]
    subprocess.run([*command, str(tmp_path)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("vgen-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {f"videogen_cli/{path}" for path in files("configs")} <= packed
    assert {str(path) for path in files("videogen_cli")} <= packed


def test_every_model_of_the_project_is_installed():
    import tomllib
    from importlib.metadata import entry_points

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["vgen.models"]
    assert declared.items() <= {(point.name, point.value) for point in entry_points(group="vgen.models")}
