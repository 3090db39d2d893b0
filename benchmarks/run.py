"""Time vgen against PyTorch on this machine's CPU; with ``--docs``, write what came out to docs/performance.md.

    python benchmarks/run.py [ops] [models] [turbo] [--only TEXT] [--phase forward|train] [--repeats N] [--quick]
                             [--threads N] [--cores 2,3] [--lock FILE] [--limit TIMES] [--json FILE] [--docs]

``benchmarks/ops.py``, ``benchmarks/models.py`` and ``benchmarks/turbo.py`` do the same for one of them. Ratios are
vgen's median time over PyTorch's: below 1 is faster. ``VGEN_KERNELS=off`` measures without vgen's own kernels, and
fills a column of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import report  # noqa: E402
from harness import DISTURBED, LIMIT, SIDES, CaseError, Options, Side, disagreement, fits, measure, measure_apart, sides  # noqa: E402
from machine import describe  # noqa: E402

from videogen_cli.runtime.kernels.build import library  # noqa: E402

DOCS = ROOT / "docs"
QUICK_REPEATS = 3
OPS_GIGABYTES = 4.0
TOLERANCE = 2e-3  # of outputs, relative to the largest


def main(suites: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    asked = _arguments(suites)
    options = Options(
        threads=asked.threads,
        repeats=QUICK_REPEATS if asked.quick else asked.repeats,
        cores=asked.cores,
        lock=asked.lock,
        limit=asked.limit,
    )
    results = report.Results(DOCS / "performance.json" if asked.docs else asked.json)
    kernels = "on" if library().path else "off"
    results.describe(kernels, describe(options.threads, options.cores))
    wrong = []
    for suite in asked.suites:
        print(report.HEADING, flush=True)
        for case, found in _measured(suite, asked, options):
            if isinstance(found, CaseError):
                print(f"{case.phase:8s}{case.name}: {found}", flush=True)
                results.add_failure(kernels, _about(suite, case), str(found))
                continue
            row = _row(suite, case, found)
            results.add(kernels, row)
            print(report.line(row, results.peak(kernels)), flush=True)
            if row["others"] > DISTURBED:
                print(f"{'':8s}others took up to {100 * row['others']:.0f} % of the cores' time", flush=True)
            if not row["error"] < TOLERANCE:
                wrong.append(f"{row['name']} ({row['phase']}): outputs differ by {row['error']:.1e}")
    if asked.docs:
        report.write(results, DOCS)
    if wrong:
        sys.exit("\n".join(wrong))


def _arguments(suites: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    if suites is None:
        parser.add_argument("suites", nargs="*", metavar="ops|models|turbo", help="what to measure; nothing = all")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--phase", choices=("forward", "train"), help="only this phase")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_REPEATS} repeats")
    parser.add_argument("--threads", type=int, default=2)
    add_where(parser)
    asked = parser.parse_args(None if suites is None else sys.argv[1:])
    asked.suites = suites or asked.suites or ["ops", "models", "turbo"]
    return asked


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where to run and where results go."""
    parser.add_argument("--cores", default=(), type=_numbers, help="pin timed calls to these, such as 2,3")
    parser.add_argument("--lock", type=Path, help="hold this lock file while timing")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="times the memory a case should need that it may take"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "performance.json", help="results, added to")
    parser.add_argument("--docs", action="store_true", help="keep results in docs/, and rewrite the page there")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _measured(suite: str, asked: argparse.Namespace, options: Options) -> Any:
    """Yield each chosen case of a suite with what was found, or why nothing was."""
    cases = importlib.import_module(suite).CASES
    chosen = [
        (index, case)
        for index, case in enumerate(cases)
        if asked.only in case.name and asked.phase in (None, case.phase)
    ]
    with contextlib.ExitStack() as shared:
        started: dict[str, Side] = {}
        for index, case in chosen:
            try:
                if suite == "ops":
                    if not started or any(side.half_full for side in started.values()):
                        shared.close()
                        started = shared.enter_context(sides(options, OPS_GIGABYTES))
                    yield case, measure(started, suite, index, options)
                    continue
                if not fits(options.limit * case.gigabytes):
                    print(f"{case.phase:8s}{case.name}: {options.limit * case.gigabytes:g} GB of memory are not free")
                    continue
                yield case, measure_apart(suite, index, options, case.gigabytes)
            except CaseError as error:
                yield case, error


def _about(suite: str, case: Any) -> dict[str, str]:
    """Return what names a case."""
    return {"suite": suite, "name": case.name, "phase": case.phase, "what": getattr(case, "what", case.name)}


def _row(suite: str, case: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a measurement."""
    row: dict[str, Any] = _about(suite, case)
    for side in SIDES:
        row[side] = summary(found[side]["seconds"]) | {key: found[side][key] for key in ("before_mb", "peak_mb")}
        row[side] |= {"parts": found[side]["parts"]} if found[side]["parts"] else {}
    row["vgen"] |= {key: found["vgen"][key] for key in ("first_peak_mb", "first_seconds") if key in found["vgen"]}
    others = max(found[side]["others"] for side in SIDES)
    return row | {"flops": found["torch"]["flops"], "error": disagreement(found), "others": others}


def summary(seconds: list[float]) -> dict[str, Any]:
    """Return what is kept of a case's repetitions."""
    return {"median": median(seconds), "least": min(seconds), "most": max(seconds), "repeats": len(seconds)}


if __name__ == "__main__":
    main()
