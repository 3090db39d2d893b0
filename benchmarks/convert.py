"""Time and memory of ``convert --type raw`` on a large file, beside ``cp`` of the same bytes.

    python benchmarks/convert.py [--gigabytes 1.5] [--folder DIR]

Both are timed with the file in the page cache and with the result flushed to disk (``cp && sync FILE``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "weights")]

from made_files import Tensor, write_safetensors, write_torch_zip  # noqa: E402

TENSOR_BYTES = 64 << 20
REPEATS = 3  # the best is taken: other work on the machine only ever adds time
_CHILD = """
import json, sys, time
from pathlib import Path
from videogen_cli.output import Output
from videogen_cli.runners.convert import ConvertRequest, run
def peak():  # of this process alone; ru_maxrss would begin with the parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
before = peak()
start = time.perf_counter()
source, target, dtype = sys.argv[1:]
run(ConvertRequest(type="raw", source=Path(source), target=Path(target), dtype=dtype or None), Output(quiet=True))
seconds = time.perf_counter() - start
print(json.dumps([seconds, before, peak(), "mindspore" in sys.modules]))
"""


def timed_copy(source: Path, target: Path, *, flush: bool) -> float:
    """Return the seconds that ``cp`` takes, with the bytes flushed to disk or only in the cache."""
    start = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    if flush:
        subprocess.run(["sync", str(target)], check=True)
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds


def timed_convert(source: Path, target: Path, dtype: str = "") -> tuple[float, float, float]:
    """Return (seconds, MB of the interpreter before, peak MB) of a conversion in a process of its own."""
    import json

    command = [sys.executable, "-c", _CHILD, str(source), str(target), dtype]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    seconds, before, peak, imported = json.loads(printed.splitlines()[-1])
    assert not imported, "convert must not import mindspore"
    target.unlink()
    return seconds, before, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    count = max(1, int(options.gigabytes * 1e9) // TENSOR_BYTES)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        arrays = {f"layer.{i}.weight": rng.standard_normal((4096, 4096), np.float32) for i in range(count)}
        files = {
            "torch zip": write_torch_zip(
                folder / "in.pth", {"state_dict": {k: Tensor(str(i), a) for i, (k, a) in enumerate(arrays.items())}}
            ),
            "safetensors": write_safetensors(folder / "in.safetensors", arrays),
        }
        del arrays
        subprocess.run(["sync"], check=True)
        print(f"{count} tensors of {TENSOR_BYTES >> 20} MB; flushed = on disk, cached = in the page cache")
        for kind, source in files.items():
            cached = min(timed_copy(source, folder / "copy", flush=False) for _ in range(REPEATS))
            flushed = min(timed_copy(source, folder / "copy", flush=True) for _ in range(REPEATS))
            print(f"{kind}: cp cached {cached:.2f} s, cp flushed {flushed:.2f} s")
            for dtype in ("", "fp16"):
                runs = [timed_convert(source, folder / "out.safetensors", dtype) for _ in range(REPEATS)]
                seconds, before, peak = min(runs)
                print(
                    f"{kind}: convert {dtype or 'as is'} {seconds:.2f} s ({seconds / flushed:.2f} x cp flushed), "
                    f"peak {peak:.0f} MB, {peak - before:.0f} MB over the interpreter"
                )


if __name__ == "__main__":
    main()
