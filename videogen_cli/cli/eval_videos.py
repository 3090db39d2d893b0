"""``vgen eval videos``: how good generated videos are, and how runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.errors import UsageError
from videogen_cli.output import Output

EPILOG = """
Examples:

  vgen eval videos outputs/t2v-turbo/20260101-120000

  vgen eval videos out --model t2v-turbo --preset tiny --output-dir report

  vgen eval videos teacher student --model t2v-turbo --preset vc2 --scorers hps,video-text

  vgen eval videos out --scorers none --vbench out-for-vbench

  vgen eval videos out --json | jq -c 'select(.scores.flicker < 0.99) | [.file, .prompt]'

Writes report.json, report.html (one file that plays every video) and plots/ to --output-dir. Every video is measured
by itself: consistency, flicker, motion, duplicate frames, one colour, brightness, contrast; those of Moving Shapes are
judged against their prompts too. With --model they are scored by its networks. Of several folders, videos with the
same prompt and seed are compared; * marks differences whose 95% interval leaves out 0.

With --json there is a line per video, then one with the summary. Exit code 3 when no video can be read.
"""


def videos(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Outputs of 'vgen infer', or folders of videos with a CSV.", metavar="FOLDER..."),
    ],
    model: Annotated[
        str | None, typer.Option(help="Model whose scorers score.", autocompletion=common.complete_model)
    ] = None,
    preset: common.Preset = None,
    config_file: common.ConfigFile = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a config key, e.g. weights.clip=FILE (may be repeated).")
    ] = None,
    scorers: Annotated[str, typer.Option(help="all, none, or names with commas between.")] = "all",
    cards: Annotated[int, typer.Option(min=1, help="Videos, or pairs of them, on the page at most.")] = 400,
    vbench: Annotated[Path | None, typer.Option(help="Also write the videos here as VBench reads them.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that decoding one video may take.")] = 30.0,
    workers: Annotated[int, typer.Option(min=1, help="Videos decoded and measured at once.")] = 4,
    offline: common.Offline = False,
    output_dir: common.OutputDir = None,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Measure generated videos, and write a report with a page that shows them all."""
    from videogen_cli.runners.eval_videos import VideosRequest, run
    from videogen_cli.runners.requests import Request

    of_model = None
    if not model and (preset or config_file or set_):
        raise UsageError("belong to a model", where="--preset, --config and --set", hint="Name it: --model t2v-turbo")
    if model:
        of_model = Request(model, overrides=set_ or [], preset=preset, config_file=config_file, offline=offline)
    request = VideosRequest(folders, output_dir, of_model, scorers, cards, vbench, timeout, workers)
    run(request, Output(json=json, debug=debug))
