"""SentencePiece's unigram models (``spiece.model``): text to pieces as the google/sentencepiece library cuts it.

The file is a protobuf (sentencepiece_model.proto) of pieces with scores and the rules that text is normalised by. The
most probable cut is found by the tokenizers library; Kudo, arXiv 1804.10959.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers.models import Unigram

from videogen_cli.errors import WeightsError
from videogen_cli.weights.protobuf import BYTES, FIXED32, VARINT, fields

SPACE = "\u2581"  # stands for a space in pieces
_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6  # types of pieces that text may be cut into
_UNIGRAM = 1
_LABEL, _VALUE = (1 << 31) | 0xFF, (1 << 31) - 1


@dataclass
class Piece:
    """One entry of the vocabulary; its id is its place."""

    text: str = ""
    score: float = 0.0
    kind: int = _NORMAL


@dataclass
class Rules:
    """How text is normalised and which ids are special; defaults are the format's."""

    model: int = _UNIGRAM
    unknown: int = 0
    end: int = 2
    pad: int = -1
    suffix_space: bool = False
    byte_fallback: bool = False
    replacements: bytes = b""
    add_prefix: bool = True
    tidy_spaces: bool = True
    escape_spaces: bool = True


# Field numbers of TrainerSpec and NormalizerSpec, and what they set.
_TRAINER = {3: "model", 24: "suffix_space", 35: "byte_fallback", 40: "unknown", 42: "end", 43: "pad"}
_NORMALIZER = {2: "replacements", 3: "add_prefix", 4: "tidy_spaces", 5: "escape_spaces"}


class SentencePiece:
    """Cuts text into ids, without start or end."""

    def __init__(self, pieces: list[Piece], rules: Rules) -> None:
        self.pieces, self.rules = pieces, rules
        best = max((piece.score for piece in pieces if piece.kind == _NORMAL), default=0.0)
        vocabulary = []
        for piece in pieces:
            # what text is never cut into gets a spelling that no text has
            spelling = piece.text if piece.kind in (_NORMAL, _USER_DEFINED, _BYTE) else f"\0{piece.text}"
            # the library's score of a piece that the user defined, against as many of the best piece
            score = len(piece.text.encode()) * best - 0.1 if piece.kind == _USER_DEFINED else piece.score
            vocabulary.append((spelling, score))
        self._backend = Backend(Unigram(vocabulary, unk_id=rules.unknown, byte_fallback=rules.byte_fallback))
        self._trie, self._strings = _replacements(rules.replacements)
        symbols = sorted((p.text for p in pieces if p.kind == _USER_DEFINED and p.text), key=len, reverse=True)
        self._fixed = re.compile("|".join(map(re.escape, symbols)) or r"(?!)")

    def ids(self, text: str) -> list[int]:
        """Return the ids of ``text``."""
        return self._backend.encode(self.normalise(text), add_special_tokens=False).ids

    def normalise(self, text: str) -> str:
        """Return ``text`` as it is cut: characters replaced by the model's rules, spaces tidied and made visible."""
        parts, position = [], 0
        for match in self._fixed.finditer(text):
            parts += [self._replace(text[position : match.start()]), match[0]]
            position = match.end()
        text = "".join([*parts, self._replace(text[position:])])
        if self.rules.tidy_spaces:
            text = re.sub(" +", " ", text).strip(" ")
        if text and self.rules.add_prefix:
            text = f" {text}"
        return text.replace(" ", SPACE)

    def _replace(self, text: str) -> str:
        """Replace the longest known sequence at each place, and else keep the character."""
        data, out, position = text.encode("utf-8", "replace"), bytearray(), 0
        while position < len(data):
            length, start = _longest(self._trie, data, position)
            if length:
                out += self._strings[start : self._strings.index(b"\0", start)]
            else:
                lead = data[position]
                length = 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
                out += data[position : position + length]
            position += length
        return out.decode("utf-8", "replace")


def read_sentencepiece(path: Path) -> SentencePiece:
    """Read a ``spiece.model``.

    Raises:
        WeightsError: it is no such file, or a model of another kind than unigram.
    """
    pieces, rules = [], Rules()
    try:
        data = memoryview(path.read_bytes())
        for number, wire, start, stop in fields(data, 0, len(data)):
            if (number, wire) == (1, BYTES):
                pieces.append(_piece(data, start, stop))
            elif number in (2, 3) and wire == BYTES:
                _read_rules(rules, data, start, stop, _TRAINER if number == 2 else _NORMALIZER)
        if not 0 <= rules.unknown < len(pieces):
            raise ValueError("it has no piece for what is unknown")
        if rules.model == _UNIGRAM and not rules.suffix_space and rules.escape_spaces:
            return SentencePiece(pieces, rules)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, struct.error) as error:
        raise WeightsError(f"is no SentencePiece model, or damaged ({error})", where=str(path)) from error
    raise WeightsError("is a SentencePiece model of another kind than T5's unigram models", where=str(path))


def _piece(data: memoryview, start: int, stop: int) -> Piece:
    piece = Piece()
    for number, wire, first, last in fields(data, start, stop):
        if (number, wire) == (1, BYTES):
            piece.text = bytes(data[first:last]).decode()
        elif (number, wire) == (2, FIXED32):
            (piece.score,) = struct.unpack("<f", data[first:last])
        elif (number, wire) == (3, VARINT):
            piece.kind = first
    return piece


def _read_rules(rules: Rules, data: memoryview, start: int, stop: int, names: dict[int, str]) -> None:
    for number, wire, first, last in fields(data, start, stop):
        if name := names.get(number):
            negative = wire == VARINT and first >= 1 << 63  # as is the number of a special id that does not exist
            setattr(rules, name, bytes(data[first:last]) if wire == BYTES else first - (1 << 64) * negative)


def _replacements(blob: bytes) -> tuple[tuple[int, ...], bytes]:
    """Return the trie (a darts-clone double array) and the zero-terminated strings that its values point into."""
    if not blob:
        return (), b""
    (size,) = struct.unpack_from("<I", blob)
    return struct.unpack_from(f"<{size // 4}I", blob, 4), blob[4 + size :]


def _longest(trie: tuple[int, ...], data: bytes, position: int) -> tuple[int, int]:
    """Return (length, value) of the longest key of the trie that ``data`` has at ``position``; (0, 0) without one."""
    found = (0, 0)
    if not trie:
        return found
    node = _offset(trie[0])
    for count, byte in enumerate(data[position:], 1):
        node ^= byte
        unit = trie[node] if node < len(trie) else 0
        if unit & _LABEL != byte:
            break
        node ^= _offset(unit)
        if unit >> 8 & 1:
            found = count, trie[node] & _VALUE
    return found


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & (1 << 9)) >> 6)
