"""``vgen doctor``: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from videogen_cli.errors import ExitCode, VgenError
from videogen_cli.files import cache_root, existing_parent
from videogen_cli.output import Output
from videogen_cli.runtime.host import cgroup_cpus, cpu_threads, instruction_set, memory_bytes
from videogen_cli.runtime.kernels.build import ADVICE, SWITCH, library, switch
from videogen_cli.runtime.kernels.compiler import compilers
from videogen_cli.runtime.software import INSTALL_HINT, TESTED, find_mindspore
from videogen_cli.runtime.target import detect_target

OK, NOTE, MISSING = "ok", "note", "missing"
_MIN_FREE_GB, _MIN_MEMORY_GB = 2, 4
_ASCEND_FILES = (
    ("driver", "/usr/local/Ascend/driver/version.info"),
    ("firmware", "/usr/local/Ascend/firmware/version.info"),
    ("CANN", "/usr/local/Ascend/ascend-toolkit/latest/version.cfg"),
    ("CANN", "/usr/local/Ascend/cann/version.cfg"),
    ("install", "/etc/ascend_install.info"),
)


@dataclass(frozen=True)
class Check:
    """One finding: ``state`` is ok, note (works, could be better) or missing (needed; ``hint`` says how to get it)."""

    name: str
    state: str
    found: str
    hint: str = ""


def run(output: Output, *, compute: bool = False) -> ExitCode:
    """Check the machine and report.

    Args:
        output: where the report goes: a table for people, one object with ``--json``.
        compute: also run a small convolution on the device.

    Returns:
        0 when vgen can run here, 5 when something it needs is missing.
    """
    checks = [*software_checks(), *host_checks(), *video_checks()]
    checks += ascend_checks() if detect_target() == "ascend" else kernel_checks(output.info)
    if compute and not _missing(checks):
        checks.append(compute_check())
    missing = _missing(checks)
    output.result({"usable": not missing, "target": detect_target(), "checks": [asdict(check) for check in checks]})
    if not output.json:
        output.table(
            "vgen doctor", ("", "", "found", "what to do"), [(c.state, c.name, c.found, c.hint) for c in checks]
        )
        output.info(f"missing: {', '.join(c.name for c in missing)}" if missing else "vgen can run here")
    return ExitCode.DEVICE if missing else ExitCode.OK


def _missing(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.state == MISSING]


def software_checks() -> Iterator[Check]:
    """Check Python, MindSpore and NumPy by their metadata; nothing is imported."""
    yield Check("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    install = find_mindspore()
    if install is None:
        yield Check("mindspore", MISSING, "not installed", INSTALL_HINT)
        return
    if problem := install.mismatch():
        yield Check("mindspore", MISSING, problem, f"Reinstall for this Python. {INSTALL_HINT}")
        return
    hint = "" if install.tested else f"tested are {', '.join(TESTED)}"
    yield Check("mindspore", OK if install.tested else NOTE, install.version, hint)
    numpy = version("numpy")
    if int(numpy.split(".")[0]) >= 2:
        yield Check("numpy", NOTE, numpy, 'MindSpore is built for NumPy 1: pip install "numpy<2"')
    else:
        yield Check("numpy", OK, numpy)


def host_checks() -> Iterator[Check]:
    """Check threads, memory and free disk."""
    target = detect_target()
    yield Check("target", OK, target, "" if target == "ascend" else "no Ascend NPU here; the CPU is used")
    quota = cgroup_cpus()
    limits = f"{os.cpu_count()} CPUs" + (f", container quota {quota:g}" if quota else "")
    yield Check("cpu", OK, f"{cpu_threads()} threads of {limits}, {instruction_set()}")
    if capped := os.environ.get("ONEDNN_MAX_CPU_ISA"):
        yield Check(
            "oneDNN", NOTE, f"capped to {capped}", "unset ONEDNN_MAX_CPU_ISA; matrix products are faster without"
        )
    total, available = memory_bytes()
    hint = f"the small presets need about {_MIN_MEMORY_GB} GB"
    low = 0 < available < _MIN_MEMORY_GB << 30
    yield Check(
        "memory", NOTE if low else OK, f"{available / 2**30:.1f} of {total / 2**30:.1f} GB free", hint if low else ""
    )
    for name, folder in (("disk (cache)", cache_root()), ("disk (here)", Path.cwd())):
        yield _disk_check(name, folder)


def kernel_checks(say: Callable[[str], Any] = lambda _: None) -> Iterator[Check]:
    """Check the CPU kernels, compiling them if that was not done yet, and the compiler.

    Args:
        say: is told before something takes seconds.
    """
    tool = next(compilers(), None)
    yield Check("compiler", OK if tool else NOTE, f"{tool.command[0]}: {tool.version()}" if tool else "none", "")
    found = library(say, again=True)
    if found.path is None:
        advice = ADVICE if found.wanted else f"unset {SWITCH}; networks run several times faster with them"
        yield Check("kernels", MISSING if switch() == "on" else NOTE, f"off: {found.reason}", advice)
        return
    lanes = ctypes.CDLL(str(found.path)).vgen_lanes()
    how = f"on: vectors of {lanes} floats, {cpu_threads()} threads"
    yield Check("kernels", OK, how, f"{SWITCH}=off or device.kernels=off runs without")
    yield Check("kernel library", OK, f"{found.path} by {found.origin}")


def _disk_check(name: str, folder: Path) -> Check:
    parent = existing_parent(folder)
    free = shutil.disk_usage(parent).free / 2**30
    found = f"{free:.1f} GB free at {folder}"
    if not os.access(parent, os.W_OK):
        return Check(name, NOTE, f"{folder} is not writable", "Give another --output-dir, or set XDG_CACHE_HOME.")
    return Check(name, OK if free >= _MIN_FREE_GB else NOTE, found, "" if free >= _MIN_FREE_GB else "free some space")


def video_checks() -> Iterator[Check]:
    """Check what reads and writes videos."""
    readers = {name: _version(*names) for name, names in {"decord": ("decord", "decord2"), "PyAV": ("av",)}.items()}
    found = ", ".join(f"{name} {number}" for name, number in readers.items() if number)
    if found:
        yield Check("video decoder", OK, found)
    else:
        yield Check("video decoder", MISSING, "neither decord nor PyAV", "pip install av")
    yield _ffmpeg_check()


def _ffmpeg_check() -> Check:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return Check("ffmpeg", OK, get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        found = shutil.which("ffmpeg")
        if found:
            return Check("ffmpeg", OK, found)
        return Check("ffmpeg", MISSING, str(error).splitlines()[0], "pip install imageio-ffmpeg")


def _version(*names: str) -> str | None:
    """Return the version of the first distribution that is installed, if its module can be found."""
    for name in names:
        try:
            number = version(name)
        except PackageNotFoundError:
            continue
        if find_spec(name.removesuffix("2")):
            return number
    return None


def ascend_checks(root: Path = Path("/")) -> Iterator[Check]:
    """Read the versions of the Ascend driver and CANN from the files their installers leave."""
    seen: dict[str, str] = {}
    for name, path in _ASCEND_FILES:
        file = root / path.lstrip("/")
        if file.is_file() and name not in seen:
            lines = file.read_text(errors="replace").splitlines()
            seen[name] = next((line.strip() for line in lines if "ersion" in line), lines[0].strip() if lines else "")
    for name, hint in (
        ("driver", "install the NPU driver"),
        ("CANN", "install the CANN toolkit and source set_env.sh"),
    ):
        yield Check(
            f"Ascend {name}", OK if name in seen else MISSING, seen.get(name, "not found"), "" if name in seen else hint
        )
    if "ASCEND_OPP_PATH" not in os.environ:
        yield Check("Ascend environment", NOTE, "ASCEND_OPP_PATH is not set", "source CANN's set_env.sh")


def compute_check() -> Check:
    """Run a small convolution on the device."""
    from videogen_cli.config import DeviceConfig
    from videogen_cli.runtime import context

    began = time.perf_counter()
    try:
        context.start(DeviceConfig(mode="pynative", compile_cache=False))
        ones, total = _convolve_ones()
    except (VgenError, RuntimeError) as error:
        return Check("compute", MISSING, str(error).splitlines()[0], "run 'vgen doctor --run --debug'")
    seconds = time.perf_counter() - began
    right = abs(total - ones) < 1e-3 * ones
    by = "a kernel of vgen's" if library().path else "MindSpore's operators"
    found = f"3x3 convolution by {by} in {seconds:.1f} s, start included"
    return Check("compute", OK if right else MISSING, found if right else f"a convolution gave {total}, not {ones}")


def _convolve_ones() -> tuple[float, Any]:
    """Return what the sum of a 3x3 convolution of ones (2 16 8 8) must be, and what the device says."""
    import mindspore as ms
    import numpy as np

    from videogen_cli.runtime import functional as F

    image = ms.Tensor(np.ones((2, 16, 8, 8), np.float32))
    weight = ms.Tensor(np.ones((4, 16, 3, 3), np.float32))
    out = F.conv2d(image, weight, None, 1, (0, 0, 0, 0))
    return 2 * 4 * 6 * 6 * 16 * 9.0, float(out.astype(ms.float32).asnumpy().sum())
