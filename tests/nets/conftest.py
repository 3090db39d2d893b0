"""Start MindSpore before networks are imported, and let tests choose the mode they run in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)


@pytest.fixture(params=["graph", "pynative"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test in graph mode and in pynative mode."""
    yield from _in_mode(request.param)


@pytest.fixture
def pynative() -> Iterator[str]:
    """Run a test in pynative mode, where nothing is compiled."""
    yield from _in_mode("pynative")


def _in_mode(name: str) -> Iterator[str]:
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE if name == "graph" else ms.PYNATIVE_MODE)
    yield name
    ms.set_context(mode=before)
