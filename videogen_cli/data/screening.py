"""What can be told of a file without a decoder: whether it is there, whole, and a video at all."""

from __future__ import annotations

import os
import stat

from videogen_cli.errors import DataError


def head(path: str) -> bytes:
    """Return the first bytes of a regular file that has any."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise DataError("is a folder, not a video")
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is not a regular file")
        if status.st_size == 0:
            raise DataError("is empty (zero bytes)", hint="The download or copy was probably interrupted.")
        with open(path, "rb") as handle:
            return handle.read(1024)
    except FileNotFoundError as error:
        raise DataError("no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def refuse_text(head: bytes) -> None:
    """Refuse web pages and other text; ffmpeg would open some as playlists that point elsewhere, or as ANSI art."""
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 1024 else "ignore").lstrip("\ufeff \t\r\n").lower()
    except UnicodeDecodeError:
        return
    if text.startswith(("<!doctype html", "<html", "<head", "<?xml", "<!--")):
        raise DataError("is a web page, not a video", hint="The download was probably refused; fetch it again.")
    if len(text.encode()) > len(head) * 0.9 and all(c.isprintable() or c in "\t\r\n\f" for c in text):
        raise DataError("is text, not a video")


def refuse_cut_mp4(path: str, head: bytes) -> None:
    """Walk the boxes of an mp4 file: each must end within the file, and one must be the index (moov)."""
    if head[4:8] != b"ftyp":
        return
    end, offset, kinds = os.path.getsize(path), 0, set()
    with open(path, "rb") as handle:
        while offset + 8 <= end:
            handle.seek(offset)
            box = handle.read(16)
            size = int.from_bytes(box[:4], "big")
            size = int.from_bytes(box[8:16], "big") if size == 1 else size or end - offset
            kinds.add(box[4:8])
            offset += max(size, 8)
    if offset > end or b"moov" not in kinds:
        missing = f"{offset - end:,} bytes are missing" if offset > end else "its index (moov) is missing"
        raise DataError(f"is cut short: {missing}", hint="The download or recording was probably interrupted.")
