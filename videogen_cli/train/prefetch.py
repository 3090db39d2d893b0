"""The next batches, made in the background while a step runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(make: Callable[..., T], keys: Iterable[tuple[Any, ...]], depth: int = 2) -> Generator[T, None, None]:
    """Yield ``make(*key)`` for each key in order, up to ``depth`` of them ahead.

    What ``make`` raises is raised here, when its turn has come. Closing the iterator ends the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def offer(item: tuple[T | None, BaseException | None]) -> None:
        while not closed.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for key in keys:
                if closed.is_set():
                    return
                offer((make(*key), None))
            offer((None, StopIteration()))
        except BaseException as error:
            offer((None, error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            value, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield value  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
