"""Key maps: tables that say what every key of a published checkpoint becomes, or why it is left out.

A map accounts for every key: used, ignored by a named rule, missing, unexpected, or of another shape. Maps can be
run backwards, so that our weights can be written under the original's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError, nearest
from videogen_cli.runtime.cells import shapes
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.names import plain
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.tensor import LazyTensor

Shape = tuple[int, ...]
_MAX_LISTED = 4


def _regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern: ``{}`` stands for an integer, ``{*}`` for any text (also with dots), the rest for itself."""
    parts = re.split(r"(\{\*?\})", pattern)
    return re.compile("".join({"{}": r"(\d+)", "{*}": r"(.+?)"}.get(part, re.escape(part)) for part in parts))


def _fill(pattern: str, values: Iterable[str]) -> str:
    """Put ``values`` in the place of a pattern's holes, in order."""
    left = iter(values)
    return re.sub(r"\{\*?\}", lambda _: next(left), pattern)


@dataclass(frozen=True)
class Rule:
    """One line of a key map; ``target`` None means that the key is ignored for ``reason``."""

    pattern: str
    target: str | None
    reason: str = ""

    @cached_property
    def forwards(self) -> re.Pattern[str]:
        """Matches the original's names."""
        return _regex(self.pattern)

    @cached_property
    def backwards(self) -> re.Pattern[str]:
        """Matches our names."""
        return _regex(self.target or "")


def rename(pattern: str, target: str) -> Rule:
    """Say that keys matching ``pattern`` become ``target``, its holes filled in the same order."""
    return Rule(pattern, target)


def ignore(pattern: str, reason: str) -> Rule:
    """Say that keys matching ``pattern`` are not needed, and why."""
    return Rule(pattern, None, reason)


@dataclass(frozen=True)
class Mismatch:
    """A key whose shape is not the parameter's."""

    source: str
    target: str
    found: Shape
    expected: Shape


