"""Reading the originals' hyper-parameters: what is missing, or would make another network than ours, is an error.

``section`` is what the messages put before the key: the config's section, or the component it describes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from videogen_cli.errors import DataError, UsageError

LAYERS_SKIPPED = {"last": 0, "penultimate": 1}  # where a CLIP text tower is read -> its blocks that are then not run


class _Checkable(Protocol):
    def check(self) -> None: ...


Params = TypeVar("Params", bound=_Checkable)
Value = TypeVar("Value")


def required(config: Mapping[str, Any], key: str, section: str = "") -> Any:
    """Return the value of ``key``.

    Raises:
        DataError: there is none.
    """
    if config.get(key) is None:
        raise DataError("is missing from the original's hyper-parameters", where=_where(section, key))
    return config[key]


def only_ours(config: Mapping[str, Any], switches: Mapping[str, Any], section: str = "") -> None:
    """Check that every switch the config sets has the value under which the network is ours.

    Args:
        config: the original's; a switch that it lacks is as ours.
        switches: name -> that value, or a tuple of such values.
        section: see the module.

    Raises:
        DataError: a switch has another value.
    """
    for key, ours in switches.items():
        allowed = ours if isinstance(ours, tuple) else (ours,)
        if key in config and config[key] not in allowed:
            raise _unsupported(config[key], allowed, _where(section, key))


def looked_up(word: Any, known: Mapping[str, Value], where: str) -> Value:
    """Return what the original's ``word`` stands for.

    Raises:
        DataError: it is not among the known ones.
    """
    if word not in known:
        raise _unsupported(word, tuple(known), where)
    return known[word]


def multiples(widths: Sequence[int], where: str) -> list[int]:
    """Return the levels' widths as multiples of the first.

    Raises:
        DataError: one is none.
    """
    if any(width % widths[0] for width in widths):
        raise DataError(f"{list(widths)} are not multiples of the first", where=where)
    return [width // widths[0] for width in widths]


def checked(params: Params) -> Params:
    """Return params after their own check, whose complaint is one about the original's values.

    Raises:
        DataError: they describe no network.
    """
    try:
        params.check()
    except UsageError as error:
        raise DataError(error.what, where=error.where, hint=error.hint) from error
    return params


def _unsupported(value: Any, allowed: tuple[Any, ...], where: str) -> DataError:
    return DataError(f"{value!r} is not supported, only {', '.join(map(repr, allowed))}", where=where)


def _where(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key
