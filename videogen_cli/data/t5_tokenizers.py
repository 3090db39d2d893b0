"""Prompts to token ids as T5, UL2 and ByT5 read them: ``ids [end] pad pad ...``, with a mask of what is no padding.

Upstream: huggingface/transformers, ``T5Tokenizer`` and ``ByT5Tokenizer``, called with ``padding="max_length"``,
``truncation=True``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Backend

from videogen_cli.data.sentencepiece import read_sentencepiece
from videogen_cli.errors import UsageError, WeightsError

SENTENCEPIECE, FAST = "spiece.model", "tokenizer.json"


class PaddedTokenizer(ABC):
    """Encodes prompts into rows of ``length`` ids.

    Raises:
        UsageError: a row has no room for the end.
    """

    pad, end, unknown = 0, 1, 2

    def __init__(self, length: int) -> None:
        if length < 1:
            raise UsageError(f"a row of {length} has no room for the end", where="length")
        self.length = length

    @abstractmethod
    def ids(self, text: str) -> list[int]:
        """Return the ids of ``text`` alone: no end, no limit."""

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and mask, int64 (n, length); a text that is too long is cut, the end kept.

        The mask is 1 on ids and the end, 0 on padding.
        """
        rows = np.full((len(texts), self.length), self.pad, np.int64)
        mask = np.zeros_like(rows)
        for row, keep, text in zip(rows, mask, texts, strict=True):
            ids = [*self.ids(text)[: self.length - 1], self.end]
            row[: len(ids)], keep[: len(ids)] = ids, 1
        return rows, mask

    def truncated(self, text: str) -> bool:
        """Tell whether :meth:`encode` cuts ``text``."""
        return len(self.ids(text)) > self.length - 1


class ByteTokenizer(PaddedTokenizer):
    """ByT5's: the bytes of UTF-8, numbered after the special ids."""

    offset = 3

    def ids(self, text: str) -> list[int]:
        """Return one id per byte."""
        return [byte + self.offset for byte in text.encode("utf-8", "replace")]


class PieceTokenizer(PaddedTokenizer):
    """T5's and UL2's: the unigram pieces of the vocabulary that comes with the checkpoint.

    Args:
        source: a ``spiece.model``, a ``tokenizer.json`` of the tokenizers library, or the folder with either.
        length: ids per row.

    Raises:
        WeightsError: there is no such file, it is of another kind, or has no ids for end and padding.
        UsageError: a row has no room for the end.
    """

    def __init__(self, source: Path | str, length: int) -> None:
        super().__init__(length)
        path = _vocabulary_file(Path(source))
        if path.suffix == ".json":
            self._read_fast(path)
        else:
            self._read_pieces(path)
        if self.end < 0 or self.pad < 0:
            raise WeightsError("has no ids for end and padding", where=str(path))

    def ids(self, text: str) -> list[int]:
        """Return the ids of the most probable cut."""
        return self._ids(text)

    def _read_pieces(self, path: Path) -> None:
        model = read_sentencepiece(path)
        self.pad, self.end, self.unknown = model.rules.pad, model.rules.end, model.rules.unknown
        self._ids = model.ids

    def _read_fast(self, path: Path) -> None:
        try:
            backend = Backend.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise WeightsError(f"not a tokenizer file of the tokenizers library: {error}", where=str(path)) from error
        backend.no_padding()
        backend.no_truncation()
        found = (backend.token_to_id(token) for token in ("<pad>", "</s>", "<unk>"))
        self.pad, self.end, self.unknown = (-1 if number is None else number for number in found)
        self._ids = lambda text: backend.encode(text, add_special_tokens=False).ids


def _vocabulary_file(source: Path) -> Path:
    """Return the file itself, or the folder's; the SentencePiece model first, of which the other is a translation."""
    if not source.is_dir():
        return source
    for name in (SENTENCEPIECE, FAST):
        if (source / name).is_file():
            return source / name
    hint = f"It comes with the checkpoint: {SENTENCEPIECE}, or {FAST}."
    raise WeightsError("has no tokenizer", where=str(source), hint=hint)
