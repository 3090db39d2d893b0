"""A run killed at any moment and resumed ends as an uninterrupted one does, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from videogen_cli.files import cache_root, sha256_file
from videogen_cli.train import checkpoints
from videogen_cli.train.metrics import TIME, read

SCRIPT = Path(__file__).with_name("tiny.py")
STEPS = 60
RUN = [f"max_steps={STEPS}", "checkpoint_every=7", "validate_every=10", "preview_every=15", "keep_checkpoints=100"]


def start(folder, *pairs, threads="2", delay="0.02", **environ):
    env = {**os.environ, "OMP_NUM_THREADS": threads, **environ}
    command = [sys.executable, str(SCRIPT), str(folder), *RUN, f"delay={delay}", *pairs]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def wait_for_lines(folder, count, process):
    path = folder / "metrics.jsonl"
    while process.poll() is None and (not path.exists() or len(path.read_bytes().splitlines()) < count):
        time.sleep(0.005)


def outcome(folder):
    """Return what must be equal: hashes of every vector at the end, and metrics without timings."""
    last = folder / "checkpoints" / f"step-{STEPS}"
    hashes = {path.name: sha256_file(path) for path in sorted(last.glob("*.safetensors"))}
    return hashes, [{k: v for k, v in line.items() if k != TIME} for line in read(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    code, errors = finish(start(folder, delay="0"))
    assert code == 0, errors
    hashes, lines = outcome(folder)
    assert len(hashes) == 3 and len(lines) == STEPS + STEPS // 10 + STEPS // 15
    return hashes, lines


def test_killed_three_times(uninterrupted, tmp_path):
    draws = random.Random(1)
    for kill in range(3):
        process = start(tmp_path, "resume=auto")
        wait_for_lines(tmp_path, 10 + 16 * kill, process)
        time.sleep(draws.random() * 0.3)
        process.kill()
        code, errors = finish(process)
        assert code == -signal.SIGKILL, errors
        done = read(tmp_path / "metrics.jsonl")[-1]["step"]
        newest = checkpoints.latest(tmp_path / "checkpoints", pytest.fail)
        saved = int(newest.name.removeprefix("step-")) if newest else 0
        assert done - 7 <= saved <= done + 1
    code, errors = finish(start(tmp_path, "resume=auto", delay="0"))
    assert code == 0, errors
    assert outcome(tmp_path) == uninterrupted
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_thread_count_and_cadence_do_not_matter(uninterrupted, tmp_path):
    code, errors = finish(start(tmp_path, "checkpoint_every=1000", "preview_every=30", threads="1", delay="0"))
    assert code == 0, errors
    hashes, lines = outcome(tmp_path)
    assert hashes.keys() == uninterrupted[0].keys()
    assert [line for line in lines if line["kind"] == "train"] == [
        line for line in uninterrupted[1] if line["kind"] == "train"
    ]


def test_graphs_of_an_earlier_process_compute_the_same(uninterrupted, tmp_path):
    cache = tmp_path / "cache" / cache_root().name
    cache.mkdir(parents=True)
    (cache / "kernels").symlink_to(cache_root() / "kernels")
    kept = []
    for name in ("first", "again"):
        code, errors = finish(start(tmp_path / name, "graphs=1", delay="0", XDG_CACHE_HOME=str(cache.parent)))
        assert code == 0, errors
        assert outcome(tmp_path / name) == uninterrupted
        kept.append([(path.name, path.stat().st_ino) for path in (cache / "graphs").iterdir()])
    assert len(kept[0]) == 1 and kept[0] == kept[1], "the second process compiles nothing"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_leave(uninterrupted, tmp_path, number, code):
    process = start(tmp_path, delay="0.1")
    wait_for_lines(tmp_path, 8, process)
    process.send_signal(number)
    got, errors = finish(process)
    assert got == code, errors
    last = read(tmp_path / "metrics.jsonl")[-1]["step"]
    assert (tmp_path / "checkpoints" / f"step-{last}").is_dir()
    assert finish(start(tmp_path, "resume=auto", delay="0"))[0] == 0
    assert outcome(tmp_path) == uninterrupted


def test_two_interrupts_leave_at_once(tmp_path):
    process = start(tmp_path, delay="1.5")
    wait_for_lines(tmp_path, 1, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert finish(process)[0] == 130
    assert time.monotonic() - began < 5
