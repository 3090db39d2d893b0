"""``vgen eval parity``: networks against recordings of the originals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.output import Output
from videogen_cli.runners import eval_parity as runner

EPILOG = """
Examples:

  vgen eval parity golden/

  vgen eval parity golden/t2v-turbo/vc2-vae

  vgen eval parity golden/ --component 'scheduler*' --json | jq -r 'select(.passed | not) | .case'

With --json one line per case: {case, passed, outputs: {name: {max_abs, max_rel, passed}}, seconds}. Exit code 0 only if
all pass; 1 for differences, 3 for a broken case folder (the other cases still run), 4 for weights that cannot be read.
"""


def parity(
    folders: Annotated[list[Path], typer.Argument(help="Case folders, or folders of them.", metavar="DIR...")],
    component: Annotated[str, typer.Option(help="Only components matching this pattern.")] = "*",
    case: Annotated[str, typer.Option(help="Only cases whose name matches this pattern.")] = "*",
    mode: Annotated[str, typer.Option(help="Run networks in pynative or graph mode.")] = "pynative",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Compare networks, schedulers and tokenizers with recorded outputs of the originals.

    A case holds the original's hyper-parameters, weights in the published container, inputs, outputs and tolerances.
    """
    request = runner.ParityRequest(folders=folders, component=component, case=case, mode=mode)
    raise typer.Exit(runner.run(request, Output(json=json, debug=debug)))
