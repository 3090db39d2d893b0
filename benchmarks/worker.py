"""One side of a benchmark as a process: ``python worker.py vgen|torch THREADS``, told what to do over stdin.

Each request and each answer is a line of JSON. Nothing runs between an answer and the next request.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from cases import TRAIN

_PR_SET_PDEATHSIG = 1


def memory_mb(name: str) -> float:
    """Return a figure of ``/proc/self/status`` in megabytes: VmRSS, or VmHWM, the most it ever was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


class Worker:
    """Answers requests with one side's module."""

    def __init__(self, side: str, threads: int) -> None:
        self.name = side
        self.side: Any = importlib.import_module(f"{side}_side")
        self.side.start(threads)
        self.run_once: Any = None
        self.seconds_by_part: Any = dict

    def prepare(self, suite: str, index: int, outputs: str) -> dict[str, Any]:
        """Build a case, run it, and write what it computes to ``outputs``.

        A case that names modules of its own in ``made_by`` is prepared by the one of this side, which also returns what
        tells the seconds of its parts.
        """
        self.run_once = None
        before = memory_mb("VmRSS")
        case = importlib.import_module(suite).CASES[index]
        maker = importlib.import_module(f"{case.made_by}_{self.name}") if hasattr(case, "made_by") else self.side
        show, self.run_once, *told = maker.prepare(case)
        self.seconds_by_part = told[0] if told else dict
        shown: list[np.ndarray] = []
        flops = self.side.count_flops(lambda: shown.extend(show()))
        if case.phase == TRAIN:  # the second loss shows what the first update did
            shown += show()
        np.savez(outputs, *shown)
        return {"before_mb": before, "flops": flops}

    def run(self, calls: int) -> dict[str, Any]:
        """Run the case; return seconds per call."""
        began = time.perf_counter()
        for _ in range(calls):
            self.run_once()
        return {"seconds": (time.perf_counter() - began) / calls}

    def parts(self) -> dict[str, Any]:
        """Return the seconds of the case's parts, where it tells them."""
        return {"parts": self.seconds_by_part()}

    def memory(self) -> dict[str, Any]:
        """Return the most memory this process ever had."""
        return {"peak_mb": memory_mb("VmHWM")}


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process would outlive its parent
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the next case may do better
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
