"""Key maps of networks whose parts are published in files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videogen_cli.weights.keymap import Account, KeyMap
from videogen_cli.weights.tensor import LazyTensor


@dataclass(frozen=True)
class PartedKeys(KeyMap):
    """A key map that does not miss a part of which a file has nothing at all, if it has something of another.

    ``parts`` are beginnings of our names; the first that fits a name says which part it belongs to. Names that begin
    with one of ``needed``, or belong to no part, are missed in every file.
    """

    parts: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Any]) -> Account:
        """See :meth:`KeyMap.account`."""
        account = super().account(tensors, targets)
        there = {self._part(name) for name in (*account.used, *(item.target for item in account.mismatched))}
        if there:
            account.missing = [name for name in account.missing if self._part(name) in {*there, None}]
        return account

    def _part(self, name: str) -> str | None:
        if name.startswith(self.needed):
            return None
        return next((part for part in self.parts if name.startswith(part)), None)
