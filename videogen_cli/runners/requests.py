"""What a person asked for, as typed by ``cli`` and understood by ``runners``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Request:
    """What every verb that runs a model is told. ``options`` are config keys set by named options."""

    model: str
    overrides: list[str] = field(default_factory=list)  # key=value
    options: dict[str, Any] = field(default_factory=dict)  # dotted key -> value
    preset: str | None = None
    config_file: Path | None = None
    output_dir: Path | None = None
    dry_run: bool = False
    nproc: int = 1
    offline: bool = False  # fetch nothing


@dataclass
class InferRequest(Request):
    """``vgen infer``."""

    prompts: list[str] = field(default_factory=list)
    prompts_file: str | None = None
    inputs: list[str] = field(default_factory=list)  # NAME=PATH
    save_latents: bool = False
    from_latents: Path | None = None


@dataclass
class TrainRequest(Request):
    """``vgen train``."""

    stage: str = ""
    resume: str | None = None  # "auto" or a checkpoint folder
