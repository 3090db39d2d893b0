"""The ``vgen`` command: finds the verb, runs it, and leaves with its exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated, ClassVar

import typer

from videogen_cli import __version__
from videogen_cli.cli.lazy import LazyGroup


class Verbs(LazyGroup):
    """All verbs of ``vgen``."""

    verbs: ClassVar = {
        "infer": ("videogen_cli.cli.infer:infer", "Make videos from prompts."),
        "train": ("videogen_cli.cli.train:train", "Train one stage of a model, or go on with a run."),
        "download": ("videogen_cli.cli.download:download", "Fetch published weights and convert them, once."),
        "convert": ("videogen_cli.cli.convert:convert", "Convert a published checkpoint, accounting for every key."),
        "eval": ("videogen_cli.cli.eval:GROUP", "Measure results and prove parity with the originals."),
        "validate": ("videogen_cli.cli.validate:validate", "Check a dataset, with a reason for every bad row."),
        "ls": ("videogen_cli.cli.ls:ls", "List models, presets, and stages."),
        "show": ("videogen_cli.cli.show:show", "Show a model's config and where each value comes from."),
        "doctor": ("videogen_cli.cli.doctor:doctor", "Check this machine and say what is missing."),
    }


EPILOG = """
Start here:

  vgen infer t2v-turbo --prompt "a red circle moving right"

  vgen ls

  vgen show t2v-turbo --preset tiny

  vgen train t2v-turbo --stage base --preset tiny --dry-run

Exit codes:

  0 done, 1 our bug, 2 usage or config, 3 input data, 4 weights or conversion

  5 device or environment, 6 out of memory, 7 non-finite numbers, 8 disk, 9 network

  130 interrupted, 143 stopped by SIGTERM after saving
"""

app = typer.Typer(
    cls=Verbs,
    name="vgen",
    epilog=EPILOG,
    no_args_is_help=True,
    subcommand_metavar="VERB ...",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"vgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, sample, convert and measure text-to-video models on MindSpore: Ascend NPUs, or a laptop's CPU."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``vgen`` and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="vgen", standalone_mode=False) or 0
        sys.stdout.flush()
    except BaseException as error:
        from videogen_cli.cli.failures import report
        from videogen_cli.output import Output

        debug = "--debug" in arguments or os.environ.get("VGEN_DEBUG", "0") not in ("", "0")
        code = report(error, Output(json="--json" in arguments, debug=debug))
    sys.exit(int(code))


if __name__ == "__main__":
    main()
