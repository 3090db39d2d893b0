"""Entries of a zip file as views of its map: no copies, sizes and checksums from the central directory."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass

from videogen_cli.errors import WeightsError
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain

_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
_MAX_RATIO, _FREE_INFLATE_BYTES = 200, 64 << 20  # a packed entry may inflate so many times, or to so many bytes
_CHECK_BYTES = 8 << 20


@dataclass(frozen=True)
class Entry:
    """One file of the archive: its payload is [start, start + packed_size) of the map."""

    name: str
    start: int
    packed_size: int
    size: int
    crc: int
    deflated: bool


class Archive:
    """The directory of a zip file, checked: no duplicates, no overlaps, every payload inside the file.

    Raises:
        WeightsError: damaged, encrypted, packed in an unusual way, or contradicting itself.
    """

    def __init__(self, file: MappedFile) -> None:
        self.file, self.where = file, plain(file.path)
        try:
            with zipfile.ZipFile(file.path) as archive:
                infos = archive.infolist()
        except Exception as error:  # zipfile raises many kinds for malformed directories
            raise self._error(f"the zip archive is cut off or damaged ({plain(error)})") from error
        self.entries: dict[str, Entry] = {}
        for info in infos:
            if info.filename in self.entries:
                raise self._error(f"has two entries named '{plain(info.filename)}'")
            self.entries[info.filename] = self._entry(info)
        self._check_overlaps()
        self._checked: set[str] = set()
        self._inflated: tuple[str, memoryview] | None = None

    def _error(self, what: str) -> WeightsError:
        return WeightsError(what, where=self.where, hint="Download or copy the file again.")

    def _entry(self, info: zipfile.ZipInfo) -> Entry:
        name = plain(info.filename)
        if info.flag_bits & _ENCRYPTED:
            raise self._error(f"entry '{name}' is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._error(f"entry '{name}' is packed with method {info.compress_type}, which torch never uses")
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        if not deflated and info.compress_size != info.file_size:
            raise self._error(f"entry '{name}' has two different sizes")
        header = self.file.data[info.header_offset : info.header_offset + _LOCAL.size]
        if info.header_offset < 0 or len(header) < _LOCAL.size:
            raise self._error(f"entry '{name}' lies outside the file")
        signature, *_, name_length, extra_length = _LOCAL.unpack(header)
        first = info.header_offset + _LOCAL.size
        local_name = bytes(self.file.data[first : first + name_length])
        if signature != b"PK\3\4" or local_name not in _spellings(info):
            raise self._error(f"entry '{name}' does not match its local header")
        start = first + name_length + extra_length
        if start + info.compress_size > self.file.size:
            raise self._error(f"entry '{name}' goes beyond the end of the file")
        return Entry(info.filename, start, info.compress_size, info.file_size, info.CRC, deflated)

    def _check_overlaps(self) -> None:
        end = 0
        for entry in sorted(self.entries.values(), key=lambda e: (e.start, e.packed_size)):
            if entry.start < end:
                raise self._error(f"entry '{plain(entry.name)}' overlaps another")
            end = entry.start + entry.packed_size

    def read(self, entry: Entry) -> memoryview:
        """Return an entry's bytes, checked against its CRC the first time.

        A stored entry is a view of the map; a packed one is inflated, and the last one inflated is kept.
        """
        if self._inflated and self._inflated[0] == entry.name:
            return self._inflated[1]
        data = self.file.data[entry.start : entry.start + entry.packed_size]
        if entry.deflated:
            data = self._inflate(entry, data)
            self._inflated = entry.name, data
        if entry.name not in self._checked:
            crc = 0
            for start in range(0, len(data), _CHECK_BYTES):
                crc = zlib.crc32(data[start : start + _CHECK_BYTES], crc)
            if crc != entry.crc:
                raise self._error(f"entry '{plain(entry.name)}' is damaged (its CRC does not match)")
            self._checked.add(entry.name)
        return data

    def _inflate(self, entry: Entry, packed: memoryview) -> memoryview:
        if entry.size > max(_MAX_RATIO * entry.packed_size, _FREE_INFLATE_BYTES):
            raise self._error(f"entry '{plain(entry.name)}' would inflate to {entry.size} bytes")
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(packed, entry.size + 1)
        except zlib.error as error:
            raise self._error(f"entry '{plain(entry.name)}' is damaged ({error})") from error
        if len(data) != entry.size:
            raise self._error(f"entry '{plain(entry.name)}' does not have the size it claims")
        return memoryview(data)

    def release(self, entry: Entry) -> None:
        """Give back the memory behind a stored entry."""
        if not entry.deflated:
            self.file.release(entry.start, entry.start + entry.packed_size)


def _spellings(info: zipfile.ZipInfo) -> set[bytes]:
    """Return the bytes an entry's name may have in the local header."""
    spellings = {info.orig_filename.encode("utf-8", "replace")}
    if not info.flag_bits & 0x800:
        spellings.add(info.orig_filename.encode("cp437", "replace"))
    return spellings
