"""Tables show what was measured, and why something was not."""

from __future__ import annotations

from pathlib import Path

import pytest

MARKERS = ("machine", "models", "models-off", "ops", "library", "turbo", "turbo-parts")


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import report

    return report


def side(median, **parts):
    return {"median": median, "least": median, "most": median, "before_mb": 1, "peak_mb": 2, "parts": parts}


def row(suite, name, ours, theirs):
    about = {"suite": suite, "name": name, "phase": "forward", "what": f"the {name}", "flops": 0, "error": 1e-6}
    return {**about, "vgen": ours, "torch": theirs}


@pytest.fixture
def results(report, tmp_path):
    found = report.Results(tmp_path / "results.json")
    for kernels in ("on", "off"):
        found.describe(kernels, {"processor": "some"})
    return found


def written(report, results, folder):
    page = folder / "performance.md"
    page.write_text("".join(f"<!-- bench:{name} -->\n<!-- /bench:{name} -->\n" for name in MARKERS))
    report.write(results, folder)
    return page.read_text()


def test_parts_stand_beside_their_share_of_the_whole(report, results, tmp_path):
    results.add("on", row("turbo", "whole", side(2.0, unet=1.0), side(8.0, unet=5.0)))
    text = written(report, results, tmp_path)
    assert "| whole | unet | 1000 | 50 % | 5000 | 62 % | 0.20 |" in text
    assert "| forward | the whole | 2000 (2000-2000) | 8000 (8000-8000) | **0.25** |" in text


def test_what_was_too_large_without_kernels_is_said_in_both_tables(report, results, tmp_path):
    for name in ("small", "large"):
        results.add("on", row("models", name, side(1.0), side(2.0)))
    results.add("off", row("models", "small", side(6.0), side(2.0)))
    large = {"suite": "models", "name": "large", "phase": "forward", "what": "the large"}
    results.add_failure("off", large, "vgen needs more than 18 GB")
    results.add_failure("off", {**large, "name": "small"}, "it was measured before")
    text = written(report, report.Results(results.file), tmp_path)
    with_kernels, without = text.split("<!-- bench:models-off -->")
    lines = [line for line in with_kernels.splitlines() if "| the " in line]
    assert [line.split(" | ")[-1] for line in lines] == ["3.00 |", "vgen needs more than 18 GB |"]
    assert "| forward | the large | vgen needs more than 18 GB |" in without and "**3.00**" in without
    assert "measured before" not in text
    results.add("off", row("models", "large", side(9.0), side(2.0)))
    assert "18 GB" not in written(report, results, tmp_path)
