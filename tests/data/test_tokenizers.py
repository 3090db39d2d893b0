import runpy
from pathlib import Path

import numpy as np
import pytest

from videogen_cli.data.moving_shapes import ALL, PARAPHRASES, prompt
from videogen_cli.data.tokenizers import clean, load_tokenizer
from videogen_cli.errors import UsageError, WeightsError

TINY = "asset:t2v-turbo/tiny/tokenizer.json"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_tiny_tokenizer.py"


def test_openclip_ids_are_the_originals(golden):
    config, _, expected = golden("t2v-turbo/tokenizer-openclip")
    tokenizer = load_tokenizer("openclip", config["context_length"])
    tokens = tokenizer.encode(config["texts"])
    assert tokens.dtype == np.int64 and tokenizer.vocab_size == 49408
    np.testing.assert_array_equal(tokens, expected["tokens"])


@pytest.mark.parametrize("name", ["openclip", TINY])
def test_empty_and_very_long_prompts(name):
    tokenizer = load_tokenizer(name, 16)
    start, end = tokenizer.vocab_size - 2, tokenizer.vocab_size - 1
    empty, long = tokenizer.encode(["", "so " * 3333 + "!"])
    np.testing.assert_array_equal(empty, [start, end, *[0] * 14])
    assert long[0] == start and long[-1] == end and (long != 0).all()
    assert tokenizer.truncated("so " * 3333) and not tokenizer.truncated("")


@pytest.mark.parametrize("name", ["openclip", TINY])
def test_prompt_that_just_fits_is_not_truncated(name):
    tokenizer = load_tokenizer(name, 6)
    assert not tokenizer.truncated("a red circle up") and tokenizer.truncated("a red circle moving up")
    assert tokenizer.encode(["a red circle up"])[0, -1] == tokenizer.vocab_size - 1


@pytest.mark.parametrize("name", ["openclip", TINY])
def test_any_text_can_be_encoded(name):
    tokenizer = load_tokenizer(name, 77)
    for text in ["日本の桜 🌸", "\udcff broken", "\x00\x01\x7f", "ÀÉ ß İ ſ's", "#!?<<>>", "\u200b\u00a0"]:
        assert tokenizer.encode([text]).max() < tokenizer.vocab_size


def test_cleaning_is_the_originals():
    assert clean("  Caf&amp;eacute;\n\t BAR ") == "café bar"
    assert clean("&amp;lt;b&amp;gt;") == "<b>"


def test_special_words_in_a_prompt_are_special_tokens_as_upstream():
    ids = load_tokenizer("openclip", 77).ids("a <end_of_text> b <|endoftext|>")
    assert ids.count(49407) == 1


def test_tiny_reads_captions_word_by_word_and_tells_them_apart():
    tokenizer = load_tokenizer(TINY, 16)
    assert tokenizer.vocab_size < 512
    captions = [prompt(combination, number) for combination in ALL for number in range(len(PARAPHRASES))]
    assert all(len(tokenizer.ids(caption)) == len(caption.split()) for caption in captions)
    assert len(np.unique(tokenizer.encode(captions), axis=0)) == len(set(captions))


def test_tiny_keeps_word_boundaries_of_unknown_text():
    tokenizer = load_tokenizer(TINY, 77)
    assert tokenizer.ids("ab c") != tokenizer.ids("abc") != tokenizer.ids("a bc")


def test_tiny_is_what_its_script_makes(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["make", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    shipped = Path(__file__).parents[2] / "videogen_cli/assets/t2v-turbo/tiny"
    for name in ("tokenizer.json", "wordpiece.json"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()


def test_broken_and_missing_files_are_named(tmp_path):
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        load_tokenizer(str(broken), 77)
    with pytest.raises(WeightsError):
        load_tokenizer(str(tmp_path / "absent.json"), 77)
    with pytest.raises(UsageError, match="context_length"):
        load_tokenizer("openclip", 1)
