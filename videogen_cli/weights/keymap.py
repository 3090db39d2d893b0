"""Key maps: tables that say what every key of a published checkpoint becomes, or why it is left out.

A map accounts for every key: used, ignored by a named rule, missing, unexpected, or of another shape. Maps can be
run backwards, so that our weights can be written under the original's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError, nearest
from videogen_cli.runtime.cells import shapes
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.layouts import SAME, Axes, can_stack, divided, stacked
from videogen_cli.weights.names import plain
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.tensor import LazyTensor

Shape = tuple[int, ...]
_MAX_LISTED = 4
_ALIASES = "aliases"  # where a converted file says which second names it had


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
    """One line of a key map: the original's names, ours, and the change of layout between them.

    Several patterns are stacked into one target, several targets are parts of one pattern, both along the first axis.
    Without a target the key is ignored for ``reason``; with both it is, where the target has its weight already.
    """

    patterns: tuple[str, ...]
    targets: tuple[str, ...] = ()
    reason: str = ""
    axes: Axes = SAME

    @cached_property
    def forwards(self) -> list[re.Pattern[str]]:
        """Match the original's names."""
        return [_regex(pattern) for pattern in self.patterns]

    @cached_property
    def backwards(self) -> list[re.Pattern[str]]:
        """Match our names."""
        return [_regex(target) for target in self.targets]


def rename(pattern: str, target: str, axes: Axes = SAME) -> Rule:
    """Say that keys matching ``pattern`` become ``target``, its holes filled in the same order."""
    return Rule((pattern,), (target,), axes=axes)


def stack(patterns: Sequence[str], target: str, axes: Axes = SAME) -> Rule:
    """Say that the keys matching ``patterns`` (query, key and value, say) are joined along the first axis."""
    return Rule(tuple(patterns), (target,), axes=axes)


def split(pattern: str, targets: Sequence[str], axes: Axes = SAME) -> Rule:
    """Say that keys matching ``pattern`` are cut into equal parts along the first axis, one for each target."""
    return Rule((pattern,), tuple(targets), axes=axes)


def ignore(pattern: str, reason: str) -> Rule:
    """Say that keys matching ``pattern`` are not needed, and why."""
    return Rule((pattern,), reason=reason)


def alias(pattern: str, target: str, of: str) -> Rule:
    """Say that keys matching ``pattern`` hold the same tensor as ``of``, which becomes ``target`` where both are."""
    return Rule((pattern,), (target,), reason=f"the same tensor as {of}")


@dataclass(frozen=True)
class Match:
    """The rule that knows a key, which of its patterns that is, and what stands in the holes."""

    rule: Rule
    part: int
    holes: tuple[str, ...]

    @property
    def targets(self) -> list[str]:
        """Our names."""
        return [_fill(target, self.holes) for target in self.rule.targets]


@dataclass(frozen=True)
class Mismatch:
    """A key whose shape is not the parameter's."""

    source: str
    target: str
    found: Shape
    expected: Shape


