"""``vgen download``: published weights onto this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.output import Output

EPILOG = """
Examples:

  vgen download t2v-turbo

  vgen download t2v-turbo --preset vc2

  vgen download t2v-turbo --preset vc2 --stage 2 --dry-run

  vgen download t2v-turbo --name hps --mirror https://hf-mirror.com

What is fetched lies in Hugging Face's cache (HF_HOME, HF_HUB_CACHE), what is made of it in vgen's
(XDG_CACHE_HOME). HF_TOKEN opens repositories that want one; HF_ENDPOINT names another hub.
"""


def download(
    model: common.Model,
    overrides: common.Overrides = None,
    preset: common.Preset = None,
    stage: Annotated[
        str, typer.Option(help="Get what this training stage needs.", autocompletion=common.complete_stage)
    ] = "",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Get this (may be repeated).", autocompletion=common.complete_published),
    ] = None,
    config_file: common.ConfigFile = None,
    mirror: Annotated[str | None, typer.Option(help="Address of another hub, e.g. https://hf-mirror.com.")] = None,
    offline: common.Offline = False,
    dry_run: common.DryRun = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Fetch the published weights that a preset needs, and convert them, once.

    Goes on where a broken connection stopped, and compares every file's hash. Without --preset or --name it lists what
    there is. 'infer' and 'train' do the same when they need to.
    """
    from videogen_cli.runners.download import DownloadRequest, run

    common.unwind_on_sigterm()
    request = DownloadRequest(
        model,
        overrides=overrides or [],
        preset=preset,
        config_file=config_file,
        stage=stage,
        names=name or [],
        mirror=mirror,
        offline=offline,
        dry_run=dry_run,
    )
    run(request, Output(json=json, debug=debug))
