"""``vgen eval``: the measurements."""

from __future__ import annotations

from typing import ClassVar

import typer

from videogen_cli.cli.main import LazyGroup


class EvalGroup(LazyGroup):
    """The measurements, imported when they are run."""

    verbs: ClassVar = {
        "adherence": ("videogen_cli.cli.eval_adherence:adherence", "Judge Moving Shapes videos against their prompts."),
        "parity": ("videogen_cli.cli.eval_parity:parity", "Compare networks with recordings of the originals."),
    }


GROUP = typer.Typer(cls=EvalGroup, name="eval", no_args_is_help=True, add_completion=False)


@GROUP.callback()
def _eval() -> None:
    """Measure results and prove parity with the originals."""