@dataclass
class Account:
    """What became of every key.

    ``used`` maps our names to the original's (several where they are stacked), ``tensors`` our names to what goes
    there, in our layout; ``ignored`` maps keys to reasons.
    """

    used: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: dict[str, list[str]] = field(default_factory=dict)  # key -> nearest known keys
    mismatched: list[Mismatch] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)  # what the map found out (a LoRA's rank)

    def use(self, name: str, sources: Sequence[str], tensor: LazyTensor) -> None:
        """Say where the parameter ``name`` comes from."""
        self.used[name], self.tensors[name] = tuple(sources), tensor

    @property
    def keys_used(self) -> int:
        """Number of the original's keys that are used."""
        return len({source for sources in self.used.values() for source in sources})

    @property
    def ok(self) -> bool:
        """Whether every parameter has its weight and every key its place."""
        return not (self.missing or self.unexpected or self.mismatched)

    def to_dict(self) -> dict[str, Any]:
        """Return the account for ``--json``."""
        return {
            "ok": self.ok,
            "used": self.keys_used,
            "ignored": _counted(self.ignored.values()),
            "missing": self.missing,
            "unexpected": self.unexpected,
            "mismatched": [vars(item) for item in self.mismatched],
            **({"found": self.metadata} if self.metadata else {}),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what, number of keys, details) for a table."""
        rows = [("used", str(self.keys_used), _counts_by_component(self.used))]
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
            count = len(self.unexpected) + len(self.ignored)
            raise WeightsError(f"none of its {count} keys is one of this type's", where=where, hint=hint)
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
        rules: made with :func:`rename`, :func:`stack`, :func:`split` and :func:`ignore`; targets are
            ``<component>.<parameter>``.
        strip: prefixes that wrappers put before every key, removed where they stand.
        optional: patterns of our names that a checkpoint may lack.
    """

    rules: tuple[Rule, ...]
    strip: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file this map may be used on."""
        return open_checkpoint(path, root=root)

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params of the networks the checkpoint was made for, given its ``tensors``."""
        return params

    def targets(self, cells: Mapping[str, Any]) -> dict[str, Shape]:
        """Return the wanted parameters of the given networks: ``<component>.<parameter>`` -> shape."""
        return {f"{name}.{key}": shape for name, cell in cells.items() for key, shape in shapes(cell).items()}

    def resolve(self, key: str) -> Match | None:
        """Return what knows a key; None when no rule does."""
        for prefix in self.strip:
            key = key.removeprefix(prefix)
        for rule in self.rules:
            for part, pattern in enumerate(rule.forwards):
                if match := pattern.fullmatch(key):
                    return Match(rule, part, match.groups())
        return None

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Shape]) -> Account:
        """Say what becomes of every key of ``tensors`` and where every one of ``targets`` comes from.

        Keys of components that ``targets`` does not mention are ignored.
        """
        result = Account()
        components = {name.partition(".")[0] for name in targets}
        groups: dict[tuple[str, ...], dict[int, str]] = {}  # our names -> part -> key
        rules: dict[tuple[str, ...], Rule] = {}
        matches = {key: self.resolve(key) for key in tensors}
        for key, match in sorted(matches.items(), key=lambda item: _is_alias(item[1])):  # aliases give way
            names = tuple(match.targets) if match else ()
            if match and (not names or (_is_alias(match) and names in groups)):
                result.ignored[key] = match.rule.reason
            elif names and names[0].partition(".")[0] not in components:
                result.ignored[key] = f"{names[0].partition('.')[0]} is not asked for"
            elif not match or any(name not in targets for name in names) or match.part in groups.get(names, {}):
                result.unexpected[key] = []
            else:
                groups.setdefault(names, {})[match.part] = key
                rules[names] = match.rule
        for names, parts in groups.items():
            _place(
                result, rules[names], [parts.get(i) for i in range(len(rules[names].patterns))], names, tensors, targets
            )
        placed = {*result.used, *(item.target for item in result.mismatched)}
        optional = [_regex(pattern) for pattern in self.optional]
        if aliases := [key for key in result.ignored if _is_alias(matches[key])]:
            result.metadata[_ALIASES] = ",".join(aliases)
        result.missing = [t for t in targets if t not in placed and not any(p.fullmatch(t) for p in optional)]
        for key in list(result.unexpected)[:_MAX_LISTED]:
            result.unexpected[key] = nearest(key, (self.source_name(t) for t in targets))
        return result

    def source_name(self, target: str) -> str:
        """Return the original's name of one of ours, the first of several, or the name itself when no rule makes it."""
        found = self._backwards(target)
        return found[1][0] if found else target

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """Return the original's names (in ``used`` and ``tensors``), in the original's layout, for our ``tensors``.

        ``found`` is what the account's ``metadata`` said when they were read; maps of several layouts look there.

        Raises:
            WeightsError: a tensor has no counterpart in the original, or a part of one is missing.
        """
        result = Account()
        for name in tensors:
            known = self._backwards(name)
            if not known:
                raise WeightsError(f"'{plain(name)}' has no name in the original")
            rule, sources, ours = known
            if sources[0] in result.used:
                if result.used[sources[0]][0] != ours[0]:
                    raise WeightsError(f"'{plain(name)}' has no name in the original")
                continue
            if absent := [other for other in ours if other not in tensors]:
                raise WeightsError(f"'{plain(absent[0])}' is missing, which the original keeps with '{plain(name)}'")
            parts = [rule.axes.inverse.apply(tensors[other]) for other in ours]
            whole = parts if len(sources) == 1 else divided(parts[0], len(sources))
            for source, part in zip(sources, whole if len(ours) == 1 else [stacked(parts)], strict=True):
                result.use(source, ours, part)
        for key in filter(None, (found or {}).get(_ALIASES, "").split(",")):
            if (match := self.resolve(key)) and match.targets[0] in tensors:
                result.use(key, match.targets, tensors[match.targets[0]])
        return result

    def _backwards(self, target: str) -> tuple[Rule, list[str], list[str]] | None:
        """Return the rule that makes one of our names, the original's names, and ours that come from them."""
        for rule in self.rules:
            for pattern in rule.backwards:
                if match := pattern.fullmatch(target):
                    sources = [_fill(source, match.groups()) for source in rule.patterns]
                    back = self.resolve(sources[0])
                    if back and target in back.targets:
                        return rule, sources, back.targets
        return None


def _is_alias(match: Match | None) -> bool:
    return match is not None and bool(match.rule.targets and match.rule.reason)


def _place(
    account: Account,
    rule: Rule,
    keys: Sequence[str | None],
    names: tuple[str, ...],
    tensors: Mapping[str, LazyTensor],
    targets: Mapping[str, Shape],
) -> None:
    """Put the tensors of one rule under our names, if they are complete and have the right shapes."""
    present = [key for key in keys if key is not None]
    if len(present) < len(keys):
        return  # our names are reported as missing
    found = [tensors[key] for key in present]
    if not can_stack(found) and len(found) > 1:
        account.mismatched.append(Mismatch(present[0], names[0], found[0].shape, targets[names[0]]))
        return
    whole = stacked(found) if len(found) > 1 else found[0]
    if len(names) > 1 and (not whole.shape or whole.shape[0] % len(names)):
        account.mismatched.append(Mismatch(present[0], names[0], whole.shape, targets[names[0]]))
        return
    for name, part in zip(names, divided(whole, len(names)) if len(names) > 1 else [whole], strict=True):
        shape = rule.axes.shape(part.shape)
        if shape != targets[name]:
            account.mismatched.append(Mismatch(present[0], name, part.shape, targets[name]))
        else:
            account.use(name, present, rule.axes.apply(part) if rule.axes != SAME else part)
