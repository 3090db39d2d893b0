"""``vgen eval adherence``: do generated Moving Shapes videos show what their prompts say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli.common import Debug, Json
from videogen_cli.output import Output
from videogen_cli.runners import eval_adherence as runner

EPILOG = """
Examples:

  vgen infer t2v-turbo --prompts-file prompts.csv --output-dir out && vgen eval adherence out

  vgen eval adherence out --json > report.json

A video is right when colour (mean of the bright pixels), shape (area over bounding box) and direction (way of the
centroid) are those of the prompt and every frame shows one object. Trained and held-out combinations are reported
apart, each with its 95% interval (Wilson).
"""


def adherence(
    folder: Annotated[Path, typer.Argument(help="Output of 'vgen infer', or a folder of videos with a CSV.")],
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that decoding one video may take.")] = 30.0,
    workers: Annotated[int, typer.Option(min=1, help="Videos judged at once.")] = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Judge Moving Shapes videos against their prompts, by measurement and never by a learned model."""
    request = runner.AdherenceRequest(folder=folder, timeout=timeout, workers=workers)
    runner.run(request, Output(json=json, debug=debug))
