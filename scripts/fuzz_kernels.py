"""Run every kernel on random cases under AddressSanitizer and UndefinedBehaviorSanitizer, and compare its values.

    python scripts/fuzz_kernels.py
    python scripts/fuzz_kernels.py --kernel linear_forward --cases 20000 --seed 7

The cases are those the tests draw (RANDOM_CASES in tests/runtime/kernels). Small ones are shared among threads too, and
each kernel is run with several numbers of threads. Ends with 1 if there is a finding, which is printed with what
repeats it; 2 if there is nothing to run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from videogen_cli.runtime.kernels import compiler  # noqa: E402

FLAGS = (compiler.NATIVE, "-O2", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", "-DVGEN_SPLIT_ALWAYS")  # fmt: skip
# Python and MindSpore leak and mix allocators as they like; this is about the kernels.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
    "VGEN_KERNELS": "off",  # for what the tests' files import; the kernels run are the sanitized ones
}
THREADS = (1, 2, 3)


@dataclass
class Outcome:
    """What running the cases of a kernel came to; ``worst`` is the largest error as a share of what is tolerated."""

    cases: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """Cases for one process: of these kernels of a test, those of these numbers, with so many threads."""

    module: str
    kernels: Sequence[str]
    seed: int
    first: int
    cases: int
    threads: int


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    options = _options()
    if options.library:
        run_cases(json.loads(options.job), Path(options.library))
        return 0
    jobs = _jobs(options)
    tool = next((tool for tool in compiler.compilers() if _sanitizer(tool)), None)
    if not jobs or tool is None:
        print("no such kernel" if tool else "no compiler with sanitizers", file=sys.stderr)
        return 2
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.jobs) as pool:
        library = Path(work) / "kernels.so"
        try:
            compiler.compile_library(tool, compiler.sources(), Path(work), library, FLAGS)
        except compiler.CompileError as error:
            print(f"{error}\n{error.details}", file=sys.stderr)
            return 2
        for job, found in zip(jobs, pool.map(lambda job: run_job(job, library, _sanitizer(tool)), jobs), strict=True):
            print(f"{job.module} with {job.threads} threads: done", file=sys.stderr, flush=True)
            for kernel, outcome in found.items():
                _add(outcomes.setdefault(kernel, Outcome()), outcome)
    return _show(outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", help="a kernel; may be repeated; default: all")
    parser.add_argument("--cases", type=int, default=2000, help="cases per kernel (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cases (default: 0)")
    parser.add_argument("--threads", type=int, action="append", help=f"threads; default: a share each with {THREADS}")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once (default: 2)")
    parser.add_argument("--library", help=argparse.SUPPRESS)  # these two are how the script calls itself
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def _jobs(options: argparse.Namespace) -> list[Job]:
    """Share out the cases: each number of threads runs a part of every kernel's."""
    code = (
        "import json; from tests.runtime.kernels.native import *; "
        "print(json.dumps({m: list(random_cases([m])) for m in modules_with_cases()}))"
    )
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    teams = options.threads or THREADS
    jobs = []
    for module, known in json.loads(asked.stdout).items():
        kernels = [name for name in known if not options.kernel or name in options.kernel]
        for index, threads in enumerate(teams):
            first, last = (options.cases * part // len(teams) for part in (index, index + 1))
            if kernels and last > first:
                jobs.append(Job(module, kernels, options.seed, options.first + first, last - first, threads))
    return jobs


def _sanitizer(tool: compiler.Compiler) -> str:
    """Return the path of AddressSanitizer's library, which must be loaded before Python is; or nothing."""
    asked = subprocess.run([*tool.command, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    path = asked.stdout.strip()
    return path if os.path.isabs(path) else ""


def run_job(job: Job, library: Path, sanitizer: str) -> dict[str, Outcome]:
    """Run a job's kernels; after a finding, in another process, those that come behind."""
    outcomes: dict[str, Outcome] = {}
    left = list(job.kernels)
    while left:
        asked = json.dumps({**vars(job), "kernels": left})
        command = [sys.executable, __file__, "--library", str(library), "--job", asked]
        environ = {**os.environ, **SANITIZERS, "LD_PRELOAD": sanitizer, "OMP_NUM_THREADS": str(job.threads)}
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        last = lines[-1] if lines else {"kernel": left[0], "number": job.first}
        for line in lines:
            if "share" in line:
                _add(outcomes.setdefault(line["kernel"], Outcome()), Outcome(1, line["share"], line["seconds"]))
        if done.returncode == 0:
            break
        here = f"--kernel {last['kernel']} --seed {job.seed} --first {last['number']} --cases 1 --threads {job.threads}"
        finding = f"{_said(done.stderr)}\nrepeat: python scripts/fuzz_kernels.py {here}"
        outcomes.setdefault(last["kernel"], Outcome()).findings.append(finding)
        left = left[left.index(last["kernel"]) + 1 :]
    return outcomes


def run_cases(job: dict[str, Any], library: Path) -> None:
    """Run cases in this process: say each one's number before, and its error after; stop at one that is off."""
    import numpy as np

    from tests.runtime.kernels.native import random_cases, worst_error

    draw = random_cases([job["module"]])
    for kernel in job["kernels"]:
        for number in range(job["first"], job["first"] + job["cases"]):
            line = {"kernel": kernel, "number": number}
            print(json.dumps(line), flush=True)
            case = draw[kernel](np.random.default_rng((job["seed"], number)))
            began = time.perf_counter()
            share = worst_error(case, library)
            print(json.dumps({**line, "share": share, "seconds": time.perf_counter() - began}), flush=True)
            if share > 1:
                sys.exit(f"ERROR: off by {share:.3g} times the tolerance")


def _said(text: str) -> str:
    """Return the part of a process's last words that says what happened and where."""
    lines = text.splitlines()
    signs = [i for i, line in enumerate(lines) if "ERROR" in line or "runtime error" in line]
    start = signs[0] if signs else max(0, len(lines) - 15)
    return "\n".join(lines[start : start + 15])


def _add(total: Outcome, part: Outcome) -> None:
    total.cases += part.cases
    total.worst = max(total.worst, part.worst)
    total.seconds += part.seconds
    total.findings += part.findings


def _show(outcomes: dict[str, Outcome]) -> int:
    """Print what running the kernels came to; return the exit code."""
    for kernel, outcome in outcomes.items():
        verdict = "FINDING" if outcome.findings else "ok"
        print(f"{kernel:28} {outcome.cases:6} cases, worst error {outcome.worst:5.2f} of what is tolerated, "
              f"{outcome.seconds:6.1f} s: {verdict}")  # fmt: skip
        for finding in outcome.findings:
            print("  " + finding.replace("\n", "\n  "))
    bad = sum(bool(outcome.findings) for outcome in outcomes.values())
    print(f"{len(outcomes)} kernels, {sum(o.cases for o in outcomes.values())} cases, {bad} kernels with findings")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
