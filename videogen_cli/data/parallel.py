"""Work spread over threads whose results come back in order, whatever their number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield ``function(item)`` for each item in order, worked on by ``workers`` threads (0 or 1: by this one).

    A few items per thread are taken ahead, so that a long list is never held as results. What ``function`` raises is
    raised here in its turn.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vgen-data")
    ahead: deque[Future[R]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) >= 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def in_background(limit: int) -> Iterator[Callable[..., None]]:
    """Yield ``submit(function, *arguments)``, which has calls made by one other thread, in order.

    At most ``limit`` calls wait; then ``submit`` waits. What one raises is raised by a later ``submit``, or at the end,
    when all calls have been made.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="vgen-background")
    waiting: deque[Future[Any]] = deque()

    def submit(function: Callable[..., Any], *arguments: Any) -> None:
        while len(waiting) >= limit or (waiting and waiting[0].done()):
            waiting.popleft().result()
        waiting.append(pool.submit(function, *arguments))

    try:
        yield submit
        while waiting:
            waiting.popleft().result()
    finally:
        pool.shutdown(wait=True)
