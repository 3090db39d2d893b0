"""Options that several verbs share."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from videogen_cli.registry import ModelSpec


def unwind_on_sigterm() -> None:
    """Let SIGTERM remove files half written. For verbs that stay in Python: MindSpore would swallow the exit."""

    def leave(*_: object) -> None:
        from videogen_cli.errors import ExitCode

        print("stopped by SIGTERM", file=sys.stderr, flush=True)
        raise SystemExit(int(ExitCode.TERMINATED))  # no Exception: loops that go on after one must not after this

    signal.signal(signal.SIGTERM, leave)


def complete_model(incomplete: str) -> list[str]:
    """Complete a model's name."""
    from videogen_cli.registry import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


def _model(ctx: typer.Context) -> ModelSpec | None:
    """Return the model named before; the parser leaves it in ``args`` when an option's value is being typed."""
    from videogen_cli.registry import model_names, spec

    named = [word for word in (ctx.params.get("model"), *ctx.args) if word in model_names()]
    return spec(named[0]) if named else None


def complete_preset(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a preset of the model named before."""
    model = _model(ctx)
    return [name for name in model.presets() if name.startswith(incomplete)] if model else []


def complete_stage(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a training stage of the model named before."""
    model = _model(ctx)
    return [stage.name for stage in model.stages if stage.name.startswith(incomplete)] if model else []


def complete_published(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of published weights of the model named before."""
    model = _model(ctx)
    return [item.name for item in model.published if item.name.startswith(incomplete)] if model else []


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a config key of the model named before."""
    from videogen_cli.config import leaf_keys

    model = _model(ctx)
    return [f"{key}=" for key in leaf_keys(model.config) if key.startswith(incomplete)] if model else []


Model = Annotated[str, typer.Argument(help="Model, see 'vgen ls'.", autocompletion=complete_model)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Config keys to change, e.g. sample.fps=4.", metavar="[KEY=VALUE]...", autocompletion=complete_key
    ),
]
Preset = Annotated[str | None, typer.Option("--preset", help="Start from this preset.", autocompletion=complete_preset)]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of config keys.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; say what is missing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be run, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON lines on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all randomness.")]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Folder for everything that is written.")]
NumProcesses = Annotated[int, typer.Option("--nproc", help="Processes on this machine, one device each.")]
