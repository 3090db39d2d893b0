"""Compile the CPU kernels for machines without a C++ compiler, into the package, for wheels to carry.

    python scripts/make_kernels.py

One library per level of CPU: x86-64-v4 (AVX-512), x86-64-v3 (AVX2) and aarch64, as far as there are compilers: this
machine's, or one for the other architecture (Debian, Ubuntu: g++-aarch64-linux-gnu). At run time they serve where
nothing can be compiled. Those of this machine's levels are tried before they are kept.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from videogen_cli.files import atomic_path
from videogen_cli.runtime import host
from videogen_cli.runtime.kernels import build, store
from videogen_cli.runtime.kernels.compiler import Compiler, compile_library, compilers, sources

# Level: the architecture, and what its compilers call the level.
LEVELS = {
    "x86-64-v4": ("x86_64", "-march=x86-64-v4"),
    "x86-64-v3": ("x86_64", "-march=x86-64-v3"),
    "aarch64": ("aarch64", "-march=armv8-a"),
}


def main() -> int:
    made = 0
    for level, (machine, flag) in LEVELS.items():
        tool = _compiler(machine)
        if tool is None:
            print(f"{level}: left out, there is no compiler for {machine}")
            continue
        target = build.PREBUILT / f"{level}.so"
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "kernels.so"
            compile_library(tool, sources(), Path(work), path, (flag,))
            tried = level in host.cpu_levels()
            if tried:
                store.require_working(path)
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
        made += 1
        print(f"{level}: {target}, {target.stat().st_size >> 10} KB{'' if tried else ', not tried on this machine'}")
    return 0 if made else 1


def _compiler(machine: str) -> Compiler | None:
    if machine == platform.machine():
        return next(compilers(), None)
    path = shutil.which(f"{machine}-linux-gnu-g++")
    return Compiler((path,)) if path else None


if __name__ == "__main__":
    sys.exit(main())
