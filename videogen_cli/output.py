"""The one place that prints: results on stdout, everything for people on stderr.

stdout holds what was asked for and nothing else: a table, or one JSON object per line with ``--json``. Progress,
notes, warnings, summaries and errors go to stderr. On a terminal there are colours and bars with the time left;
in a log file there are plain lines, at least one every ten seconds while something runs.
"""

from __future__ import annotations

import dataclasses
import json as jsonlib
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Protocol, TextIO

from videogen_cli.errors import VgenError
from videogen_cli.files import size_text

HEARTBEAT = 10.0  # seconds between lines of a progress that has no terminal


class Progress(Protocol):
    """A running count towards a total."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""
        ...

    def at(self, done: int, total: int) -> None:
        """Say how many of how many are done, where the total is learnt on the way."""
        ...

    def update(self, text: str) -> None:
        """Say what is being done right now."""
        ...


class Output:
    """Where a run's words go.

    Args:
        json: print results as JSON lines on stdout, and tables not at all.
        debug: errors come with their traceback.
        quiet: print no results, tables and summaries: for a step of a run whose result is another.
    """

    def __init__(self, json: bool = False, debug: bool = False, quiet: bool = False) -> None:
        self.json, self.debug, self.quiet = json, debug, quiet
        self._bars: Any = None
        self._running = 0

    def result(self, value: Mapping[str, Any]) -> None:
        """Print ``value`` as one JSON line on stdout; without ``--json`` print nothing."""
        if self.json and not self.quiet:
            print(jsonlib.dumps(plain(value)), file=sys.stdout, flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table on stdout; with ``--json`` print nothing, for then :meth:`result` says it."""
        if self.json or self.quiet:
            return
        cells = [[str(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _rich_table(title, columns, cells)
        else:
            print("\n".join(_plain_table(title, columns, cells)), file=sys.stdout, flush=True)

    def text(self, text: str) -> None:
        """Print text that is itself the result, such as YAML, on stdout; with ``--json`` print nothing."""
        if not (self.json or self.quiet):
            print(text, file=sys.stdout, flush=True)

    def info(self, text: str) -> None:
        """Tell people something."""
        self._say(text)

    def warn(self, text: str) -> None:
        """Tell people about something that may not be as they wish."""
        self._say("warning: ", text, style="yellow")

    def error(self, error: VgenError | str) -> None:
        """Tell people why the run ends; with ``--json`` an error of ours is one JSON object, also on stderr."""
        if self.json and isinstance(error, VgenError):
            body = {"what": error.what, "where": error.where, "hint": error.hint, "code": int(error.code)}
            print(jsonlib.dumps({"error": body}), file=sys.stderr, flush=True)
        else:
            self._say("error: ", str(error), style="bold red")

    def summary(self, title: str, rows: Iterable[tuple[str, Any]]) -> None:
        """Tell people at the end what was done and where it was written."""
        if self.quiet:
            return
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name:<{width}}  {value}" for name, value in rows]
        self._say(title, "".join(f"\n{line}" for line in lines), style="bold green")

    @contextmanager
    def progress(self, label: str, total: int | None = None, *, start: int = 0, unit: str = "") -> Iterator[Progress]:
        """Show a count towards ``total`` (None = unknown) with the time left, for as long as the context lasts.

        Args:
            label: what is being done.
            total: the count at the end.
            start: what an earlier run has done of it.
            unit: "bytes" are shown as MB and GB.
        """
        if sys.stderr.isatty():
            with self._bar(label, total, start, unit) as bar:
                yield bar
            return
        with _Heartbeat(label, total, self.info, start, unit) as beat:
            yield beat

    @contextmanager
    def _bar(self, label: str, total: int | None, start: int, unit: str) -> Iterator[Progress]:
        """Add a bar to the terminal's one live display, which lasts as long as there are bars."""
        if self._bars is None:
            self._bars = _new_bars()
        if self._running == 0:
            self._bars.start()
        self._running += 1
        bar = _Bar(self._bars, label, total, start, unit)
        try:
            yield bar
        finally:
            self._running -= 1
            if self._running == 0:
                self._bars.stop()
                self._bars = None

    def _say(self, head: str, tail: str = "", style: str = "") -> None:
        """Write a line to stderr, above the bars if there are any."""
        if not sys.stderr.isatty():
            print(head + tail, file=sys.stderr, flush=True)
            return
        from rich.text import Text

        console = self._bars.console if self._bars is not None else _console(sys.stderr)
        console.print(Text.assemble((head, style), tail), soft_wrap=True)


class _Bar:
    """One bar of the terminal's display."""

    def __init__(self, bars: Any, label: str, total: int | None, start: int = 0, unit: str = "") -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total, completed=start, doing="", unit=unit)

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self._bars.advance(self._task, count)

    def at(self, done: int, total: int) -> None:
        """Put the bar in its place."""
        self._bars.update(self._task, completed=done, total=total)

    def update(self, text: str) -> None:
        """Write beside the bar."""
        self._bars.update(self._task, doing=text)


class _Heartbeat:
    """Progress without a terminal: a line now and then from a thread, so that a stuck step shows as one."""

    def __init__(self, label: str, total: int | None, say: Any, start: int = 0, unit: str = "") -> None:
        self._label, self._total, self._say, self._unit = label, total, say, unit
        self._done, self._start, self._doing = start, start, ""
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def advance(self, count: int = 1) -> None:
        """Count; printed with the next line."""
        self._done += count

    def at(self, done: int, total: int) -> None:
        """Set both counts; printed with the next line."""
        self._done, self._total = done, total
        self._start = min(self._start, done)

    def update(self, text: str) -> None:
        """Remember; printed with the next line."""
        self._doing = text

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            self._say(self.line(time.monotonic() - self._began))

    def line(self, seconds: float) -> str:
        """Return the line to print after ``seconds`` of work."""
        done = self._done - self._start
        parts = [_count_text(self._done, self._total, self._unit), f"{duration(seconds)} so far"]
        if self._total and done:
            parts.append(f"about {duration(seconds / done * (self._total - self._done))} left")
        return f"{self._label}: {', '.join(parts)}" + (f" ({self._doing})" if self._doing else "")


def _count_text(done: int, total: int | None, unit: str) -> str:
    show = size_text if unit == "bytes" else str
    return f"{show(done)}/{show(total)}" if total else show(done)


def duration(seconds: float) -> str:
    """Return seconds as people say them: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: paths as text, arrays as lists, dataclasses as objects, NaN as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if to_list := getattr(value, "tolist", None):
        return plain(to_list())
    if isinstance(value, PurePath):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _console(stream: TextIO) -> Any:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _new_bars() -> Any:
    from rich import progress as bars
    from rich.text import Text

    class Count(bars.ProgressColumn):
        def render(self, task: Any) -> Text:
            total = None if task.total is None else int(task.total)
            return Text(_count_text(int(task.completed), total, task.fields["unit"]), style="progress.download")

    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        Count(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[doing]}", style="dim", markup=False),
        console=_console(sys.stderr),
    )


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    head = any(columns)
    table = Table(title=Text(title) if title else None, title_justify="left", title_style="bold", show_header=head)
    table.box = box.SIMPLE_HEAD
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console(sys.stdout).print(table)


def _plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    shown = [columns, *rows] if any(columns) else rows
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown]
    return [title] * bool(title) + [line.rstrip() for line in lines]
