"""Starting N processes of the same command through MindSpore's ``msrun``."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from videogen_cli.errors import DeviceError
from videogen_cli.runtime.host import cpu_threads
from videogen_cli.runtime.software import require_mindspore

OPTIONS_VARIABLE = "VGEN_MSRUN_OPTIONS"
FOLDER_VARIABLE = "VGEN_WORKER_FOLDER"
_LOG_LINES = 30
_POLL_SECONDS, _GRACE_SECONDS = 0.5, 5.0


def msrun_command(
    argv: Sequence[str], nproc: int, *, log_dir: Path, port: int, options: Sequence[str] = (), msrun: str = "msrun"
) -> list[str]:
    """Return the command that runs ``vgen ARGV`` in ``nproc`` processes on this machine.

    Args:
        argv: the arguments of ``vgen``, ``--nproc`` included: workers know by ``RANK_ID`` that they are workers.
        nproc: processes on this machine.
        log_dir: where each process's output goes.
        port: of the scheduler.
        options: further options of msrun, for several machines; they win over the ones set here.
        msrun: its path.
    """
    worker = Path(__file__).with_name("worker.py")
    return [
        msrun,
        f"--worker_num={nproc}",
        f"--local_worker_num={nproc}",
        f"--master_port={port}",
        f"--log_dir={log_dir}",
        "--join=True",
        "--tail_worker_log=0",
        *options,
        str(worker),
        *argv,
    ]


def worker_environment(environ: Mapping[str, str], nproc: int, folder: Path) -> dict[str, str]:
    """Return the workers' environment: this Python first, a share of the CPU threads, and the folder for results."""
    share = max(1, cpu_threads() // nproc)
    path = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    return {**environ, "PATH": path, "OMP_NUM_THREADS": str(share), FOLDER_VARIABLE: str(folder)}


def launch(argv: Sequence[str], nproc: int) -> int:
    """Run ``vgen ARGV`` in ``nproc`` processes and wait.

    What rank 0 printed on stdout is printed at the end. Options of msrun for several machines are read from the
    variable ``VGEN_MSRUN_OPTIONS``, such as ``--worker_num=16 --master_addr=10.0.0.1 --node_rank=1``.

    Returns:
        The exit code: the first worker's that is not 0.

    Raises:
        DeviceError: MindSpore or its msrun is missing.
    """
    require_mindspore()
    beside = Path(sys.executable).with_name("msrun")
    msrun = str(beside) if beside.exists() else shutil.which("msrun")
    if msrun is None:
        raise DeviceError("msrun, which MindSpore installs, is not found", where="--nproc")
    folder = Path(tempfile.mkdtemp(prefix="vgen-workers-"))
    options = shlex.split(os.environ.get(OPTIONS_VARIABLE, ""))
    command = msrun_command(argv, nproc, log_dir=folder, port=_free_port(), options=options, msrun=msrun)
    environ = worker_environment(os.environ, nproc, folder)
    with (
        (folder / "msrun.log").open("wb") as log,
        subprocess.Popen(command, env=environ, stdout=2, stderr=log) as run,  # rank 0's log, tailed by msrun
    ):
        previous = signal.signal(signal.SIGTERM, lambda *_: _signal_workers(folder, signal.SIGTERM))
        try:
            _wait(run, folder, nproc)
        finally:
            signal.signal(signal.SIGTERM, previous)
    results = folder / "stdout"
    if results.exists():
        sys.stdout.write(results.read_text())
    codes = _exit_codes(folder)
    code = next((code for code in codes if code), 0 if len(codes) == nproc else run.returncode or 1)
    if code:
        _show_log(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _wait(run: subprocess.Popen[bytes], folder: Path, nproc: int) -> None:
    """Wait for msrun; end its scheduler once the workers are done, or one failed and the rest had time to stop.

    The scheduler waits for every worker to say goodbye, which one that failed early never does.
    """
    failed_at: float | None = None
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(_POLL_SECONDS)
            return
        codes = _exit_codes(folder)
        if any(codes) and failed_at is None:
            failed_at = time.monotonic()
        if len(codes) == nproc or (failed_at and time.monotonic() - failed_at > _GRACE_SECONDS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(_GRACE_SECONDS)
            _signal_workers(folder, signal.SIGKILL)


def _exit_codes(folder: Path) -> list[int]:
    return [int(text) for text in (path.read_text() for path in sorted(folder.glob("exit-*"))) if text]


def _signal_workers(folder: Path, number: int) -> None:
    """Send a signal to every process that worker.py runs in; each leaves its id in a file."""
    for path in folder.glob("pid-*"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _show_log(folder: Path) -> None:
    """Print the end of the first worker's log, and where the rest is."""
    for path in sorted(folder.glob("worker_*.log"))[:1]:
        lines = path.read_text(errors="replace").splitlines()
        print("\n".join(lines[-_LOG_LINES:]), file=sys.stderr)
    print(f"the logs of all processes are in {folder}", file=sys.stderr)
