"""Names from untrusted files, made fit for one line of a terminal."""

from __future__ import annotations

from typing import Any

MAX_SHOWN = 160


def plain(name: Any) -> str:
    """Return ``name`` printable: control characters escaped, length bounded."""
    text = str(name)
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN // 2]}...{text[-MAX_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
