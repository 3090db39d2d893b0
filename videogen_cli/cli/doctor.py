"""``vgen doctor``: is this machine fit?"""

from __future__ import annotations

from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.output import Output

EPILOG = """
Examples:

  vgen doctor

  vgen doctor --run

  vgen doctor --json | jq -r '.checks[] | select(.state != "ok") | .name'
"""


def doctor(
    run: Annotated[bool, typer.Option("--run", help="Also run a small convolution on the device.")] = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Check MindSpore, the device, memory, disk and video tools, and say what is missing and how to get it."""
    from videogen_cli.runners import doctor as runner

    code = runner.run(Output(json=json, debug=debug), compute=run)
    if code:
        raise typer.Exit(int(code))
