"""``vgen train``: options in, a request out."""

from __future__ import annotations

from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.output import Output
from videogen_cli.runners.requests import TrainRequest

EPILOG = """
Examples:

  vgen train t2v-turbo --stage vae --preset tiny --output-dir runs/vae

  vgen train t2v-turbo --stage vae --preset tiny train.max_steps=200 --seed 1

  vgen train t2v-turbo --stage vae --preset tiny --output-dir runs/vae --resume auto

  vgen train t2v-turbo --stage base --preset vc2 data.path=a.csv --dry-run

A run stopped at any moment, even by SIGKILL, goes on with --resume auto as if it had not been stopped.
"""


def train(
    model: common.Model,
    overrides: common.Overrides = None,
    stage: Annotated[
        str, typer.Option(help="Stage to train, see 'vgen show MODEL'.", autocompletion=common.complete_stage)
    ] = "",
    resume: Annotated[str | None, typer.Option(help="'auto', or a checkpoint folder to go on from.")] = None,
    preset: common.Preset = None,
    config_file: common.ConfigFile = None,
    seed: common.Seed = None,
    output_dir: common.OutputDir = None,
    nproc: common.NumProcesses = 1,
    offline: common.Offline = False,
    dry_run: common.DryRun = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Train one stage of a model, or go on with a run.

    Writes config.yaml, metrics.jsonl, checkpoints/step-N/ and tensorboard/ to --output-dir (default runs/MODEL/TIME).
    """
    request = TrainRequest(
        model,
        overrides=overrides or [],
        options={"seed": seed},
        preset=preset,
        config_file=config_file,
        output_dir=output_dir,
        dry_run=dry_run,
        nproc=nproc,
        offline=offline,
        stage=stage,
        resume=resume,
    )
    from videogen_cli.runners.plan import run_request

    run_request(request, "train", Output(json=json, debug=debug))
