"""Which MindSpore is installed and whether it fits, found out without importing it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from videogen_cli.errors import DeviceError

TESTED = ("2.8", "2.9", "2.10")
INSTALL_HINT = 'Install it with: pip install "mindspore>=2.8,<2.11"'


@dataclass(frozen=True)
class Install:
    """An installed MindSpore: its version and the folder of the package."""

    version: str
    folder: Path

    @property
    def series(self) -> str:
        """The first two numbers of the version, such as ``2.10``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def tested(self) -> bool:
        """Whether vgen was tested with this series."""
        return self.series in TESTED

    def mismatch(self) -> str | None:
        """Say how the wheel's compiled part fails to fit this Python and machine, or None when it fits."""
        built = [path.name for path in self.folder.glob("_c_expression*.so")]
        if any(f"_c_expression{suffix}" in built for suffix in EXTENSION_SUFFIXES):
            return None
        found = built[0] if built else "no compiled module"
        here = f"CPython {sys.version_info.major}.{sys.version_info.minor} on {platform.system()} {platform.machine()}"
        return f"the installed wheel has {found}, which does not load in {here}"


def find_mindspore() -> Install | None:
    """Return the installed MindSpore, or None."""
    try:
        found = distribution("mindspore")
    except PackageNotFoundError:
        return None
    return Install(found.version, Path(str(found.locate_file("mindspore"))))


def require_mindspore() -> Install:
    """Return the installed MindSpore.

    Raises:
        DeviceError: there is none, or its wheel was made for another Python or machine.
    """
    install = find_mindspore()
    if install is None:
        raise DeviceError("MindSpore is not installed", hint=INSTALL_HINT)
    if problem := install.mismatch():
        hint = f"Reinstall MindSpore for this Python: {INSTALL_HINT.removeprefix('Install it with: ')}"
        raise DeviceError(problem, where=f"MindSpore {install.version}", hint=hint)
    return install
