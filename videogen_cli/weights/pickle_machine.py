"""The parts of a pickle machine: a stack, a memo, and reads of untrusted bytes that check every length first."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from videogen_cli.errors import WeightsError


@dataclass(frozen=True)
class Limits:
    """Bounds that no honest checkpoint comes near."""

    opcodes: int = 6_000_000
    containers: int = 1_500_000
    text_bytes: int = 64 << 20  # strings and numbers copied out of the file, all together
    line: int = 1 << 20
    integer_bytes: int = 1024


LIMITS = Limits()
_INLINE_BYTES = 1024  # longer bytes objects stay views of the file


class Foreign:
    """Stands for a class, function, or object that is not known: takes anything, does nothing, keeps its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True, eq=False)
class Known:
    """A global with a meaning: ``call`` gets the pickled arguments, already plain data."""

    name: str
    call: Callable[..., Any]


class Stateful:
    """A value whose pickled state matters; the state of everything else is dropped."""

    def set_state(self, state: Any) -> None:
        """Take the state given by BUILD."""
        raise NotImplementedError


class Mark:
    """Where a MARK opcode was; never leaves the machine."""


MARK = Mark()


class PickleMachine:
    """State and checks that opcodes work with.

    Args:
        data: bytes or a map of a file; it may hold other things before and after the pickle.
        find_global: (module, name) -> :class:`Known`, :class:`Foreign`, or a plain value; raises to refuse.
        persistent_load: turns a persistent id into a value; None = refuse them.
        where: the file, for messages.
    """

    def __init__(
        self,
        data: bytes | mmap.mmap,
        *,
        find_global: Callable[[str, str], Any],
        persistent_load: Callable[[Any], Any] | None,
        where: str,
        limits: Limits = LIMITS,
    ) -> None:
        self.data, self.end, self.where, self.limits = data, len(data), where, limits
        self.find_global, self.persistent_load = find_global, persistent_load
        self.position = 0
        self.text_left, self.containers_left = limits.text_bytes, limits.containers
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def corrupt(self, what: str) -> WeightsError:
        """Return the error for a damaged pickle."""
        return WeightsError(
            f"damaged or not a checkpoint: {what} (byte {self.position})",
            where=self.where,
            hint="Download or copy the file again.",
        )

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        start, self.position = self.position, self.position + count
        if count < 0 or self.position > self.end:
            raise self.corrupt("its pickle is cut off")
        return self.data[start : self.position]

    def number(self, layout: str) -> int:
        """Return the next number in a ``struct`` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> bytes:
        """Return the bytes up to the next newline, which is consumed."""
        stop = self.data.find(b"\n", self.position, min(self.end, self.position + self.limits.line))
        if stop < 0:
            raise self.corrupt("its pickle has a line without end")
        self.charge_text(stop - self.position)
        text = self.take(stop - self.position)
        self.position += 1
        return text

    def charge_text(self, count: int) -> None:
        """Account for ``count`` bytes about to be copied out of the file."""
        self.text_left -= count
        if self.text_left < 0:
            raise self.corrupt("its pickle holds too much text")

    def text(self, count: int) -> str:
        """Return ``count`` bytes as text; lone surrogates pass, as pickle writes them."""
        if count > self.end - self.position:
            raise self.corrupt("its pickle claims a string longer than the file")
        self.charge_text(count)
        return self.take(count).decode("utf-8", "surrogatepass")

    def bytes_(self, count: int) -> bytes | memoryview:
        """Return ``count`` bytes, as a view when they are many."""
        if count > self.end - self.position:
            raise self.corrupt("its pickle claims more bytes than the file has")
        if count <= _INLINE_BYTES:
            return bytes(self.take(count))
        self.position += count
        return memoryview(self.data)[self.position - count : self.position]

    def container(self, value: Any) -> None:
        """Push a new container, within the limit."""
        self.containers_left -= 1
        if self.containers_left < 0:
            raise self.corrupt("its pickle makes too many objects")
        self.stack.append(value)

    def pop(self) -> Any:
        """Return the top of the stack, which must not be a mark."""
        value = self.stack.pop()
        if value is MARK:
            raise self.corrupt("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Return everything above the last mark and drop both."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise self.corrupt("no mark where one should be")

    def pop_tuple(self, count: int) -> None:
        """Replace the ``count`` topmost values by a tuple of them."""
        items = [self.pop() for _ in range(count)]
        self.container(tuple(reversed(items)))

    def key(self, value: Any) -> Any:
        """Return ``value`` if hashing it is cheap and safe (deep tuples overflow the C stack)."""
        atoms = (str, int, float, bool, type(None), bytes, complex, Foreign, Known)
        if isinstance(value, atoms) or is_atom_tuple(value, atoms):
            return value
        raise self.corrupt(f"a {type(value).__name__} as dictionary key")

    def store_items(self, items: list[Any]) -> None:
        """Put key, value, key, value... into the mapping on top of the stack."""
        if len(items) % 2:
            raise self.corrupt("a dictionary key without a value")
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update((self.key(k), v) for k, v in zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Foreign):
            raise self.corrupt("items are stored in something that is no dictionary")

    def extend(self, items: list[Any]) -> None:
        """Append to the list on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Foreign):
            raise self.corrupt("items are appended to something that is no list")

    def lookup(self, module: Any, name: Any) -> Any:
        """Return what the table says a global is."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.corrupt("a global whose name is not text")
        return self.find_global(module, name)

    def call(self, function: Any, arguments: Any) -> None:
        """Push ``function(*arguments)``: a table entry's meaning, or another inert placeholder."""
        if not isinstance(arguments, tuple):
            raise self.corrupt("a call without an argument tuple")
        if isinstance(function, Foreign):
            self.container(Foreign(function.name))
        elif isinstance(function, Known):
            self.charge_text(sum(len(a) for a in arguments if isinstance(a, (str, bytes, list, tuple, dict, set))))
            self.container(function.call(*arguments))
        else:
            raise self.corrupt("a call of something that is no function")

    def memoize(self, index: int) -> None:
        """Remember the top of the stack."""
        value = self.stack[-1]
        if value is MARK:
            raise self.corrupt("a mark where a value should be")
        self.memo[index] = value


def is_atom_tuple(value: Any, atoms: tuple[type, ...]) -> bool:
    """Tell whether ``value`` is a short flat tuple of ``atoms``."""
    return isinstance(value, tuple) and len(value) <= 64 and all(isinstance(item, atoms) for item in value)
