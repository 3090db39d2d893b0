"""The kernel library is made once, is never loaded broken, and where it cannot be made there is a reason."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from videogen_cli.runtime import host
from videogen_cli.runtime.kernels import build, compiler, store

SMALL = ("about.cc", "parallel.cc", "parallel.h", "scratch.h", "vgen.h")
PROGRAM = f"""
from videogen_cli.runtime.kernels import build, compiler
whole = compiler.sources()
build.read_sources = lambda: {{name: whole[name] for name in {SMALL}}}
found = build.library(print)
assert found.path, found.reason
"""
LOG = 'echo "$@" >> "$LOG"\n'  # what a compiler of ours was asked


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """Give each test an empty cache, a folder of temporary files, few sources and a process that decided nothing."""
    whole = compiler.sources()
    monkeypatch.setattr(build, "read_sources", lambda: {name: whole[name] for name in SMALL})
    monkeypatch.setattr(build, "_decided", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    for name in ("CXX", build.SWITCH):
        monkeypatch.delenv(name, raising=False)


def decide(monkeypatch, **options):
    """Decide as a new process would; return the library and what was said meanwhile."""
    monkeypatch.setattr(build, "_decided", None)
    said = []
    return build.library(said.append, **options), said


@pytest.fixture
def real():
    tool = next(compiler.compilers(), None)
    if tool is None:
        pytest.skip("there is no C++ compiler")
    return tool.command[0]


@pytest.fixture
def only(tmp_path, monkeypatch):
    """Make a script the one compiler there is."""

    def install(script):
        path = tmp_path / "bin" / "g++"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{LOG}{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))

    return install


def asked(tmp_path):
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_is_compiled_on_first_use_and_then_found(real, monkeypatch, tmp_path):
    first, said = decide(monkeypatch)
    assert first.path and first.path.is_relative_to(tmp_path / "home")
    assert len(said) == 1 and "compiling the CPU kernels" in said[0]
    assert build.library() is first, "a process decides once"
    again, said = decide(monkeypatch)
    assert again == first and not said
    assert ctypes.CDLL(str(first.path)).vgen_lanes() in (4, 8, 16)


def test_of_two_processes_one_compiles(real, tmp_path):
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{LOG}exec {real} "$@"\n')
    wrapper.chmod(0o755)
    environ = {**os.environ, "CXX": str(wrapper)}
    command = [sys.executable, "-c", PROGRAM]
    processes = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert sum("-c about.cc" in line for line in asked(tmp_path)) == 1
    assert not list(tmp_path.rglob(".work-*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_library_is_made_anew(real, monkeypatch, damage):
    path = decide(monkeypatch)[0].path
    content = path.read_bytes()
    path.write_bytes({"cut": content[:5000], "changed": content[:-9] + b"x" * 9, "emptied": b""}[damage])
    again, said = decide(monkeypatch)
    assert len(said) == 1
    assert again.path.read_bytes() == content


def test_another_cpu_has_a_library_of_its_own(real, monkeypatch):
    path = decide(monkeypatch)[0].path
    monkeypatch.setattr(build, "cpu_description", lambda: ("Another", frozenset({"sse2"})))
    assert decide(monkeypatch)[0].path != path


def test_a_home_that_cannot_be_written(real, monkeypatch, tmp_path):
    (tmp_path / "home").write_text("a file")
    path = decide(monkeypatch)[0].path
    folder = tmp_path / "temporary" / f"vgen-kernels-{os.getuid()}"
    assert path.is_relative_to(folder) and folder.stat().st_mode & 0o777 == 0o700
    assert decide(monkeypatch)[1] == [], "it is found there again"


def test_folders_that_others_can_write_to_are_not_used(real, monkeypatch, tmp_path):
    for folder in (tmp_path / "home" / "vgen" / "kernels", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    (tmp_path / "temporary" / f"vgen-kernels-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    found, _ = decide(monkeypatch)
    assert found.path is None and "can be written" in found.reason


def test_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found, said = decide(monkeypatch)
    assert (found.path, found.reason, found.wanted, said) == (None, "there is no C++ compiler", True, [])


def test_a_compiler_that_fails_is_not_tried_every_time(only, monkeypatch, tmp_path):
    only('[ "$1" = --version ] || { echo "vgen.h:1: fatal error: new: No such file" >&2; exit 1; }')
    found, _ = decide(monkeypatch)
    assert found.path is None and found.reason == "g++ failed: vgen.h:1: fatal error: new: No such file"
    attempts = len(asked(tmp_path))
    again, said = decide(monkeypatch)
    assert again.reason == found.reason and not said
    assert len(asked(tmp_path)) == attempts
    decide(monkeypatch, again=True)
    assert len(asked(tmp_path)) > attempts


def test_a_compiler_that_hangs_is_ended_with_all_it_started(only, monkeypatch, tmp_path):
    only(f"echo $$ > {tmp_path}/parent; /bin/sleep 987 & echo $! > {tmp_path}/child; wait")
    monkeypatch.setattr(compiler, "_COMPILE_SECONDS", 0.5)
    found, _ = decide(monkeypatch)
    assert "took more than" in found.reason
    for name in ("parent", "child"):
        until = time.monotonic() + 5
        while runs((tmp_path / name).read_text().strip()):
            assert time.monotonic() < until, f"the {name} goes on"


def test_a_full_disk(only, monkeypatch, tmp_path):
    only('echo "as: No space left on device" >&2; exit 1')
    found, _ = decide(monkeypatch)
    assert found.path is None and "No space left" in found.reason
    attempts = len(asked(tmp_path))
    assert not list(tmp_path.rglob("failed.txt")), "it may be over next time"
    decide(monkeypatch)
    assert len(asked(tmp_path)) > attempts


@pytest.mark.parametrize(
    "body, why",
    [
        ("  args.floats(1)[0] = 0; ", "computes wrongly"),
        ("  std::abort(); ", "crashes"),
        ("  if (args.count) throw 1; ", "computes wrongly"),
    ],
)
def test_a_library_that_does_not_work_is_never_loaded(real, monkeypatch, body, why):
    files = {name: text for name, text in compiler.sources().items() if name.endswith(".h")}
    source = f'#include "vgen.h"\nVGEN_KERNEL(vgen_exponentials) {{{body}}}\n'
    monkeypatch.setattr(build, "read_sources", lambda: {**files, "about.cc": source.encode()})
    monkeypatch.setenv("PATH", os.path.dirname(real) + os.pathsep + os.environ["PATH"])
    found, _ = decide(monkeypatch)
    assert found.path is None and why in found.reason


def test_what_is_no_library_is_never_loaded(only, monkeypatch):
    only('for last; do :; done; echo "no library" > "$last"')
    found, _ = decide(monkeypatch)
    assert found.path is None and "cannot be loaded" in found.reason


def test_libraries_that_came_with_the_wheel(real, monkeypatch, tmp_path):
    made = decide(monkeypatch)[0].path
    level = (host.cpu_levels() or ["none"])[0]
    (tmp_path / "prebuilt").mkdir()
    (tmp_path / "prebuilt" / f"{level}.so").write_bytes(made.read_bytes())
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setenv("PATH", str(tmp_path))
    found, said = decide(monkeypatch)
    assert found.origin == f"prebuilt for {level}" and found.path and found.path != made and not said


@pytest.mark.parametrize("word, meaning", [("OFF", "off"), ("0", "off"), ("on", "on"), ("", "auto"), ("auto", "auto")])
def test_the_switch(monkeypatch, word, meaning):
    monkeypatch.setenv(build.SWITCH, word)
    assert build.switch() == meaning
    if meaning == "off":
        found, _ = decide(monkeypatch)
        assert (found.path, found.wanted) == (None, False) and build.SWITCH in found.reason


def test_old_libraries_are_removed(real, monkeypatch, tmp_path):
    folder = next(store.folders())
    for days in range(7):
        entry = folder / f"key{days}"
        entry.mkdir()
        (entry / "kernels-0.so").touch()
        then = time.time() - days * 86400 - 3600
        for path in (entry / "kernels-0.so", entry):
            os.utime(path, (then, then))
    (folder / ".work-killed").mkdir()
    os.utime(folder / ".work-killed", (0, 0))
    new = decide(monkeypatch)[0].path
    assert {path.name for path in folder.iterdir()} == {"key0", "key1", "key2", new.parent.name}
