"""``vgen convert``: published checkpoints in, safetensors out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli.common import Debug, DryRun, Json, Preset, unwind_on_sigterm
from videogen_cli.output import Output
from videogen_cli.runners import convert as runner

EPILOG = """
Examples:

  vgen convert --type vc2 --source model.ckpt --target vc2.safetensors

  vgen convert --type lora --source unet_lora.pt --target lora.safetensors

  vgen convert --type raw --source pytorch_model.bin --target model.safetensors --dtype fp16

  vgen convert --type vc2 --check --source VideoCrafter2-model.ckpt.json.gz

  vgen convert --type vc2 --export --source vc2.safetensors --target model.ckpt

The account says for every key whether it is used, ignored (and by which rule), missing, unexpected, or of another
shape; anything but the first two ends with exit code 4, and nothing is written.
"""


def convert(
    type_: Annotated[
        str, typer.Option("--type", help="raw (any container, names kept), or a type that 'vgen show MODEL' lists.")
    ],
    source: Annotated[Path, typer.Option(help="File, index, or folder; with --check or --dry-run also a manifest.")],
    target: Annotated[
        Path | None, typer.Option(help="FILE.safetensors, or FILE.ckpt for MindSpore's container.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Account for every key and stop.")] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Cast real numbers: fp32, fp16 or bf16. Default: as stored.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, when several know the type.")] = None,
    component: Annotated[list[str] | None, typer.Option(help="Convert this component only (may be repeated).")] = None,
    params: Annotated[
        Path | None, typer.Option(help="JSON with the original's hyper-parameters, for models of unpublished size.")
    ] = None,
    preset: Preset = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one size, e.g. unet.model_channels=64 (may be repeated).")
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Key of the weight dictionary in the file, when there are several (e.g. ema).")
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="The other way: from our names to the original's.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Convert a published checkpoint, accounting for every key.

    The container (safetensors, torch zip or legacy, sharded sets, MindSpore .ckpt) is told by content. Nothing in a
    file is ever executed, and the target appears whole or not at all.
    """
    unwind_on_sigterm()
    request = runner.ConvertRequest(
        type=type_,
        source=source,
        target=target,
        check=check,
        dtype=dtype,
        model=model,
        components=component or (),
        params=params,
        preset=preset,
        overrides=set_ or (),
        root=root,
        export=export,
        dry_run=dry_run,
    )
    runner.run(request, Output(json=json, debug=debug))
