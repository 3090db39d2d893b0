import json
import math
from pathlib import Path

import numpy as np
import pytest

from videogen_cli import output as module
from videogen_cli.errors import UsageError
from videogen_cli.output import Output, duration, plain


def test_stdout_holds_results_only(capsys):
    out = Output()
    out.info("note")
    out.warn("careful")
    out.summary("done", [("file", Path("a.mp4")), ("seconds", 1)])
    out.error(UsageError("wrong", where="--x", hint="Try --y."))
    out.result({"not": "shown"})
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.splitlines() == [
        "note",
        "warning: careful",
        "done",
        "  file     a.mp4",
        "  seconds  1",
        "error: --x: wrong",
        "  Try --y.",
    ]


def test_json_results_are_one_object_a_line(capsys):
    out = Output(json=True)
    out.result({"file": Path("a b.mp4"), "loss": math.nan, "shape": np.array([1, 2]), "seconds": np.float32(0.5)})
    out.table("never", ("a",), [("b",)])
    out.text("never")
    assert json.loads(capsys.readouterr().out) == {"file": "a b.mp4", "loss": None, "shape": [1, 2], "seconds": 0.5}


def test_tables_are_plain_columns_in_a_pipe(capsys):
    out = Output()
    out.table("Things", ("name", "size"), [("long name", 1), ("[b]", 20)])
    out.table("", ("", ""), [("a", "b")])
    assert capsys.readouterr().out.splitlines() == [
        "Things",
        "name       size",
        "long name  1",
        "[b]        20",
        "a  b",
    ]


def test_a_silent_step_still_gives_signs_of_life(capsys, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    import time

    with Output().progress("sampling", 4) as progress:
        progress.at(1, 4)
        progress.update("step 2/4")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert lines[0].startswith("sampling: 1/4, 0 s so far, about ") and lines[0].endswith("left (step 2/4)")


def test_bytes_are_said_in_gigabytes_and_what_was_there_before_does_not_count_as_speed():
    beat = module._Heartbeat("Fetching", 7_400_000_000, lambda _: None, start=3_400_000_000, unit="bytes")
    beat.advance(1_000_000_000)
    assert beat.line(60.0) == "Fetching: 4.4 GB/7.4 GB, 1 min 00 s so far, about 3 min 00 s left"


def test_bytes_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Output().progress("Fetching", 7_400_000_000, start=3_400_000_000, unit="bytes") as bar:
        bar.advance(1_000_000_000)
    assert "4.4 GB/7.4 GB" in capsys.readouterr().err


def test_a_quiet_output_prints_no_results(capsys):
    for out in (Output(json=True, quiet=True), Output(quiet=True)):
        out.result({"a": 1})
        out.table("Things", ("name",), [("a",)])
        out.text("text")
        out.summary("Done", [("file", "a")])
    assert capsys.readouterr() == ("", "")


def test_progress_within_progress_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    out = Output()
    with out.progress("outer", 2) as outer, out.progress("inner", None) as inner:
        inner.advance()
        outer.advance()
        out.info("said [above] the bars")
    printed = capsys.readouterr().err
    assert "outer" in printed and "inner" in printed and "said [above] the bars" in printed


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plain_keeps_what_json_knows():
    assert plain({"a": [1, None, True, "x"], 2: (math.inf,)}) == {"a": [1, None, True, "x"], "2": [None]}
