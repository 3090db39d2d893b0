"""torch's two containers: the zip archive (since 1.6) and the stream of pickles before it."""

from __future__ import annotations

import struct
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.archive import Archive, Entry
from videogen_cli.weights.checkpoint import Checkpoint, from_object
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.names import plain
from videogen_cli.weights.torch_tensors import Storage, TorchObjects
from videogen_cli.weights.unpickle import Unpickler

MAX_PICKLE_BYTES = 128 << 20
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def read_torch_zip(file: MappedFile, *, root: str | None = None) -> Checkpoint:
    """Open a torch zip archive (``torch.save`` since 1.6; torch/serialization.py).

    Raises:
        WeightsError: damaged, hostile, TorchScript, or another kind of zip.
    """
    where = plain(file.path)
    archive = Archive(file)
    pickles = [name for name in archive.entries if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise WeightsError("is a zip archive, but not one that torch.save writes", where=where)
    prefix = pickles[0][: -len("data.pkl")]
    if any(n.startswith(f"{prefix}code/") or n == f"{prefix}constants.pkl" for n in archive.entries):
        raise WeightsError("is a TorchScript program, not a state dictionary", where=where)
    entry = archive.entries[pickles[0]]
    if entry.size > MAX_PICKLE_BYTES:
        raise WeightsError(f"its pickle is {entry.size} bytes long, far larger than a checkpoint's", where=where)
    objects = TorchObjects(where)
    data = bytes(archive.read(entry))
    machine = Unpickler(data, find_global=objects.globals.find, persistent_load=objects.storage, where=where)
    value, _ = machine.load()
    _place_in_archive(archive, prefix, objects.storages, where)
    return from_object(file.path, "torch-zip", value, root=root, unknown=list(objects.globals.unknown))


def _place_in_archive(archive: Archive, prefix: str, storages: dict[str, Storage], where: str) -> None:
    """Connect every storage to its entry, whose size must be exactly what the pickle claims."""
    big_endian = _is_big_endian(archive, prefix, where)
    for key, storage in storages.items():
        entry = archive.entries.get(f"{prefix}data/{key}")
        if entry is None:
            raise WeightsError(f"storage '{plain(key)}' is missing from the archive", where=where)
        if entry.size != storage.nbytes:
            raise WeightsError(
                f"storage '{plain(key)}' has {entry.size} bytes instead of {storage.nbytes}", where=where
            )
        storage.big_endian = big_endian
        _attach(storage, archive, entry)


def _attach(storage: Storage, archive: Archive, entry: Entry) -> None:
    storage.read = lambda: archive.read(entry)
    storage.release = lambda: archive.release(entry)


def _is_big_endian(archive: Archive, prefix: str, where: str) -> bool:
    entry = archive.entries.get(f"{prefix}byteorder")
    if entry is None:
        return False
    order = bytes(archive.read(entry)[:16]).strip() if entry.size <= 16 else b"?"
    if order not in (b"little", b"big"):
        raise WeightsError("does not say whether its numbers are little or big endian", where=where)
    return order == b"big"


def read_torch_legacy(file: MappedFile, *, root: str | None = None) -> Checkpoint:
    """Open the stream that torch wrote before 1.6: five pickles, then raw storages.

    Raises:
        WeightsError: damaged, hostile, or a plain pickle.
    """
    where = plain(file.path)
    assert file.map is not None
    objects = TorchObjects(where)
    plain_machine = Unpickler(file.map, find_global=objects.globals.find, persistent_load=None, where=where)
    magic, position = plain_machine.load()
    if magic != LEGACY_MAGIC or type(magic) is not int:
        hint = "Save the weights with torch.save or safetensors."
        raise WeightsError("is a plain Python pickle, not a torch checkpoint", where=where, hint=hint)
    protocol, position = plain_machine.load(position)
    if protocol != LEGACY_PROTOCOL:
        raise WeightsError("is a torch stream of an unknown version", where=where)
    system, position = plain_machine.load(position)
    big_endian = isinstance(system, dict) and system.get("little_endian") is False
    machine = Unpickler(file.map, find_global=objects.globals.find, persistent_load=objects.storage, where=where)
    value, position = machine.load(position)
    keys, position = plain_machine.load(position)
    _place_in_stream(file, _storage_keys(keys, objects, where), position, big_endian, where)
    return from_object(file.path, "torch-legacy", value, root=root, unknown=list(objects.globals.unknown))


def _storage_keys(keys: Any, objects: TorchObjects, where: str) -> list[Storage]:
    """Return the storages in file order; the list must name each storage of the object once and no other."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise WeightsError("damaged: its list of storages is malformed", where=where)
    if len(set(keys)) != len(keys) or set(keys) != set(objects.storages):
        raise WeightsError("damaged: its list of storages does not match its tensors", where=where)
    return [objects.storages[key] for key in keys]


def _place_in_stream(file: MappedFile, storages: list[Storage], position: int, big_endian: bool, where: str) -> None:
    """Walk the raw storages: an int64 element count each, then the numbers."""
    for storage in storages:
        header = file.data[position : position + 8]
        start = position + 8
        position = start + storage.nbytes
        if len(header) < 8 or position > file.size:
            raise WeightsError(f"is cut off in storage '{plain(storage.key)}'", where=where)
        (count,) = struct.unpack(">q" if big_endian else "<q", header)
        if count != storage.count:
            raise WeightsError(f"storage '{plain(storage.key)}' has {count} numbers, not {storage.count}", where=where)
        storage.big_endian = big_endian
        _attach_range(storage, file, start, position)


def _attach_range(storage: Storage, file: MappedFile, start: int, stop: int) -> None:
    storage.read = lambda: file.data[start:stop]
    storage.release = lambda: file.release(start, stop)
