"""Prove that vgen's dependencies resolve to binary wheels on x86-64 and on aarch64 (Ascend hosts).

    python scripts/check_resolves.py            check every constraints file on both architectures
    python scripts/check_resolves.py --write    make the constraints files anew from what resolves today

pip downloads nothing but metadata (``pip install --dry-run --platform``). It evaluates markers such as
``platform_machine == 'aarch64'`` for the machine it runs on, so the markers of vgen's own dependencies are evaluated
here, for the wanted machine, and pip is given the plain requirements. Markers of dependencies' dependencies are still
evaluated for this machine: today only hf-xet has one (of huggingface_hub), true on both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
MACHINES = ("x86_64", "aarch64")
# The oldest and the newest MindSpore that vgen allows.
ENDS = {"2.8": ["mindspore==2.8.0"], "2.10": ["mindspore==2.10.0"]}
PER_MACHINE = {"decord", "decord2"}


def constraints_file(version: str) -> Path:
    return ROOT / f"constraints-{version}.txt"


def requirements(machine: str) -> list[str]:
    """Return vgen's dependencies as they apply on ``machine``, without markers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parsed = [Requirement(text) for text in project["dependencies"]]
    wanted = [r for r in parsed if r.marker is None or r.marker.evaluate({"platform_machine": machine})]
    return [f"{r.name}{r.specifier}" for r in wanted]


def resolve(machine: str, extra: list[str], constraints: Path | None = None) -> dict[str, str]:
    """Return package name -> version as pip would install them on ``machine`` with Python 3.11.

    Raises:
        SystemExit: they do not resolve; pip's own words are on stderr.
    """
    tags = (f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}")
    tags += (f"manylinux2010_{machine}", f"manylinux1_{machine}") if machine == "x86_64" else ()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--target", folder, "--report", str(report)]
        command += [argument for tag in tags for argument in ("--platform", tag)]
        command += ["--constraint", str(constraints)] if constraints else []
        if subprocess.run([*command, *requirements(machine), *extra], check=False).returncode:
            raise SystemExit(f"vgen does not resolve on {machine}")
        installed = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installed}


def write(version: str) -> None:
    """Write a constraints file: one version per package, the same on both machines where a package is on both."""
    found = resolve("x86_64", ENDS[version])
    pinned = [f"{name}=={number}" for name, number in sorted(found.items()) if name not in PER_MACHINE]
    head = f"# What vgen resolves to with MindSpore {version}; made by scripts/check_resolves.py --write.\n"
    constraints_file(version).write_text(head + "\n".join(pinned) + "\n")


def main() -> None:
    """Check, or write and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the constraints files anew first")
    if parser.parse_args().write:
        for version in ENDS:
            write(version)
    for version, chosen in ENDS.items():
        for machine in MACHINES:
            found = resolve(machine, chosen, constraints_file(version))
            print(f"MindSpore {version} on {machine}: {len(found)} packages resolve, all as wheels")


if __name__ == "__main__":
    main()
