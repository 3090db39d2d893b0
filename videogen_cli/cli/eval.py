"""``vgen eval``: the measurements."""

from __future__ import annotations

from typing import ClassVar

import typer

from videogen_cli.cli.lazy import LazyGroup

EPILOG = """
Examples:

  vgen eval adherence outputs/t2v-turbo/20260101-120000

  vgen eval videos outputs/t2v-turbo/20260101-120000 --model t2v-turbo --preset tiny

  vgen eval parity tests/golden --json
"""


class EvalGroup(LazyGroup):
    """The measurements, imported when they are run."""

    verbs: ClassVar = {
        "adherence": ("videogen_cli.cli.eval_adherence:adherence", "Judge Moving Shapes videos against their prompts."),
        "parity": ("videogen_cli.cli.eval_parity:parity", "Compare networks with recordings of the originals."),
        "videos": ("videogen_cli.cli.eval_videos:videos", "Measure videos, compare runs, and show them on a page."),
    }


GROUP = typer.Typer(
    cls=EvalGroup,
    name="eval",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    subcommand_metavar="WHAT ...",
)


@GROUP.callback()
def _eval() -> None:
    """Measure results and prove parity with the originals."""
