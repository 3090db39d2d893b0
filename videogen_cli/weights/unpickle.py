"""A pickle machine that can only build plain data.

Python's own unpickler imports whatever a file names. This one knows the opcodes and nothing else: a global is looked
up in a table it is given (see :mod:`videogen_cli.weights.globals_table`), every length is checked against the bytes
that are there before anything is allocated, and work and memory are bounded.

Opcode meanings: Python's ``pickletools``.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.pickle_machine import MARK, Foreign, PickleMachine, Stateful
from videogen_cli.weights.tensor import LazyTensor

_OPCODES: dict[int, Callable[[PickleMachine], Any]] = {}


def _op(code: bytes) -> Callable[[Callable[[PickleMachine], None]], Callable[[PickleMachine], None]]:
    def register(method: Callable[[PickleMachine], None]) -> Callable[[PickleMachine], None]:
        _OPCODES[code[0]] = method
        return method

    return register


class Unpickler(PickleMachine):
    """Runs one pickle at a time, without reading past its STOP; the arguments are :class:`PickleMachine`'s."""

    def load(self, start: int = 0) -> tuple[Any, int]:
        """Return (object, position after its STOP).

        Raises:
            WeightsError: damaged, hostile, or beyond the limits.
        """
        self.position = start
        self.stack, self.memo = [], {}
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
                if self.stack or value is MARK:
                    raise self.corrupt("its pickle ends in the middle")
                return value
            method = _OPCODES.get(code)
            if method is None:
                raise self.corrupt(f"unknown or forbidden pickle opcode 0x{code:02x}")
            method(self)
        raise self.corrupt("its pickle is far larger than a checkpoint's")


def _constant(code: bytes, make: Callable[[], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.stack.append(make())


def _empty(code: bytes, make: Callable[[], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.container(make())


def _scalar(code: bytes, read: Callable[[PickleMachine], Any]) -> None:
    _OPCODES[code[0]] = lambda machine: machine.stack.append(read(machine))


_constant(b"N", lambda: None)
_constant(b"\x88", lambda: True)
_constant(b"\x89", lambda: False)
_constant(b")", tuple)
_constant(b"(", lambda: MARK)
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


def _long(machine: PickleMachine, count: int) -> int:
    if not 0 <= count <= machine.limits.integer_bytes:
        raise machine.corrupt("an integer of absurd length")
    return int.from_bytes(machine.take(count), "little", signed=True)


def _old_text(machine: PickleMachine, count: int) -> str:
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
def _int_line(machine: PickleMachine) -> None:
    line = machine.line()
    machine.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))


@_op(b"S")
def _string_line(machine: PickleMachine) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise machine.corrupt("a string without quotes")
    machine.stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin1"))  # pyright: ignore


@_op(b"d")
def _dict_from_mark(machine: PickleMachine) -> None:
    items = machine.pop_to_mark()
    machine.container({})
    machine.store_items(items)


@_op(b"2")
def _dup(machine: PickleMachine) -> None:
    machine.stack.append(machine.pop())
    machine.stack.append(machine.stack[-1])


@_op(b"\x91")
def _frozenset(machine: PickleMachine) -> None:
    machine.container({machine.key(item) for item in machine.pop_to_mark()})


@_op(b"\x90")
def _add_items(machine: PickleMachine) -> None:
    items, target = machine.pop_to_mark(), machine.stack[-1]
    if isinstance(target, set):
        target.update(machine.key(item) for item in items)
    elif not isinstance(target, Foreign):
        raise machine.corrupt("items are added to something that is no set")


@_op(b"\x80")
def _protocol(machine: PickleMachine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise machine.corrupt(f"pickle protocol {version}")


@_op(b"c")
def _global(machine: PickleMachine) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    machine.container(machine.lookup(module, name))


@_op(b"\x93")
def _stack_global(machine: PickleMachine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.container(machine.lookup(module, name))


@_op(b"i")
def _inst(machine: PickleMachine) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    machine.call(machine.lookup(module, name), tuple(machine.pop_to_mark()))


@_op(b"o")
def _obj(machine: PickleMachine) -> None:
    function, *arguments = machine.pop_to_mark()
    machine.call(function, tuple(arguments))


@_op(b"R")
def _reduce(machine: PickleMachine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


_OPCODES[0x81] = _reduce  # NEWOBJ: cls.__new__(cls, *args); a known class is made by the same function


@_op(b"\x92")
def _newobj_keywords(machine: PickleMachine) -> None:
    machine.pop()  # keyword arguments: only unknown classes have them
    _reduce(machine)


@_op(b"b")
def _build(machine: PickleMachine) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if isinstance(target, Stateful):
        target.set_state(state)
    elif not isinstance(target, (dict, list, set, Foreign, LazyTensor)):
        raise machine.corrupt("state is set on something that has none")


@_op(b"Q")
def _persistent_id(machine: PickleMachine) -> None:
    if machine.persistent_load is None:
        raise machine.corrupt("it refers to data outside itself")
    machine.container(machine.persistent_load(machine.pop()))
