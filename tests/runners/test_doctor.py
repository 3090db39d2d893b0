"""``vgen doctor`` says what is there, what is missing, and how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen_cli.errors import ExitCode
from videogen_cli.output import Output
from videogen_cli.runners import doctor
from videogen_cli.runners.doctor import MISSING, NOTE, OK
from videogen_cli.runtime.kernels import build


def by_name(checks) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_a_working_machine_is_usable(capsys) -> None:
    assert doctor.run(Output(json=True)) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    found = {check["name"]: check for check in report["checks"]}
    assert report["usable"] and report["target"] == "cpu"
    assert {"python", "mindspore", "numpy", "cpu", "memory", "disk (cache)", "video decoder", "ffmpeg"} <= set(found)
    assert Path(found["ffmpeg"]["found"]).exists()


def test_what_is_missing_ends_with_five(monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "find_mindspore", lambda: None)
    assert doctor.run(Output()) == ExitCode.DEVICE
    printed = capsys.readouterr()
    assert "missing: mindspore" in printed.err
    assert "pip install" in printed.out


def test_without_any_decoder(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda *_: None)
    assert by_name(doctor.video_checks())["video decoder"].state == MISSING


def test_kernels_are_on_with_their_library(monkeypatch):
    monkeypatch.delenv("VGEN_KERNELS", raising=False)
    monkeypatch.setattr(build, "_decided", None)
    checks = by_name(doctor.kernel_checks())
    if checks["compiler"].found == "none":
        pytest.skip("there is no C++ compiler")
    assert checks["kernels"].state == OK and checks["kernels"].found.startswith("on: vectors of ")
    assert Path(checks["kernel library"].found.split(" by ")[0]).is_file()


@pytest.mark.parametrize(
    "word, path, state, found",
    [
        ("off", None, NOTE, "off: switched off by VGEN_KERNELS"),
        ("auto", "", NOTE, "off: there is no C++ compiler"),
        ("on", "", MISSING, "off: there is no C++ compiler"),
    ],
)
def test_why_kernels_are_off(monkeypatch, tmp_path, word, path, state, found):
    monkeypatch.setattr(build, "_decided", None)
    monkeypatch.setenv("VGEN_KERNELS", word)
    monkeypatch.setattr(build, "PREBUILT", tmp_path)
    if path is not None:
        monkeypatch.setenv("PATH", path)
        monkeypatch.delenv("CXX", raising=False)
    checks = by_name(doctor.kernel_checks())
    assert (checks["kernels"].state, checks["kernels"].found) == (state, found) and checks["kernels"].hint


def test_a_cap_on_instructions_is_noted(monkeypatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert by_name(doctor.host_checks())["oneDNN"].state == NOTE


def test_little_memory_is_noted(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "memory_bytes", lambda: (8 << 30, 1 << 30))
    assert by_name(doctor.host_checks())["memory"].state == NOTE


def test_ascend_versions_come_from_the_installers_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ASCEND_OPP_PATH", "/usr/local/Ascend/opp")
    missing = by_name(doctor.ascend_checks(tmp_path))
    assert {missing["Ascend driver"].state, missing["Ascend CANN"].state} == {MISSING}
    for path, text in (("driver/version.info", "Version=25.0.rc1"), ("cann/version.cfg", "# CANN\nversion=8.3")):
        file = tmp_path / "usr/local/Ascend" / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
    found = by_name(doctor.ascend_checks(tmp_path))
    assert (found["Ascend driver"].state, found["Ascend driver"].found) == (OK, "Version=25.0.rc1")
    assert found["Ascend CANN"].found == "version=8.3"
    assert "Ascend environment" not in found


@pytest.mark.parametrize("broken", [False, True])
def test_the_device_must_compute_rightly(monkeypatch, broken) -> None:
    if broken:
        monkeypatch.setattr(doctor, "_convolve_ones", lambda: (10.0, 11.0))
    assert doctor.compute_check().state == (MISSING if broken else OK)
