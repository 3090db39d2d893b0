"""``vgen ls``: what there is."""

from __future__ import annotations

from videogen_cli.cli import common
from videogen_cli.output import Output

EPILOG = """
Examples:

  vgen ls

  vgen ls --json | jq -r .model
"""


def ls(json: common.Json = False, debug: common.Debug = False) -> None:
    """List models, their presets, and their stages."""
    from videogen_cli.runners.ls import run

    run(Output(json=json, debug=debug))
