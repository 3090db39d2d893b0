"""The one place that prints: results on stdout, everything for people on stderr."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

HEARTBEAT = 10.0  # seconds between progress lines when stderr is not a terminal


class Output:
    """Prints for people (tables, progress, summaries) or for pipelines (JSON lines).

    Args:
        json: results go to stdout, one JSON object a line; nothing else ever does.
        debug: errors come with their traceback.
    """

    def __init__(self, json: bool = False, debug: bool = False) -> None:
        self.json, self.debug = json, debug
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The console on stderr."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    def result(self, record: Mapping[str, Any]) -> None:
        """Print one result as a JSON line on stdout; nothing without ``--json``."""
        if self.json:
            print(jsonlib.dumps(record, default=str), flush=True)

    def info(self, text: str) -> None:
        """Tell people something."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Tell people about something that may not be what they want."""
        self.console.print(f"warning: {text}", style="yellow", markup=False)

    def error(self, text: str) -> None:
        """Tell people why it did not work."""
        self.console.print(f"error: {text}", style="red", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Show a table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self.console.print(table)

    def summary(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        """Say at the end what was done and where it is."""
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0)
        self.console.print(title, style="bold green", markup=False)
        for name, value in rows:
            self.console.print(f"  {name:<{width}}  {value}", markup=False)

    @contextmanager
    def progress(self, label: str, total: int | float | None) -> Iterator[Progress]:
        """Show how far a job of ``total`` units is, with the time it will still take."""
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
            columns += [TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False)]
            with Bars(*columns, console=self.console, transient=True) as bars:
                yield _BarProgress(bars, bars.add_task(label, total=total, note=""))
        else:
            yield _LineProgress(self, label, total)


class Progress:
    """A running job's progress."""

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more units as done."""
        raise NotImplementedError

    def update(self, note: str) -> None:
        """Say what is being done now."""
        raise NotImplementedError


class _BarProgress(Progress):
    """A bar on a terminal."""

    def __init__(self, bars: RichProgress, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)

    def update(self, note: str) -> None:
        self._bars.update(self._task, note=note)


class _LineProgress(Progress):
    """A plain line now and then, for logs."""

    def __init__(self, output: Output, label: str, total: float | None) -> None:
        self._output, self._label, self._total = output, label, total
        self._done, self._note = 0.0, ""
        self._began = self._spoke = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._speak()

    def update(self, note: str) -> None:
        self._note = note
        self._speak()

    def _speak(self) -> None:
        now = time.monotonic()
        if now - self._spoke < HEARTBEAT:
            return
        self._spoke = now
        text = f"{self._label}: {self._done:g}"
        if self._total:
            text += f"/{self._total:g}"
            if self._done:
                text += f", {(now - self._began) * (self._total / self._done - 1):.0f} s left"
        self._output.info(f"{text} {self._note}".rstrip())
