"""Starting MindSpore: the environment first, then a quiet import, then the settings of a :class:`DeviceConfig`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DeviceError
from videogen_cli.files import cache_root
from videogen_cli.runtime.host import cpu_threads
from videogen_cli.runtime.kernels.build import ADVICE, SWITCH, library, switch
from videogen_cli.runtime.precision import compute_dtype, precision_note
from videogen_cli.runtime.software import TESTED, find_mindspore, require_mindspore
from videogen_cli.runtime.target import detect_target

_started: dict[str, Any] | None = None


class Speaker(Protocol):
    """Where a line for people can go."""

    def info(self, text: str) -> Any:
        """Show a line."""
        ...


def plan(device: DeviceConfig) -> dict[str, Any]:
    """Return what :func:`start` would set, without importing MindSpore.

    ``env`` holds the variables that would be set; ``notes`` says where the plan differs from what was asked for.
    """
    install = find_mindspore()
    target = detect_target() if device.target == "auto" else device.target
    threads = cpu_threads(device.threads)
    notes = [precision_note(target, device.dtype)]
    if install and not install.tested:
        notes.append(f"MindSpore {install.version} is untested; tested are {', '.join(TESTED)}")
    return {
        "target": target,
        "mode": device.mode,
        "jit_level": device.jit_level,
        "dtype": compute_dtype(target, device.dtype),
        "recompute": device.recompute,
        "deterministic": device.deterministic,
        "memory_limit_gb": device.memory_limit_gb,
        "device_id": device.device_id,
        "threads": threads,
        "zero_stage": device.zero_stage,
        "sequence_parallel": device.sequence_parallel,
        "compile_cache": device.compile_cache,
        "kernels": device.kernels,
        "env": environment(device, target, threads),
        "mindspore": install.version if install else None,
        "notes": [note for note in notes if note],
    }


def environment(device: DeviceConfig, target: str, threads: int) -> dict[str, str]:
    """Return the variables to set before MindSpore is imported.

    What the user exported wins over vgen's defaults; what the config's ``device.env`` says wins over both.
    """
    defaults = {"GLOG_v": "3", "MS_OM_PATH": str(cache_root() / "debug")}
    if target == "cpu":
        defaults["OMP_NUM_THREADS"] = str(threads)
    chosen = {name: os.environ.get(name, value) for name, value in defaults.items()}
    if device.threads > 0 and target == "cpu":
        chosen["OMP_NUM_THREADS"] = str(threads)
    if device.kernels != "auto":
        chosen[SWITCH] = device.kernels
    return {**chosen, **device.env}


def start(device: DeviceConfig, output: Speaker | None = None, *, quiet: bool = True) -> None:
    """Import MindSpore and configure it; a second call with the same settings does nothing.

    Args:
        device: what to run on and how.
        output: where it is said that kernels are compiled, or why there are none; None = nowhere.
        quiet: hide warnings of libraries.

    Raises:
        DeviceError: MindSpore is missing or does not fit this Python, the device is absent, kernels must be there and
            are not, or another target was started before, or the same one with or without kernels.
    """
    from videogen_cli.runtime import cells

    global _started
    wanted = plan(device)
    if wanted == _started:
        return
    if _started:
        _require_same(_started, wanted)
    require_mindspore()
    if wanted["target"] == "ascend" and detect_target() != "ascend":
        hint = "There is no /dev/davinci* here. Use device.target=cpu, or start the container with the NPU devices."
        raise DeviceError("no Ascend NPU is present", where="device.target", hint=hint)
    os.environ.update(wanted["env"])
    Path(wanted["env"]["MS_OM_PATH"]).mkdir(parents=True, exist_ok=True)
    if wanted["target"] == "cpu":
        _find_kernels(output)
    with _silence() if quiet else contextlib.nullcontext():
        _configure(_import_mindspore(), wanted)
    cells.forget_skeletons()
    _started = wanted


def started() -> dict[str, Any] | None:
    """Return the plan this process runs by, or None before :func:`start`."""
    return _started


@contextlib.contextmanager
def compiling(label: str, output: Speaker | None = None) -> Iterator[None]:
    """Tell people that ``label`` is being compiled, and how long it took if that was over two seconds."""
    say = output.info if output else lambda text: print(text, file=sys.stderr, flush=True)
    say(f"compiling {label}")
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    if seconds > 2:
        say(f"{label}: first call done in {seconds:.0f} s")


def _require_same(running: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse what a process that runs already cannot change: the operators its networks were imported with."""
    if running["target"] != wanted["target"]:
        raise DeviceError(f"this process already runs on {running['target']}", where="device.target")
    if running["kernels"] != wanted["kernels"]:
        raise DeviceError(f"this process already runs with kernels {running['kernels']}", where="device.kernels")


def _find_kernels(output: Speaker | None) -> None:
    """Compile the kernel library if this machine has none yet, and say so; say too why there is none."""
    found = library(output.info) if output else library()
    if found.path is None and switch() == "on":
        raise DeviceError(f"there are no CPU kernels: {found.reason}", where="device.kernels", hint=ADVICE)
    if found.path is None and found.wanted and output:
        output.info(f"without CPU kernels networks run several times slower: {found.reason}\n  {ADVICE}")


def _configure(ms: Any, wanted: dict[str, Any]) -> None:
    """Apply a plan to the imported MindSpore."""
    ascend = wanted["target"] == "ascend"
    worker = int(os.environ.get("MS_WORKER_NUM", "1")) > 1  # msrun says which device each worker has
    try:
        ms.set_device("Ascend" if ascend else "CPU", wanted["device_id"] if ascend and not worker else None)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        hint = "Check the driver with 'npu-smi info' and the toolkit with 'vgen doctor'." if ascend else None
        raise DeviceError(f"MindSpore cannot use the device: {first}", where=wanted["target"], hint=hint) from error
    ms.set_context(mode=ms.GRAPH_MODE if wanted["mode"] == "graph" else ms.PYNATIVE_MODE)
    if ascend:
        ms.set_context(jit_config={"jit_level": wanted["jit_level"]})
    elif wanted["mode"] == "pynative":
        ms.runtime.launch_blocking()  # the threads that hand operators on cost more than they hide
    if _started is None:  # MindSpore takes these settings once
        ms.set_deterministic(wanted["deterministic"])
        if not ascend and library().path:
            # What is left to its own operators is too little for threads that take cores from our kernels.
            ms.device_context.cpu.op_tuning.threads_num(1)
    if wanted["memory_limit_gb"] > 0:
        ms.runtime.set_memory(max_size=f"{wanted['memory_limit_gb']:g}GB")
    if worker:
        ms.communication.init("hccl" if ascend else "mccl")
    with contextlib.suppress(SystemError), contextlib.redirect_stderr(io.StringIO()):
        # Wheels of 2.10 were compiled for NumPy 1: with NumPy 2 the first eager reshape of a process fails, and
        # only the first, so that one is spent here.
        ms.Tensor([0.0]).reshape((1,))


def _import_mindspore() -> Any:
    try:
        import mindspore
    except (ImportError, OSError) as error:
        hint = "Run 'vgen doctor' to see what does not fit."
        raise DeviceError(f"MindSpore cannot be imported: {error}", hint=hint) from error
    return mindspore


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what libraries print and warn during start away from the terminal."""
    warnings.filterwarnings("ignore", module=r"mindspore\b.*")
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield
