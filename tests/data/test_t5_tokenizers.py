import json
import shutil

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import Unigram

from videogen_cli.data.sentencepiece import SPACE, Piece, Rules, SentencePiece, read_sentencepiece
from videogen_cli.data.t5_tokenizers import ByteTokenizer, PieceTokenizer
from videogen_cli.errors import UsageError, WeightsError

CONTROL, UNKNOWN, USER_DEFINED, UNUSED, BYTE = 3, 2, 4, 5, 6


def pieces(*extra):
    special = [Piece("<pad>", 0, CONTROL), Piece("</s>", 0, CONTROL), Piece("<unk>", 0, UNKNOWN)]
    letters = [Piece(letter, -5) for letter in [*"abcs</>", SPACE]]
    return [*special, *letters, Piece("ab", -2), Piece(f"{SPACE}ab", -3), *extra]


def model(*extra, **rules):
    return SentencePiece(pieces(*extra), Rules(unknown=2, end=1, pad=0, **rules))


def texts(found, ids):
    return [found.pieces[number].text for number in ids]


@pytest.fixture
def spiece(golden_path):
    return golden_path("moviegen/ul2-tokenizer-a") / "model" / "spiece.model"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("ab", [f"{SPACE}ab"]),
        ("  ab   abc ", [f"{SPACE}ab", f"{SPACE}ab", "c"]),
        ("cab", [SPACE, "c", "ab"]),
        ("aXYb", [SPACE, "a", "<unk>", "b"]),  # what is unknown is one piece, however long
        ("</s>", [SPACE, "<", "/", "s", ">"]),  # a prompt cannot spell special pieces
        ("", []),
        ("   ", []),
    ],
)
def test_the_most_probable_cut(text, cut):
    found = model()
    assert texts(found, found.ids(text)) == cut


def test_other_rules_for_spaces():
    assert model(add_prefix=False).normalise(" a  b ") == f"a{SPACE}b"
    assert model(tidy_spaces=False).normalise(" a  b") == f"{SPACE}{SPACE}a{SPACE}{SPACE}b"


def test_what_is_unknown_may_be_spelled_in_bytes():
    found = model(*(Piece(f"<0x{byte:02X}>", 0, BYTE) for byte in "Xé".encode()), byte_fallback=1)
    assert texts(found, found.ids("aXéb")) == [SPACE, "a", "<0x58>", "<0xC3>", "<0xA9>", "b"]


@pytest.mark.parametrize(("one", "two", "cut"), [(-4, -5, ["w", "ww"]), (-5.5, -5.53, ["ww", "w"])])
def test_of_equal_cuts_the_first_stays_unless_sums_in_single_precision_differ(one, two, cut):
    found = model(Piece("w", one), Piece("ww", two))
    assert texts(found, found.ids("www")) == [SPACE, *cut]


def test_pieces_of_the_user_and_pieces_that_are_never_used():
    found = model(Piece("ＳＳＳ", 0, USER_DEFINED), Piece("abc", 0, UNUSED))
    assert texts(found, found.ids("cＳＳＳc")) == [SPACE, "c", "ＳＳＳ", "c"]
    assert texts(found, found.ids("abc")) == [f"{SPACE}ab", "c"]


def test_characters_are_replaced_as_in_the_model_file(spiece):
    found = read_sentencepiece(spiece)
    assert found.normalise("ﬁ ① Ａ e\u0301 \u3000x\ty ½ …") == SPACE + "fi 1 A é x y 1⁄2 ...".replace(" ", SPACE)
    assert found.normalise("\U0001f63a가\u0416") == SPACE + "\U0001f63a가\u0416"
    # the tokenizers library's own normaliser loses the mark here
    assert found.normalise("\ufcc5\u0327") == SPACE + "\u0643\u062d\u0327"


def test_rows_end_and_are_padded(spiece):
    tokenizer = PieceTokenizer(spiece, 6)
    ids, mask = tokenizer.encode(["", "a cat with blue eyes, snow!"])
    assert ids.dtype == mask.dtype == np.int64
    assert ids[0].tolist() == [1, 0, 0, 0, 0, 0] and mask[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert ids[1, -1] == 1 and (mask[1] == 1).all()
    assert tokenizer.truncated("a cat with blue eyes, snow!") and not tokenizer.truncated("a")


def test_bytes():
    tokenizer = ByteTokenizer(4)
    ids, mask = tokenizer.encode(["é", "abcd"])
    assert ids.tolist() == [[0xC3 + 3, 0xA9 + 3, 1, 0], [100, 101, 102, 1]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert not tokenizer.truncated("abc") and tokenizer.truncated("abcd")
    with pytest.raises(UsageError, match="no room"):
        ByteTokenizer(0)


def test_a_translated_vocabulary_gives_the_same_ids(spiece, tmp_path):
    found = read_sentencepiece(spiece)
    Backend(Unigram([(piece.text, piece.score) for piece in found.pieces], unk_id=2)).save(
        str(tmp_path / "tokenizer.json")
    )
    fast = PieceTokenizer(tmp_path, 16)
    assert (fast.pad, fast.end, fast.unknown) == (0, 1, 2)
    assert fast.ids(f"{SPACE}a{SPACE}cat") == PieceTokenizer(spiece, 16).ids("a cat")


def test_the_folder_of_a_checkpoint(spiece, tmp_path):
    with pytest.raises(WeightsError, match="has no tokenizer"):
        PieceTokenizer(tmp_path, 8)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(WeightsError, match="not a tokenizer file"):
        PieceTokenizer(tmp_path, 8)
    shutil.copy(spiece, tmp_path / "spiece.model")
    assert PieceTokenizer(tmp_path, 8).ids("a") == PieceTokenizer(spiece, 8).ids("a")


def test_files_that_are_no_unigram_models(spiece, tmp_path):
    path = tmp_path / "spiece.model"
    with pytest.raises(WeightsError, match="cannot be read"):
        read_sentencepiece(path)
    for content in (b"", b"version https://git-lfs", spiece.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="no SentencePiece model"):
            read_sentencepiece(path)
    path.write_bytes(spiece.read_bytes() + b"\x12\x02\x18\x02")  # a second trainer_spec, which says byte pairs
    with pytest.raises(WeightsError, match="another kind"):
        read_sentencepiece(path)


def test_a_vocabulary_without_padding(spiece, tmp_path):
    path = tmp_path / "spiece.model"
    minus_one = b"\xff" * 9 + b"\x01"
    path.write_bytes(spiece.read_bytes() + b"\x12\x0c\xd8\x02" + minus_one)
    with pytest.raises(WeightsError, match="no ids for end and padding"):
        PieceTokenizer(path, 8)
