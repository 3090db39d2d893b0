"""The script that ``msrun`` runs in every process: ``vgen`` itself, with its results and exit code left in files."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def run() -> None:
    """Run ``vgen`` with this process's arguments; rank 0's stdout and everyone's exit code go to the launcher.

    msrun runs the script in one process more, the scheduler, which only connects the others.
    """
    folder = Path(os.environ["VGEN_WORKER_FOLDER"])
    (folder / f"pid-{os.getpid()}").write_text(str(os.getpid()))
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        _schedule()
        return
    from videogen_cli.cli.main import main

    rank = os.environ.get("RANK_ID", "0")
    if rank == "0":
        sys.stdout = (folder / "stdout").open("w", buffering=1, encoding="utf-8")
    code = 1
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    finally:
        sys.stdout.flush()
        (folder / f"exit-{rank}").write_text(str(code))


def _schedule() -> None:
    from videogen_cli.config import DeviceConfig
    from videogen_cli.runtime.context import start

    start(DeviceConfig(compile_cache=False, kernels="off"))


if __name__ == "__main__":
    del sys.path[0]  # this folder; its module names are not for everyone
    run()
