"""BERT's words: what its algorithm gives by hand, and files that are none of its vocabularies."""

import numpy as np
import pytest

from videogen_cli.data.moving_shapes import ALL, PARAPHRASES, prompt
from videogen_cli.data.wordpiece import load_wordpiece
from videogen_cli.errors import UsageError, WeightsError

TINY = "asset:t2v-turbo/tiny/wordpiece.json"
TOKENS = "[PAD] [unused0] [UNK] [CLS] [SEP] [MASK] un ##aff ##able ##a ##ff cafe a red ! , ' s 中 国 ##s -".split()


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a red", "a red"),
        ("UNaffable", "un ##aff ##able"),  # lower case; the longest piece first
        ("unaff", "un ##aff"),
        ("Café", "cafe"),  # an accent, composed
        ("Cafe\u0301s", "cafe ##s"),  # and decomposed
        ("redd", "[UNK]"),  # "red" fits, "##d" is unknown: so is the whole word
        ("red!!", "red ! !"),  # punctuation stands alone
        ("a,red-a", "a , red - a"),
        ("a's", "a ' s"),
        ("中国a", "中 国 a"),  # every Chinese character is a word
        ("a\u00a0red\t\n\r", "a red"),  # spaces of all kinds
        ("r\u0000e\u200bd\ufffd", "red"),  # control and format characters go
        ("un" + "aff" * 33, "[UNK]"),  # 101 characters: too long to be tried
        ("un" + "aff" * 32, "un" + " ##aff" * 32),  # 98
        ("", ""),
        ("a [MASK] red", "a [MASK] red"),  # special tokens in a text are these tokens, as upstream
    ],
)
def test_pieces(vocabulary, text, pieces):
    assert load_wordpiece(vocabulary).ids(text) == [TOKENS.index(piece) for piece in pieces.split()]


def test_rows_are_framed_padded_cut_and_masked(vocabulary):
    tokenizer = load_wordpiece(vocabulary, 5)
    ids, keep = tokenizer.encode(["a red", "", "a red a red a", "a red !"])
    cls, sep, a, red = (TOKENS.index(token) for token in ("[CLS]", "[SEP]", "a", "red"))
    assert ids.tolist() == [[cls, a, red, sep, 0], [cls, sep, 0, 0, 0], [cls, a, red, a, sep], [cls, a, red, 14, sep]]
    assert keep.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1] * 5, [1] * 5]
    assert ids.dtype == keep.dtype == np.int64
    assert [tokenizer.truncated(text) for text in ("a red !", "a red ! !")] == [False, True]
    assert tokenizer.vocab_size == len(TOKENS)


def test_windows_line_ends_and_a_missing_last_one_change_nothing(vocabulary, tmp_path):
    other = tmp_path / "windows.txt"
    other.write_bytes("\r\n".join(TOKENS).encode())
    texts = ["unaffable café", "中国"]
    first, second = (load_wordpiece(path).encode(texts)[0] for path in (vocabulary, str(other)))
    assert np.array_equal(first, second)


def test_published_length_is_forty(vocabulary):
    assert load_wordpiece(vocabulary).encode(["a " * 10_000])[0].shape == (1, 40)


def test_tiny_knows_every_word_of_the_captions_and_spells_others():
    tokenizer = load_wordpiece(TINY, 16)
    captions = sorted({prompt(combination, number) for combination in ALL for number in range(len(PARAPHRASES))})
    assert all(len(tokenizer.ids(caption)) == len(caption.split()) for caption in captions)
    assert len(np.unique(tokenizer.encode(captions)[0], axis=0)) == len(captions)
    assert tokenizer.unknown not in tokenizer.ids("An unheard-of shape: (7 corners)!")


def test_files_that_are_no_vocabulary_are_named(tmp_path):
    for name, content, complaint in (
        ("vocab.txt", "a\nb\n", r"no \[PAD\], \[UNK\], \[CLS\], \[SEP\]"),
        ("twice.txt", "\n".join([*TOKENS, "red"]), "'red' twice"),
        ("latin.txt", "caf\xe9".encode("latin-1"), "cannot be read"),
        ("broken.json", "{}", "not a tokenizer file"),
    ):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(WeightsError, match=complaint):
            load_wordpiece(str(path))
    with pytest.raises(WeightsError):
        load_wordpiece(str(tmp_path / "absent.txt"))
    with pytest.raises(WeightsError, match="does not ship") as error:
        load_wordpiece("bert")
    assert "hub:t2v-turbo/bert-vocab" in error.value.hint
    with pytest.raises(UsageError, match="start and end"):
        load_wordpiece(TINY, 1)
