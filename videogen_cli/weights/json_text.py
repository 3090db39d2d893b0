"""JSON from untrusted files: bounded, without duplicate keys, without NaN."""

from __future__ import annotations

import json
from typing import Any

from videogen_cli.errors import WeightsError

_MAX_PARTS = 4_000_000  # braces, brackets and commas: what makes objects


def parse_json(data: bytes, where: str, what: str) -> Any:
    """Parse UTF-8 JSON.

    Args:
        data: the text.
        where: the file, for messages.
        what: what the text is, for messages ("header", "index").

    Raises:
        WeightsError: not UTF-8, not JSON, duplicate keys, nested too deeply, or too large.
    """
    if sum(data.count(mark) for mark in (b"{", b"[", b",")) > _MAX_PARTS:
        raise WeightsError(f"its {what} is far too large", where=where)
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_short_int
        )
    except UnicodeDecodeError as error:
        raise WeightsError(f"its {what} is not UTF-8 text", where=where) from error
    except RecursionError as error:
        raise WeightsError(f"its {what} is nested too deeply", where=where) from error
    except ValueError as error:
        raise WeightsError(f"its {what} is not valid JSON ({error})", where=where) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is there twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def is_count(value: Any) -> bool:
    """Tell whether ``value`` is a non-negative integer (not a bool, not a float)."""
    return type(value) is int and value >= 0


def _short_int(digits: str) -> int:
    if len(digits) > 30:
        raise ValueError("a number has too many digits")
    return int(digits)
