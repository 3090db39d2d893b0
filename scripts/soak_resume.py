"""Kill training runs at random moments, resume them, and compare each with one that was left alone.

    python scripts/soak_resume.py --kills 20 -- t2v-turbo --stage base --preset tiny train.max_steps=40 \
        train.checkpoint_every=7 train.validate_every=10 data.num_clips=64

What follows ``--`` is given to ``vgen train``. A trial is a run killed once or twice (SIGKILL, or SIGTERM with
``--gentle``) and resumed until done. Equal means: the same sha256 of weights, moments and average, and the same
metrics.jsonl apart from timings. The exit code is 0 only if all trials are equal and no checkpoint was lost.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen_cli.files import sha256_file
from videogen_cli.train import checkpoints
from videogen_cli.train.metrics import TIME, read

PROGRAM = f"{Path(sys.executable).with_name('vgen')} train"
SMALL = ("train.max_steps=30", "train.checkpoint_every=5", "data.num_clips=32")
DEFAULT = ["t2v-turbo", "--stage", "base", "--preset", "tiny", *SMALL]


@dataclass
class Tally:
    """Counts over all trials."""

    kills: int = 0
    before_first_save: int = 0  # killed before there was a checkpoint: the run starts again
    resumed: int = 0
    lost: int = 0  # no checkpoint verified although there had been one
    trials: int = 0
    equal: int = 0


def outcome(folder: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return what equal runs have in common: hashes of the last checkpoint's vectors, metrics without timings."""
    last = checkpoints.steps(folder / "checkpoints")[-1]
    hashes = {path.name: sha256_file(path) for path in sorted(last.glob("*.safetensors"))}
    lines = [{k: v for k, v in line.items() if k != TIME} for line in read(folder / "metrics.jsonl")]
    return {"step": last.name, **hashes}, lines


def start(command: list[str], folder: Path, resume: bool) -> subprocess.Popen[bytes]:
    """Start a run with its messages going to a log beside it."""
    command = [*command, "--output-dir", str(folder)]
    log = open(folder.with_suffix(".log"), "ab")  # noqa: SIM115 (the child owns it)
    return subprocess.Popen(command + ["--resume", "auto"] * resume, stdout=log, stderr=log)


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for a run that must succeed."""
    if process.wait() != 0:
        sys.exit(f"exit code {process.returncode}:\n{folder.with_suffix('.log').read_text()[-2000:]}")


def has_saved(folder: Path) -> bool:
    """Return whether any checkpoint is there, damaged or not."""
    return bool(checkpoints.steps(folder / "checkpoints"))


def trial(command: list[str], folder: Path, *, seconds: float, draws: random.Random, number: int, tally: Tally) -> None:
    """Kill a run once or twice and let it finish."""
    for _ in range(draws.choice((1, 1, 2))):
        before = has_saved(folder)
        process = start(command, folder, before)
        try:
            process.wait(draws.uniform(0, seconds))
            return  # done before its time
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.wait()
        tally.kills += 1
        if not has_saved(folder):
            tally.before_first_save += 1
            tally.lost += before
            shutil.rmtree(folder, ignore_errors=True)
        elif checkpoints.latest(folder / "checkpoints", print) is None:
            tally.lost += 1
            return
        else:
            tally.resumed += 1
    finish(start(command, folder, has_saved(folder)), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="stop after so many kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--gentle", action="store_true", help="SIGTERM instead of SIGKILL")
    parser.add_argument("--folder", type=Path, help="where runs go (default: a temporary folder)")
    parser.add_argument("--program", default=PROGRAM, help="what to run (default: vgen train)")
    parser.add_argument("arguments", nargs="*", default=DEFAULT, help="given to vgen train, after --")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    command = [*shlex.split(options.program), *options.arguments]
    number = signal.SIGTERM if options.gentle else signal.SIGKILL

    reference = root / "reference"
    root.mkdir(parents=True, exist_ok=True)
    finish(start(command, root / "warm-up", False), root / "warm-up")  # fills caches of data and graphs
    began = time.monotonic()
    finish(start(command, reference, False), reference)
    seconds, expected = time.monotonic() - began, outcome(reference)
    tally, draws = Tally(), random.Random(options.seed)
    tally.trials = tally.equal = 1
    if outcome(root / "warm-up") != expected:
        tally.equal = 0
        print("two uninterrupted runs differ")
    while tally.kills < options.kills:
        folder = root / f"trial-{tally.trials}"
        trial(command, folder, seconds=seconds, draws=draws, number=number, tally=tally)
        tally.trials += 1
        same = has_saved(folder) and outcome(folder) == expected
        tally.equal += same
        print(
            f"trial {tally.trials}: {tally.kills} kills so far, {'equal' if same else f'DIFFERS, see {folder}'}",
            flush=True,
        )
        if same:
            shutil.rmtree(folder)
    print("| " + " | ".join(vars(tally)) + " |")
    print("|" + "---|" * len(vars(tally)))
    print("| " + " | ".join(map(str, vars(tally).values())) + " |")
    return 0 if tally.equal == tally.trials and not tally.lost else 1


if __name__ == "__main__":
    sys.exit(main())
