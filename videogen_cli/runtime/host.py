"""What this machine offers: CPU threads, instruction set, memory. Nothing here imports MindSpore."""

from __future__ import annotations

import os
import platform
from pathlib import Path

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
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
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


def instruction_set() -> str:
    """Return the best vector instruction set of this CPU, such as ``avx512f``, or the architecture if unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    flags = {flag for line in text.splitlines() if line.startswith(("flags", "Features")) for flag in line.split()}
    return next((isa for isa in _ISAS if isa in flags), platform.machine())
