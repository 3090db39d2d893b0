"""``vgen show``: one model, in full."""

from __future__ import annotations

from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.errors import UsageError
from videogen_cli.output import Output
from videogen_cli.runners.requests import TrainRequest

EPILOG = """
Examples:

  vgen show t2v-turbo --preset tiny

  vgen show t2v-turbo --preset tiny --stage base train.max_steps=500

  vgen show t2v-turbo --preset vc2 --json | jq .sources

  vgen show t2v-turbo --preset vc2 > mine.yaml

  vgen show t2v-turbo --components
"""


def show(
    model: common.Model,
    overrides: common.Overrides = None,
    preset: common.Preset = None,
    stage: Annotated[
        str, typer.Option(help="Resolve the config as this training stage would.", autocompletion=common.complete_stage)
    ] = "",
    config_file: common.ConfigFile = None,
    components: Annotated[bool, typer.Option("--components", help="Only networks and their parameter counts.")] = False,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Only what 'vgen convert' can read.")] = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show a model's config and where each value comes from, its networks, stages, inputs and checkpoint types.

    What is printed is YAML that --config reads back.
    """
    from videogen_cli.runners.show import run

    if components and checkpoints:
        raise UsageError("give --components or --checkpoints, not both")
    part = "components" if components else "checkpoints" if checkpoints else None

    request = TrainRequest(model, overrides=overrides or [], preset=preset, stage=stage, config_file=config_file)
    run(request, part, Output(json=json, debug=debug))
