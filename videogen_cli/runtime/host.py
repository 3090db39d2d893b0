"""What this machine offers: CPU threads, instruction set, memory. Nothing here imports MindSpore."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

_V3 = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_LEVELS = {"x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", *_V3}, "x86-64-v3": _V3}
_ISAS = ("avx512f", "avx2", "avx", "sve", "asimd", "sse4_1")


def cpu_threads(requested: int = 0) -> int:
    """Return how many threads kernels should use, at least 1.

    Args:
        requested: a number above 0 wins; else ``OMP_NUM_THREADS``; else the smaller of the CPUs this process may run
            on and the container's quota.
    """
    if requested > 0:
        return requested
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else allowed_cpus()


def allowed_cpus() -> int:
    """Return how many CPUs this process may keep busy: by its affinity and the container's quota, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def cgroup_cpus(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the container's CPU quota in CPUs (cgroup v2, then v1), or None where there is none."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def memory_bytes(root: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Return (total, available) bytes of memory, the container's limit taken into account; (0, 0) if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0, 0
    kilobytes = {key: int(rest.split()[0]) for key, rest in (line.split(":", 1) for line in lines)}
    total, available = kilobytes["MemTotal"] << 10, kilobytes.get("MemAvailable", 0) << 10
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return total, available
    return min(total, limit), min(available, max(0, limit - used))


def cpu_description() -> tuple[str, frozenset[str]]:
    """Return the first CPU's model and the names of its features; empty where the system does not say."""
    model, features = "", frozenset[str]()
    with suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if not name.strip():  # the next CPU; on large machines all of them take long
                break
            if name.strip() in ("flags", "Features"):
                features = frozenset(value.split())
            elif name.strip() in ("model name", "CPU implementer", "CPU part"):
                model += value.rstrip("\n")
    return model.strip(), features


def instruction_set() -> str:
    """Return the best vector instruction set of this CPU, such as ``avx512f``, or the architecture if unknown."""
    _, features = cpu_description()
    return next((isa for isa in _ISAS if isa in features), platform.machine())


def cpu_levels() -> list[str]:
    """Return the levels this CPU has of those that binaries are commonly made for, best first.

    On x86-64 they are of its psABI (``x86-64-v4`` has AVX-512, ``x86-64-v3`` AVX2), else the architecture.
    """
    if platform.machine() != "x86_64":
        return [platform.machine()]
    _, features = cpu_description()
    return [level for level, needed in _LEVELS.items() if needed <= features]
