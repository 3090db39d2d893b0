"""A pickle machine that can only build plain data.

Python's own unpickler imports whatever a file names. This one knows the opcodes and nothing else: a global is looked
up in a table it is given (see :mod:`videogen_cli.weights.globals_table`), every length is checked against the bytes
that are there before anything is allocated, and work and memory are bounded.

Opcode meanings: Python's ``pickletools``.
"""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.tensor import LazyTensor


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


class _Mark:
    """Where a MARK opcode was; never leaves the machine."""


_MARK = _Mark()
_OPCODES: dict[int, Callable[[Unpickler], Any]] = {}


def _op(code: bytes) -> Callable[[Callable[[Unpickler], None]], Callable[[Unpickler], None]]:
    def register(method: Callable[[Unpickler], None]) -> Callable[[Unpickler], None]:
        _OPCODES[code[0]] = method
        return method

    return register


class Unpickler:
    """Runs one pickle at a time over ``data``, without reading past its STOP.

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

    def load(self, start: int = 0) -> tuple[Any, int]:
        """Return (object, position after its STOP).

        Raises:
            WeightsError: damaged, hostile, or beyond the limits.
        """
        self.position = start
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        try:
            return self._run(), self.position
        except WeightsError:
            raise
        except Exception as error:  # whatever a malformed stream provokes, it is the file's fault
            raise self.corrupt(f"{type(error).__name__} in its pickle") from error

    def _run(self) -> Any:
        for _ in range(self.limits.opcodes):
            code = self.take(1)[0]
            if code == ord("."):
                value = self.stack.pop()
                if self.stack or value is _MARK:
                    raise self.corrupt("its pickle ends in the middle")
                return value
            method = _OPCODES.get(code)
            if method is None:
                raise self.corrupt(f"unknown or forbidden pickle opcode 0x{code:02x}")
            method(self)
        raise self.corrupt("its pickle is far larger than a checkpoint's")

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
        if value is _MARK:
            raise self.corrupt("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Return everything above the last mark and drop both."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
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
        if value is _MARK:
            raise self.corrupt("a mark where a value should be")
        self.memo[index] = value


def is_atom_tuple(value: Any, atoms: tuple[type, ...]) -> bool:
    """Tell whether ``value`` is a short flat tuple of ``atoms``."""
    return isinstance(value, tuple) and len(value) <= 64 and all(isinstance(item, atoms) for item in value)


def _constant(code: bytes, make: Callable[[], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.stack.append(make())


def _empty(code: bytes, make: Callable[[], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.container(make())


def _scalar(code: bytes, read: Callable[[Unpickler], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.stack.append(read(machine))


_constant(b"N", lambda: None)
_constant(b"\x88", lambda: True)
_constant(b"\x89", lambda: False)
_constant(b")", tuple)
_constant(b"(", lambda: _MARK)
_empty(b"]", list)
_empty(b"}", dict)
_empty(b"\x8f", set)
_scalar(b"K", lambda m: m.number("<B"))
_scalar(b"M", lambda m: m.number("<H"))
_scalar(b"J", lambda m: m.number("<i"))
_scalar(b"G", lambda m: m.number(">d"))
_scalar(b"\x8a", lambda m: _long(m, m.number("<B")))
_scalar(b"\x8b", lambda m: _long(m, m.number("<i")))
_scalar(b"\x8c", lambda m: m.text(m.number("<B")))
_scalar(b"X", lambda m: m.text(m.number("<I")))
_scalar(b"\x8d", lambda m: m.text(m.number("<Q")))
_scalar(b"C", lambda m: m.bytes_(m.number("<B")))
_scalar(b"B", lambda m: m.bytes_(m.number("<I")))
_scalar(b"\x8e", lambda m: m.bytes_(m.number("<Q")))
_scalar(b"\x96", lambda m: m.bytes_(m.number("<Q")))
_scalar(b"U", lambda m: _old_text(m, m.number("<B")))
_scalar(b"T", lambda m: _old_text(m, m.number("<i")))
_scalar(b"F", lambda m: float(m.line()))
_scalar(b"L", lambda m: int(m.line().rstrip(b"L")))
_scalar(b"V", lambda m: m.line().decode("raw-unicode-escape"))
_scalar(b"h", lambda m: m.memo[m.number("<B")])
_scalar(b"j", lambda m: m.memo[m.number("<I")])
_scalar(b"g", lambda m: m.memo[int(m.line())])
_OPCODES[ord("q")] = lambda m: m.memoize(m.number("<B"))
_OPCODES[ord("r")] = lambda m: m.memoize(m.number("<I"))
_OPCODES[ord("p")] = lambda m: m.memoize(int(m.line()))
_OPCODES[0x94] = lambda m: m.memoize(len(m.memo))
_OPCODES[0x95] = lambda m: m.number("<Q")  # FRAME: a hint for readers that buffer
_OPCODES[ord("0")] = lambda m: m.stack.pop()
_OPCODES[ord("1")] = lambda m: m.pop_to_mark()
_OPCODES[0x85] = lambda m: m.pop_tuple(1)
_OPCODES[0x86] = lambda m: m.pop_tuple(2)
_OPCODES[0x87] = lambda m: m.pop_tuple(3)
_OPCODES[ord("t")] = lambda m: m.container(tuple(m.pop_to_mark()))
_OPCODES[ord("l")] = lambda m: m.container(m.pop_to_mark())
_OPCODES[ord("a")] = lambda m: m.extend([m.pop()])
_OPCODES[ord("e")] = lambda m: m.extend(m.pop_to_mark())
_OPCODES[ord("u")] = lambda m: m.store_items(m.pop_to_mark())
_OPCODES[ord("s")] = lambda m: m.store_items([m.pop(), m.pop()][::-1])


def _long(machine: Unpickler, count: int) -> int:
    if not 0 <= count <= machine.limits.integer_bytes:
        raise machine.corrupt("an integer of absurd length")
    return int.from_bytes(machine.take(count), "little", signed=True)


def _old_text(machine: Unpickler, count: int) -> str:
    """Read a Python 2 string: text if it is UTF-8, else one character per byte."""
    if not 0 <= count <= machine.end - machine.position:
        raise machine.corrupt("its pickle claims a string longer than the file")
    machine.charge_text(count)
    raw = machine.take(count)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin1")


@_op(b"I")
def _int_line(machine: Unpickler) -> None:
    line = machine.line()
    machine.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))


@_op(b"S")
def _string_line(machine: Unpickler) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise machine.corrupt("a string without quotes")
    machine.stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin1"))  # pyright: ignore


@_op(b"d")
def _dict_from_mark(machine: Unpickler) -> None:
    items = machine.pop_to_mark()
    machine.container({})
    machine.store_items(items)


@_op(b"2")
def _dup(machine: Unpickler) -> None:
    machine.stack.append(machine.pop())
    machine.stack.append(machine.stack[-1])


@_op(b"\x91")
def _frozenset(machine: Unpickler) -> None:
    machine.container({machine.key(item) for item in machine.pop_to_mark()})


@_op(b"\x90")
def _add_items(machine: Unpickler) -> None:
    items, target = machine.pop_to_mark(), machine.stack[-1]
    if isinstance(target, set):
        target.update(machine.key(item) for item in items)
    elif not isinstance(target, Foreign):
        raise machine.corrupt("items are added to something that is no set")


@_op(b"\x80")
def _protocol(machine: Unpickler) -> None:
    version = machine.number("<B")
    if version > 5:
        raise machine.corrupt(f"pickle protocol {version}")


@_op(b"c")
def _global(machine: Unpickler) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    machine.container(machine.lookup(module, name))


@_op(b"\x93")
def _stack_global(machine: Unpickler) -> None:
    name, module = machine.pop(), machine.pop()
    machine.container(machine.lookup(module, name))


@_op(b"i")
def _inst(machine: Unpickler) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    machine.call(machine.lookup(module, name), tuple(machine.pop_to_mark()))


@_op(b"o")
def _obj(machine: Unpickler) -> None:
    function, *arguments = machine.pop_to_mark()
    machine.call(function, tuple(arguments))


@_op(b"R")
def _reduce(machine: Unpickler) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


_OPCODES[0x81] = _reduce  # NEWOBJ: cls.__new__(cls, *args); a known class is made by the same function


@_op(b"\x92")
def _newobj_keywords(machine: Unpickler) -> None:
    machine.pop()  # keyword arguments: only unknown classes have them
    _reduce(machine)


@_op(b"b")
def _build(machine: Unpickler) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if isinstance(target, Stateful):
        target.set_state(state)
    elif not isinstance(target, (dict, list, set, Foreign, LazyTensor)):
        raise machine.corrupt("state is set on something that has none")


@_op(b"Q")
def _persistent_id(machine: Unpickler) -> None:
    if machine.persistent_load is None:
        raise machine.corrupt("it refers to data outside itself")
    machine.container(machine.persistent_load(machine.pop()))
