"""Prompts to token ids, as OpenCLIP's text towers read them.

A row is ``[start] ids [end] 0 0 ...``; start and end are the vocabulary's last two ids (upstream
``open_clip/tokenizer.py``, version 2.24.0: ``tokenize``).
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import ftfy
import numpy as np
from tokenizers import AddedToken, Regex
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from videogen_cli.errors import UsageError, WeightsError
from videogen_cli.weights.store import locate

OPENCLIP = "openclip"
START, END = "<start_of_text>", "<end_of_text>"
WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_OPENCLIP_ASSET = "asset:openclip/bpe_simple_vocab_16e6.txt.gz"
_OPENCLIP_MERGES = 49152 - 256 - 2  # of the 262,144 in the file; the rest is not in the vocabulary


class Tokenizer:
    """Encodes prompts into rows of ``context_length`` ids.

    Args:
        backend: cuts cleaned text into ids; its last two ids are start and end of text.
        context_length: ids per row.

    Raises:
        UsageError: a row has no room for start and end.
    """

    def __init__(self, backend: Backend, context_length: int) -> None:
        if context_length < 2:
            raise UsageError(f"a row of {context_length} has no room for start and end", where="text.context_length")
        self.context_length = context_length
        self._backend = backend

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, start and end included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def ids(self, text: str) -> list[int]:
        """Return the ids of ``text`` alone: no start, no end, no limit."""
        return self._backend.encode(clean(text), add_special_tokens=False).ids

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return ids, int64 (n, context_length); a text that is too long is cut and its last id is the end."""
        rows = np.zeros((len(texts), self.context_length), np.int64)
        start, end = self.vocab_size - 2, self.vocab_size - 1
        for row, text in zip(rows, texts, strict=True):
            ids = self.ids(text)[: self.context_length - 2]
            row[: len(ids) + 2] = [start, *ids, end]
        return rows

    def truncated(self, text: str) -> bool:
        """Tell whether :meth:`encode` cuts ``text``."""
        return len(self.ids(text)) > self.context_length - 2


def clean(text: str) -> str:
    """Repair mojibake, resolve HTML entities (twice, as they are often escaped twice), collapse space, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


def load_tokenizer(name_or_path: str, context_length: int = 77) -> Tokenizer:
    """Return a tokenizer.

    Args:
        name_or_path: ``openclip``, or a JSON file of the ``tokenizers`` library (``asset:NAME`` ships with vgen) whose
            last two ids are start and end of text.
        context_length: ids per row.

    Raises:
        WeightsError: the file is missing, or is no such file.
        UsageError: ``context_length`` is below 2.
    """
    return Tokenizer(_openclip() if name_or_path == OPENCLIP else _from_file(name_or_path), context_length)


def byte_symbols() -> list[str]:
    """Return the printable characters that stand for bytes in a vocabulary, in CLIP's order of ids."""
    alphabet = ByteLevel.alphabet()
    printable = [chr(code) for code in range(256) if chr(code) in alphabet]
    return printable + sorted(set(alphabet) - set(printable))


@lru_cache(maxsize=1)
def _openclip() -> Backend:
    """Byte-pair encoding over byte symbols; the last symbol of a word carries ``</w>``."""
    with gzip.open(locate(_OPENCLIP_ASSET), "rt", encoding="utf-8") as lines:
        next(lines)  # a version line
        merges: list[tuple[str, str]] = [_pair(line) for line, _ in zip(lines, range(_OPENCLIP_MERGES), strict=False)]
    symbols = byte_symbols()
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(first + second for first, second in merges)]
    model = BPE(vocab=_numbered(tokens), merges=merges, end_of_word_suffix="</w>")
    backend = Backend(model)
    backend.pre_tokenizer = Steps(
        [Split(Regex(WORDS), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.add_special_tokens([AddedToken(START), AddedToken(END)])
    return backend


@lru_cache(maxsize=8)
def _from_file(uri: str) -> Backend:
    path = locate(uri)
    try:
        return Backend.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise WeightsError(f"not a tokenizer file of the tokenizers library: {error}", where=str(path)) from error


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}
