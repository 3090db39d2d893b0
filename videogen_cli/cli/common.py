"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_model(incomplete: str) -> list[str]:
    """Complete a model's name."""
    from videogen_cli.registry import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


def complete_preset(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a preset of the model named before."""
    from videogen_cli.errors import VgenError
    from videogen_cli.registry import spec

    try:
        presets = spec(ctx.params.get("model") or "").presets()
    except VgenError:
        return []
    return [name for name in presets if name.startswith(incomplete)]


Model = Annotated[str, typer.Argument(help="Model, see 'vgen ls'.", autocompletion=complete_model)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Config keys to change, e.g. sample.fps=4.", metavar="[KEY=VALUE]...")
]
Preset = Annotated[str | None, typer.Option("--preset", help="Start from this preset.", autocompletion=complete_preset)]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of config keys.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be run, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON lines on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all randomness.")]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Folder for everything that is written.")]
NumProcesses = Annotated[int, typer.Option("--nproc", help="Processes on this machine, one device each.")]
