"""One type of checkpoint that was published under several sets of names: the original's, and those of its ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import Account, KeyMap, Match, Shape
from videogen_cli.weights.tensor import LazyTensor

_VARIANT = "variant"  # where a converted file says which one it was


@dataclass(frozen=True)
class Variants:
    """Key maps by variant, used in place of one: that which accounts for a file's keys, or else fits it best.

    A converted file remembers its variant, so that an export has the names it came with; the first is the default.
    """

    maps: Mapping[str, KeyMap]

    @property
    def default(self) -> KeyMap:
        """The original's names."""
        return next(iter(self.maps.values()))

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """See :meth:`KeyMap.open`."""
        return self.default.open(path, root)

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """See :meth:`KeyMap.prepare`."""
        return self.default.prepare(params, tensors)

    def targets(self, cells: Mapping[str, Any]) -> dict[str, Shape]:
        """See :meth:`KeyMap.targets`."""
        return self.default.targets(cells)

    def resolve(self, key: str) -> Match | None:
        """Return what knows a key, the default's rules first."""
        return next((match for keys in self.maps.values() if (match := keys.resolve(key))), None)

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """See :meth:`KeyMap.account`."""
        best: Account | None = None
        for name, keys in self.maps.items():
            account = keys.account(tensors, targets)
            if keys is not self.default:
                account.metadata[_VARIANT] = name
            if account.ok:
                return account
            if best is None or _problems(account) < _problems(best):
                best = account
        assert best is not None
        return best

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`."""
        keys = self.maps.get((found or {}).get(_VARIANT, ""), self.default)
        return keys.export(tensors, found)


def _problems(account: Account) -> int:
    return len(account.missing) + len(account.unexpected) + len(account.mismatched)
