"""Checks that params share; each raises UsageError naming the config key."""

from __future__ import annotations

from videogen_cli.errors import UsageError


def positive(where: str, params: object, *names: str) -> None:
    """Check that the named sizes are at least 1."""
    for name in names:
        if getattr(params, name) < 1:
            raise UsageError(f"must be at least 1, is {getattr(params, name)}", where=f"{where}.{name}")


def not_negative(where: str, params: object, *names: str) -> None:
    """Check that the named sizes are at least 0."""
    for name in names:
        if getattr(params, name) < 0:
            raise UsageError(f"must not be negative, is {getattr(params, name)}", where=f"{where}.{name}")


def one_of(where: str, params: object, choices: tuple[str, ...], *names: str) -> None:
    """Check that the named words are among ``choices``."""
    for name in names:
        if getattr(params, name) not in choices:
            raise UsageError(f"'{getattr(params, name)}' is not one of {', '.join(choices)}", where=f"{where}.{name}")


def levels(where: str, base: int, multiples: list[int], groups: int) -> None:
    """Check that every level's channels divide into norm groups."""
    if not multiples:
        hint = "It holds one channel multiple per level, for instance [1, 2, 4, 4]."
        raise UsageError("is empty: the network needs at least one level", where=f"{where}.channel_mult", hint=hint)
    for multiple in multiples:
        if multiple < 1:
            raise UsageError(f"must hold positive numbers, not {multiple}", where=f"{where}.channel_mult")
        if base * multiple % groups:
            what = f"{base * multiple} channels do not divide into {groups} groups"
            raise UsageError(what, where=f"{where}.norm_groups", hint="Change norm_groups, or the channels.")