@dataclass
class Account:
    """What became of every key. ``used`` maps our names to the original's; ``ignored`` maps keys to reasons."""

    used: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: dict[str, list[str]] = field(default_factory=dict)  # key -> nearest known keys
    mismatched: list[Mismatch] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)  # what the map found out (a LoRA's rank)

    @property
    def ok(self) -> bool:
        """Whether every parameter has its weight and every key its place."""
        return not (self.missing or self.unexpected or self.mismatched)

    def to_dict(self) -> dict[str, Any]:
        """Return the account for ``--json``."""
        return {
            "ok": self.ok,
            "used": len(self.used),
            "ignored": _counted(self.ignored.values()),
            "missing": self.missing,
            "unexpected": self.unexpected,
            "mismatched": [vars(item) for item in self.mismatched],
            **({"found": self.metadata} if self.metadata else {}),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what, number of keys, details) for a table."""
        rows = [("used", str(len(self.used)), _counts_by_component(self.used))]
        rows += [(f"ignored: {reason}", str(count), "") for reason, count in _counted(self.ignored.values()).items()]
        rows.append(("missing", str(len(self.missing)), _listed(self.missing)))
        rows.append(("unexpected", str(len(self.unexpected)), _listed(self.unexpected)))
        rows.append(("other shape", str(len(self.mismatched)), _listed([item.source for item in self.mismatched])))
        return rows

    def require_ok(self, where: str, hint: str | None = None) -> None:
        """Raise WeightsError unless all is accounted for; the message names the first keys of each kind."""
        if self.ok:
            return
        if not self.used and not self.mismatched:
            raise WeightsError(f"none of its {len(self.unexpected)} keys is one of this type's", where=where, hint=hint)
        lines = [f"{len(self.missing)} missing: {_listed(self.missing)}"] if self.missing else []
        if self.unexpected:
            close = [f"{plain(k)}{f' (near {near[0]})' if near else ''}" for k, near in self.unexpected.items()]
            lines.append(f"{len(self.unexpected)} unexpected: {_listed(close)}")
        if self.mismatched:
            shown = [f"{plain(m.source)} is {list(m.found)} instead of {list(m.expected)}" for m in self.mismatched]
            lines.append(f"{len(self.mismatched)} of another shape: {_listed(shown)}")
        raise WeightsError("its keys do not fit: " + "; ".join(lines), where=where, hint=hint)


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _counts_by_component(names: Iterable[str]) -> str:
    return _listed(f"{name} {count}" for name, count in _counted(n.partition(".")[0] for n in names).items())


def _listed(names: Iterable[str]) -> str:
    shown = [plain(name) for name in names]
    return ", ".join(shown[:_MAX_LISTED]) + (", ..." if len(shown) > _MAX_LISTED else "")


@dataclass(frozen=True)
class KeyMap:
    """A table of rules; the first that matches decides.

    Args:
        rules: made with :func:`rename` and :func:`ignore`; targets are ``<component>.<parameter>``.
        strip: prefixes that wrappers put before every key, removed where they stand.
        optional: patterns of our names that a checkpoint may lack.
    """

    rules: tuple[Rule, ...]
    strip: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file this map may be used on."""
        return open_checkpoint(path, root=root)

    def prepare(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the params of the networks the checkpoint was made for."""
        return params

    def targets(self, cells: Mapping[str, Any]) -> dict[str, Shape]:
        """Return the wanted parameters of the given networks: ``<component>.<parameter>`` -> shape."""
        return {f"{name}.{key}": shape for name, cell in cells.items() for key, shape in shapes(cell).items()}

    def resolve(self, key: str) -> Rule | None:
        """Return the rule for a key, with its target (if any) filled in; None when no rule knows it."""
        for prefix in self.strip:
            key = key.removeprefix(prefix)
        for rule in self.rules:
            if match := rule.forwards.fullmatch(key):
                return Rule(key, _fill(rule.target, match.groups()) if rule.target else None, rule.reason)
        return None

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """Say what becomes of every key of ``tensors`` and where every one of ``targets`` comes from.

        Keys of components that ``targets`` does not mention are ignored.
        """
        result = Account()
        components = {name.partition(".")[0] for name in targets}
        for key, tensor in tensors.items():
            rule = self.resolve(key)
            target = rule.target if rule else None
            if rule and target is None:
                result.ignored[key] = rule.reason
            elif target and target.partition(".")[0] not in components:
                result.ignored[key] = f"{target.partition('.')[0]} is not asked for"
            elif target is None or target not in targets or target in result.used:
                result.unexpected[key] = []
            elif tensor.shape != targets[target]:
                result.mismatched.append(Mismatch(key, target, tensor.shape, targets[target]))
            else:
                result.used[target] = key
        placed = {*result.used, *(item.target for item in result.mismatched)}
        optional = [_regex(pattern) for pattern in self.optional]
        result.missing = [t for t in targets if t not in placed and not any(p.fullmatch(t) for p in optional)]
        for key in list(result.unexpected)[:_MAX_LISTED]:
            result.unexpected[key] = nearest(key, (self.source_name(t) for t in targets))
        return result

    def source_name(self, target: str) -> str:
        """Return the original's name of one of ours (or the name itself when no rule makes it)."""
        for rule in self.rules:
            if rule.target and (match := rule.backwards.fullmatch(target)):
                source = _fill(rule.pattern, match.groups())
                back = self.resolve(source)
                if back and back.target == target:
                    return source
        return target

    def export(self, names: Iterable[str]) -> dict[str, str]:
        """Return the original's name -> our name, for all of ``names``.

        Raises:
            WeightsError: a name has no counterpart in the original.
        """
        result: dict[str, str] = {}
        for name in names:
            source = self.source_name(name)
            back = self.resolve(source)
            if not back or back.target != name or source in result:
                raise WeightsError(f"'{plain(name)}' has no name in the original")
            result[source] = name
        return result
