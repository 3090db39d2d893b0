import io
from types import SimpleNamespace

import pytest

from videogen_cli.errors import DataError, UsageError
from videogen_cli.runners.prompts import read_prompts


def request(prompts=(), file=None):
    return SimpleNamespace(prompts=list(prompts), prompts_file=file)


def test_prompt_becomes_a_file_stem():
    (prompt,) = read_prompts(request(["A red circle, moving right!"]))
    assert prompt.text == "A red circle, moving right!"
    assert prompt.id == "a-red-circle-moving-right"


def test_csv_ids_are_kept_and_repeated_ones_told_apart(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("id,prompt\none,a\none,b\n../x,c\n", encoding="utf-8-sig")
    assert [p.id for p in read_prompts(request(file=str(path)))] == ["one", "one-0001", "x"]


def test_text_file_and_standard_input_hold_one_prompt_a_line(tmp_path, monkeypatch):
    path = tmp_path / "p.txt"
    path.write_text("a cat\n\na dog\n")
    assert [p.text for p in read_prompts(request(file=str(path)))] == ["a cat", "a dog"]
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert [p.text for p in read_prompts(request(file="-"))] == ["one", "two"]


def test_commas_without_quotes_stay_in_a_prompt_of_the_last_column(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('id,prompt\n0,Slow motion, petals fall, softly.\n1,"a, b"\n')
    assert [p.text for p in read_prompts(request(file=str(path)))] == ["Slow motion, petals fall, softly.", "a, b"]
    path.write_text("prompt,id\na,b,0\n")
    with pytest.raises(DataError, match=r"line 2.*more cells"):
        read_prompts(request(file=str(path)))


def test_ten_thousand_characters_make_a_short_name():
    (prompt,) = read_prompts(request(["word " * 2000]))
    assert len(prompt.id) <= 64


@pytest.mark.parametrize("content, message", [("text\nx\n", "no 'prompt' column"), ("prompt\n \n", "is empty")])
def test_bad_csv_is_named(tmp_path, content, message):
    path = tmp_path / "p.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        read_prompts(request(file=str(path)))
    assert str(path) in str(error.value)


def test_missing_file_empty_prompt_and_none_at_all():
    with pytest.raises(DataError, match="no such"):
        read_prompts(request(file="nowhere.txt"))
    with pytest.raises(DataError, match="empty"):
        read_prompts(request([""]))
    with pytest.raises(UsageError, match="no prompt"):
        read_prompts(request())
    with pytest.raises(UsageError, match="not both"):
        read_prompts(request(["x"], "y.txt"))
