"""Prompts to token ids as BERT reads them: ``[CLS] ids [SEP] [PAD] [PAD] ...``, with a mask of what is no padding.

Devlin et al. 2018 (arXiv 1810.04805); upstream: google-research/bert ``tokenization.py`` and huggingface/transformers
``BertTokenizer`` of ``bert-large-uncased``, called with ``padding="max_length"``, ``truncation=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from videogen_cli.errors import UsageError, WeightsError
from videogen_cli.weights.store import locate

BERT = "bert"
PAD, UNKNOWN, START, END = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LONGEST_WORD = 100  # characters; longer ones are unknown


class WordPieceTokenizer:
    """Encodes prompts into rows of ``length`` ids.

    Args:
        backend: cuts text into ids; its vocabulary has the special tokens.
        length: ids per row.

    Raises:
        UsageError: a row has no room for start and end.
    """

    def __init__(self, backend: Backend, length: int) -> None:
        if length < 2:
            raise UsageError(f"a row of {length} has no room for start and end", where="max_text_length")
        self.length = length
        self._backend = backend
        self.pad, self.unknown, self.start, self.end = map(backend.token_to_id, SPECIAL)

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, special ones included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def ids(self, text: str) -> list[int]:
        """Return the ids of ``text`` alone: no start, no end, no limit."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and mask, int64 (n, length); a text that is too long is cut, start and end kept.

        The mask is 1 on ids, start and end, 0 on padding.
        """
        rows = np.full((len(texts), self.length), self.pad, np.int64)
        keep = np.zeros_like(rows)
        for row, kept, text in zip(rows, keep, texts, strict=True):
            ids = [self.start, *self.ids(text)[: self.length - 2], self.end]
            row[: len(ids)], kept[: len(ids)] = ids, 1
        return rows, keep

    def truncated(self, text: str) -> bool:
        """Tell whether :meth:`encode` cuts ``text``."""
        return len(self.ids(text)) > self.length - 2


def load_wordpiece(source: str, length: int = 40) -> WordPieceTokenizer:
    """Return a tokenizer.

    Args:
        source: a ``vocab.txt`` (one token per line, its line number its id), or a JSON file of the ``tokenizers``
            library (``asset:NAME`` ships with vgen).
        length: ids per row.

    Raises:
        WeightsError: the file is missing, is no such file, or lacks one of the special tokens.
        UsageError: ``length`` is below 2.
    """
    if source == BERT:
        hint = "Use video_tokenizer=hub:t2v-turbo/bert-vocab, which is fetched, or the path of your own vocab.txt."
        raise WeightsError("BERT's vocabulary does not ship with vgen", where="video_tokenizer", hint=hint)
    return WordPieceTokenizer(_backend(str(locate(source))), length)


def uncased(tokens: Sequence[str]) -> Backend:
    """Return what cuts text as bert-large-uncased does: lower case, no accents, words into the longest known pieces.

    Args:
        tokens: in the order of their ids; a piece that goes on with a word begins with ``##``.
    """
    model = WordPiece(
        {token: number for number, token in enumerate(tokens)},
        unk_token=UNKNOWN,
        max_input_chars_per_word=LONGEST_WORD,
        continuing_subword_prefix="##",
    )
    backend = Backend(model)
    backend.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    backend.pre_tokenizer = BertPreTokenizer()
    backend.add_special_tokens(
        [AddedToken(token, normalized=False) for token in (*SPECIAL, "[MASK]") if token in tokens]
    )
    return backend


@lru_cache(maxsize=4)
def _backend(path: str) -> Backend:
    backend = _from_json(path) if path.endswith(".json") else uncased(_lines(path))
    if missing := [token for token in SPECIAL if backend.token_to_id(token) is None]:
        raise WeightsError(f"has no {', '.join(missing)}: not a vocabulary of BERT", where=path)
    return backend


def _from_json(path: str) -> Backend:
    try:
        backend = Backend.from_file(path)
    except Exception as error:  # the library raises nothing more precise
        raise WeightsError(f"not a tokenizer file of the tokenizers library: {error}", where=path) from error
    backend.no_padding()
    backend.no_truncation()
    return backend


def _lines(path: str) -> list[str]:
    try:
        tokens = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"cannot be read as a list of tokens: {error}", where=path) from error
    tokens = [token.rstrip("\r") for token in tokens]
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    if len(set(tokens)) < len(tokens):
        repeated = next(token for number, token in enumerate(tokens) if token in tokens[:number])
        raise WeightsError(f"lists {repeated!r} twice: not a vocabulary of BERT", where=path)
    return tokens
