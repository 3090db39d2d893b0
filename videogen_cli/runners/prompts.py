"""Prompts from the command line, a CSV or text file, or standard input."""

from __future__ import annotations

import csv
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from videogen_cli.errors import DataError, UsageError


@dataclass(frozen=True)
class Prompt:
    """A prompt and the stem of the file made from it."""

    id: str
    text: str


class HasPrompts(Protocol):
    """The part of a request that says where prompts come from."""

    prompts: list[str]
    prompts_file: str | None


def read_prompts(request: HasPrompts) -> list[Prompt]:
    """Collect the prompts of a request; ids are unique and safe as file names.

    Raises:
        UsageError: no prompt was given, or both ways were used.
        DataError: the file is missing, unreadable, empty, lacks a ``prompt`` column, or holds an empty prompt.
    """
    if request.prompts and request.prompts_file:
        raise UsageError("give --prompt or --prompts-file, not both")
    if request.prompts_file:
        pairs = _from_file(request.prompts_file)
    else:
        pairs = [("", text) for text in request.prompts]
    if not pairs:
        hint = 'Example: --prompt "a red circle moving right"'
        raise UsageError("no prompt was given", where=request.prompts_file, hint=hint)
    for number, (_, text) in enumerate(pairs, 1):
        if not text.strip():
            raise DataError(
                f"prompt {number} is empty", where=request.prompts_file or "--prompt", hint="Say what to show."
            )
    return _named(pairs)


def _from_file(source: str) -> list[tuple[str, str]]:
    """Return (id or "", prompt) pairs; ``-`` is standard input, read as one prompt per line."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such prompts file", where=source) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the prompts: {error}", where=source, hint="It must be UTF-8 text.") from error
    if source.lower().endswith(".csv"):
        rows = csv.DictReader(io.StringIO(text))
        if "prompt" not in (rows.fieldnames or ()):
            columns = ", ".join(rows.fieldnames or ()) or "none"
            raise DataError("the CSV has no 'prompt' column", where=source, hint=f"Its columns: {columns}")
        return [(row.get("id") or "", _whole_prompt(row, source, rows.line_num)) for row in rows]
    return [("", line.strip()) for line in text.splitlines() if line.strip()]


def _whole_prompt(row: dict[str | None, Any], source: str, line: int) -> str:
    """Return a row's prompt; commas that should have been quoted are taken as part of it if it is the last column."""
    prompt, beyond = row.get("prompt") or "", row.get(None)
    if not beyond:
        return prompt
    if list(row)[-2] != "prompt":
        hint = "Quote the prompt, or make it the last column."
        raise DataError("has more cells than there are columns", where=f"{source}, line {line}", hint=hint)
    return ",".join([prompt, *beyond])


def _named(pairs: list[tuple[str, str]]) -> list[Prompt]:
    """Number the prompts and make file stems of their ids or first words; a repeated stem gets its number."""
    prompts: list[Prompt] = []
    taken: set[str] = set()
    for number, (given, text) in enumerate(pairs):
        slug = re.sub(r"[^\w-]+", "-", given or text.lower()).strip("-_.")[:60] or "video"
        name = slug if given else (f"{number:04d}-{slug}" if len(pairs) > 1 else slug)
        if name in taken:
            name = f"{name}-{number:04d}"
        taken.add(name)
        prompts.append(Prompt(name, text))
    return prompts
