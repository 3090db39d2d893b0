"""SentencePiece's unigram models (``spiece.model``): text to pieces as the google/sentencepiece library cuts it.

The file is a protobuf (sentencepiece_model.proto) of pieces with scores and the rules that text is normalised by. Text
is cut into the most probable pieces (Kudo, arXiv 1804.10959); among equal cuts the library's rounding decides, so sums
are kept as it keeps them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.protobuf import BYTES, FIXED32, VARINT, fields

SPACE = "\u2581"  # stands for a space in pieces
_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6  # types of pieces that text may be cut into
_UNIGRAM = 1
_UNKNOWN_PENALTY = 10.0  # what an unknown character scores below the worst piece
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
        scores = [piece.score for piece in pieces if piece.kind == _NORMAL] or [0.0]
        best, self._unknown_score = max(scores), np.float32(min(scores) - _UNKNOWN_PENALTY)
        self._known = {p.text: number for number, p in enumerate(pieces) if p.kind in (_NORMAL, _USER_DEFINED)}
        self._bytes = {p.text: number for number, p in enumerate(pieces) if p.kind == _BYTE}
        self._widest = max(map(len, self._known), default=1)
        # a piece that the user defined scores just below as many of the best piece
        self._scores = [len(p.text.encode()) * best - 0.1 if p.kind == _USER_DEFINED else p.score for p in pieces]
        self._trie, self._strings = _replacements(rules.replacements)
        symbols = sorted((p.text for p in pieces if p.kind == _USER_DEFINED and p.text), key=len, reverse=True)
        self._fixed = re.compile("|".join(map(re.escape, symbols)) or r"(?!)")

    def ids(self, text: str) -> list[int]:
        """Return the ids of ``text``; neighbouring unknown characters are one, or the bytes that the model spells."""
        found: list[int] = []
        for number, spelling in self._cut(self.normalise(text)):
            if number != self.rules.unknown:
                found.append(number)
            elif self.rules.byte_fallback:
                found += [self._bytes.get(f"<0x{byte:02X}>", number) for byte in spelling.encode()]
            elif found[-1:] != [number]:
                found.append(number)
        return found

    def _cut(self, text: str) -> list[tuple[int, str]]:
        """Return the most probable pieces of a normalised text with their spelling, by Viterbi's algorithm."""
        scores: list[float] = [0.0] * (len(text) + 1)
        last: list[tuple[int, int]] = [(-1, -1)] * (len(text) + 1)  # start and id of the best piece that ends here
        for start in range(len(text)):
            alone = False
            for stop in range(start + 1, min(start + self._widest, len(text)) + 1):
                number = self._known.get(text[start:stop])
                if number is None:
                    continue
                alone = alone or stop == start + 1
                score = float(np.float32(scores[start] + self._scores[number]))
                if last[stop][0] < 0 or score > scores[stop]:
                    scores[stop], last[stop] = score, (start, number)
            score = float(np.float32(scores[start] + self._unknown_score))
            if not alone and (last[start + 1][0] < 0 or score > scores[start + 1]):
                scores[start + 1], last[start + 1] = score, (start, self.rules.unknown)
        pieces, stop = [], len(text)
        while stop:
            start, number = last[stop]
            pieces.append((number, text[start:stop]))
            stop = start
        return pieces[::-1]

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
