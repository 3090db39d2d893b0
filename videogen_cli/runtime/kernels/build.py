"""Compiling the kernel library, once per source, compiler and CPU, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from videogen_cli.files import cache_root

SOURCE = Path(__file__).with_name("source")
SWITCH = "VGEN_KERNELS"
NAME = "kernels.so"
# No -ffast-math, which loses NaN; what it is wanted for here are fused multiply-adds and selects without branches.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math",
         "-ffp-contract=fast", "-Wall", "-Wextra")  # fmt: skip


@dataclass(frozen=True)
class Library:
    """Where the compiled kernels are; without a ``path``, ``reason`` says why there are none."""

    path: Path | None
    reason: str = ""
    built: bool = False


def library() -> Library:
    """Return the kernel library of this machine, compiling it if that was not done before."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return Library(None, f"switched off by {SWITCH}")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return Library(None, "no C++ compiler")
    path = cache_root() / "kernels" / _key(compiler) / NAME
    if path.exists():
        return Library(path)
    _compile(compiler, path)
    return Library(path, built=True)


def _key(compiler: str) -> str:
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    digest.update("\n".join([version, *FLAGS, platform.machine(), _cpu()]).encode())
    return digest.hexdigest()[:20]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _compile(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted(SOURCE.glob("*.cc"))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda pair: _run([compiler, *FLAGS, "-c", str(pair[0]), "-o", str(pair[1])]),
                          zip(sources, objects, strict=True)))  # fmt: skip
        finished = Path(folder) / NAME
        _run([compiler, *FLAGS, "-shared", *map(str, objects), "-o", str(finished)])
        finished.replace(path)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
