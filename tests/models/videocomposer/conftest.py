"""Start MindSpore before networks are imported: other tests of this process may need them to be real."""

from __future__ import annotations

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))
