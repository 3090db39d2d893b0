"""``vgen validate``: is this data set fit for training?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli.common import Debug, Json
from videogen_cli.output import Output
from videogen_cli.runners import validate as runner

EPILOG = """
Examples:

  vgen validate clips/captions.csv

  vgen validate clips/ --root /data/videos --json > report.jsonl

The CSV (UTF-8) has the columns video and caption. With --json every bad row is a line {line, video, reason}, and the
last line is the summary. The exit code is 3 when any row is bad.
"""


def validate(
    dataset: Annotated[Path, typer.Argument(help="A CSV file, or a folder with one in it.")],
    root: Annotated[str, typer.Option(help="Folder that video paths start from. Default: the CSV's own.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that decoding one clip may take.")] = 30.0,
    workers: Annotated[int, typer.Option(min=1, help="Clips decoded at once.")] = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Read every row of a dataset and decode every clip, and say of each bad one what is wrong with it."""
    request = runner.ValidateRequest(dataset=dataset, root=root, timeout=timeout, workers=workers)
    runner.run(request, Output(json=json, debug=debug))
