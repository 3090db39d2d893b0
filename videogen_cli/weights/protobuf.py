"""Protobuf messages read as streams of fields, with no protobuf library (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return (value, next position) of a base-128 number of at most 64 bits.

    Raises:
        ValueError: it does not end within ``end``, or is longer.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is cut off")


def fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, stop) of a message; for a varint ``start`` is its value.

    Raises:
        ValueError: the bytes are no message, or cut off.
    """
    position = start
    while position < end:
        key, position = varint(data, position, end)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = varint(data, position, end)
            yield number, wire, value, position
            continue
        if wire == BYTES:
            length, position = varint(data, position, end)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - position:
            raise ValueError("a field is cut off")
        yield number, wire, position, position + length
        position += length
