"""How long the parts of a call take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median


class Clock:
    """Adds up the seconds of a call's parts, call by call."""

    def __init__(self) -> None:
        self.calls: list[dict[str, float]] = []

    def begin(self) -> None:
        """Count what follows as another call's."""
        self.calls.append({})

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time inside to a part's."""
        began = time.perf_counter()
        yield
        now = self.calls[-1]
        now[part] = now.get(part, 0.0) + time.perf_counter() - began

    def medians(self, last: int = 0) -> dict[str, float]:
        """Return the median seconds by part, of the last so many calls (0: of all)."""
        calls = self.calls[-last:]
        return {part: median(call[part] for call in calls) for part in calls[-1]}
