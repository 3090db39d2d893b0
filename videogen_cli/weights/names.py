"""Names from untrusted files, made fit for one line of a terminal, and errors that say where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from videogen_cli.errors import WeightsError

MAX_SHOWN = 160


def plain(name: Any) -> str:
    """Return ``name`` printable: control characters escaped, length bounded."""
    text = str(name)
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def errors_at(where: Any) -> Iterator[None]:
    """Add ``where`` to weights errors that do not say it."""
    try:
        yield
    except WeightsError as error:
        if error.where is not None:
            raise
        raise WeightsError(error.what, where=plain(where), hint=error.hint) from error
