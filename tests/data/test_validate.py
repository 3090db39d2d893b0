import json

import pytest

from videogen_cli.cli.main import main
from videogen_cli.data.moving_shapes import write_dataset


def vgen(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["validate", *map(str, arguments)])
    captured = capsys.readouterr()
    return left.value.code, captured.out, captured.err


def test_a_good_set(tmp_path, capsys):
    write_dataset(tmp_path, 0, 6, 5)
    code, out, _ = vgen(capsys, tmp_path, "--json")
    (summary,) = map(json.loads, out.splitlines())
    assert code == 0 and (summary["rows"], summary["good"], summary["bad"]) == (6, 6, 0)
    assert summary["sizes"] == {"64x64": 6} and summary["fps"] == {"8": 6} and summary["frames"]["max"] == 5
    assert summary["repeated_videos"] == 0 and summary["seconds"]["median"] == 0.625


def test_every_bad_row_has_a_line_with_its_reason(tmp_path, capsys):
    table = write_dataset(tmp_path, 0, 6, 5)
    (tmp_path / "page.mp4").write_text("<html></html>")
    (tmp_path / "clips" / "000002.mp4").write_bytes(b"")
    with open(table, "a") as handle:
        handle.write("nowhere,words\npage.mp4,words\nclips/000001.mp4,\nclips/000001.mp4,again\n")
    code, out, err = vgen(capsys, table, "--json", "--workers", 2)
    *bad, summary = map(json.loads, out.splitlines())
    assert code == 3 and "4 of 10 rows" in err and "Traceback" not in err
    reasons = {line["line"]: line["reason"] for line in bad}
    assert reasons.keys() == {4, 8, 9, 10} and "web page" in reasons[9] and "empty" in reasons[4]
    assert summary["bad"] == 4 and summary["repeated_videos"] == 1
    code, out, err = vgen(capsys, table)
    assert code == 3 and "web page" in out + err


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such data set"), (b"a,b\n1,2\n", "no column"), (b"\xff", "UTF-8")]
)
def test_what_is_no_set(tmp_path, capsys, content, words):
    if content is not None:
        (tmp_path / "set.csv").write_bytes(content)
    code, out, err = vgen(capsys, tmp_path / "set.csv", "--json")
    assert code == 3 and out == "" and words in err and "Traceback" not in err
