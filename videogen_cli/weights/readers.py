"""Open any checkpoint: the container is told by content, never by extension."""

from __future__ import annotations

import struct
from pathlib import Path

from videogen_cli.errors import WeightsError
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.mapped import MappedFile
from videogen_cli.weights.mindspore_file import read_mindspore
from videogen_cli.weights.names import plain
from videogen_cli.weights.safetensors_file import read_safetensors
from videogen_cli.weights.sharded import read_folder, read_index, read_json, read_manifest
from videogen_cli.weights.torch_files import read_torch_legacy, read_torch_zip

_AGAIN = "Download the file again, and look at it with 'head'."
# First bytes of files that are often taken for weights, and what to say.
_MISTAKES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a git-lfs pointer, not the weights", "Run 'git lfs pull' where it came from."),
    (b"<", "is an HTML or XML page, not weights: the download failed", _AGAIN),
    (b"\xd8\x5e\x3a\x7f", "is an encrypted MindSpore checkpoint", "Save it again without enc_key."),
    (b"GGUF", "is a GGUF file, which is not supported", "Use the safetensors or torch file of the same model."),
    (b"\x89HDF", "is an HDF5 file, which is not supported", "Use the safetensors or torch file of the same model."),
    (b"\x28\xb5\x2f\xfd", "is packed with zstandard", "Unpack it first."),
    (b"Rar!", "is a RAR archive", "Unpack it first."),
    (b"7z\xbc\xaf", "is a 7z archive", "Unpack it first."),
)


def open_checkpoint(path: Path | str, *, root: str | None = None) -> Checkpoint:
    """Open a checkpoint file, an index, a manifest, or a folder; nothing but headers is read.

    Args:
        path: the file or folder. A file that is not there but has an index beside it (``FILE.index.json``) is
            opened through the index.
        root: the key of the weight dictionary in a torch file, when the usual search should not decide.

    Raises:
        WeightsError: missing, damaged, hostile, or of an unsupported kind; the message names the file and the reason.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path, lambda item: open_checkpoint(item, root=root))
    index = path.with_name(f"{path.name}.index.json")
    if not path.exists() and index.exists():
        path = index
    return _open_file(MappedFile(path), root, allow_index=True)


def open_manifest(path: Path | str) -> Checkpoint:
    """Open a manifest (``*.json`` or ``*.json.gz``): names and shapes without numbers.

    Raises:
        WeightsError: it is missing or is something else.
    """
    checkpoint = open_checkpoint(path)
    if checkpoint.container != "manifest":
        raise WeightsError(f"is no manifest but {checkpoint.container}", where=plain(path))
    return checkpoint


def _open_file(file: MappedFile, root: str | None, *, allow_index: bool) -> Checkpoint:
    head, where = file.head(512), plain(file.path)
    if not head:
        raise WeightsError("is empty: the download failed", where=where, hint=_AGAIN)
    if head[8:9] == b"{" and _plausible_header(head, file.size):
        return read_safetensors(file)
    if head[:4] == b"PK\x03\x04":
        return _open_zip(file, root)
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return read_torch_legacy(file, root=root)
    if head[257:262] == b"ustar":
        raise WeightsError("is a tar archive (or a torch file from before 2017)", where=where, hint="Unpack it first.")
    if head[0] == ord("{") or head[:2] == b"\x1f\x8b":
        return _open_json(file, root, allow_index)
    for start, what, hint in _MISTAKES:
        if head.lstrip().startswith(start) if start == b"<" else head.startswith(start):
            raise WeightsError(what, where=where, hint=hint)
    if head[0] == 0x0A:
        return read_mindspore(file)
    hint = "Supported: safetensors, torch files, and MindSpore .ckpt; also their folders and indexes."
    raise WeightsError("is not a checkpoint of a known kind", where=where, hint=hint)


def _plausible_header(head: bytes, size: int) -> bool:
    """Tell whether the first 8 bytes can be a safetensors header length (or one that is cut off or a lie)."""
    (length,) = struct.unpack("<Q", head[:8])
    return length <= size - 8 or not head.startswith((b"PK\x03\x04", b"\x80", b"\x0a", b"{", b"<"))


def _open_zip(file: MappedFile, root: str | None) -> Checkpoint:
    from videogen_cli.weights.npy import read_npz

    if _first_name(file).endswith(".npy"):
        return read_npz(file)
    return read_torch_zip(file, root=root)


def _first_name(file: MappedFile) -> str:
    """Return the name in the first local header of a zip file."""
    length = int.from_bytes(file.head(28)[26:28], "little")
    return bytes(file.data[30 : 30 + length]).decode("utf-8", "replace")


def _open_json(file: MappedFile, root: str | None, allow_index: bool) -> Checkpoint:
    content = read_json(file)
    if isinstance(content, dict) and "weight_map" in content and allow_index:
        return read_index(file, content, lambda path: _open_file(MappedFile(path), root, allow_index=False))
    if isinstance(content, dict) and "tensors" in content:
        return read_manifest(file, content)
    what = "is JSON, but no index and no manifest"
    if isinstance(content, dict) and "error" in content:
        what = f"is an error message, not weights: {plain(content['error'])}"
    raise WeightsError(what, where=plain(file.path), hint=_AGAIN)
