"""What a user asked a verb to do: the options of the command line, nothing resolved yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(kw_only=True)
class Request:
    """What every verb that runs a model takes.

    ``OPTIONS`` maps fields that set one config key to that key; None in such a field leaves the config alone.
    """

    OPTIONS: ClassVar[dict[str, str]] = {"seed": "seed"}
    verb: ClassVar[str] = "show"

    model: str
    overrides: list[str] = field(default_factory=list)  # "key=value" strings
    preset: str | None = None
    config_file: str | None = None
    stage: str | None = None
    output_dir: str | None = None
    seed: int | None = None
    nproc: int = 1  # processes to start on this machine
    dry_run: bool = False
    json: bool = False
    debug: bool = False

    def options(self) -> dict[str, Any]:
        """Return the config keys that options set, dotted key -> value."""
        given = {key: getattr(self, name) for name, key in self.OPTIONS.items()}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(kw_only=True)
class InferRequest(Request):
    """``vgen infer``."""

    OPTIONS: ClassVar[dict[str, str]] = {
        "seed": "seed",
        "num_inference_steps": "sample.num_inference_steps",
        "guidance_scale": "sample.guidance_scale",
        "num_frames": "sample.num_frames",
        "height": "sample.height",
        "width": "sample.width",
        "fps": "sample.fps",
        "num_videos": "sample.num_videos",
        "negative_prompt": "sample.negative_prompt",
        "format": "sample.format",
    }
    verb: ClassVar[str] = "infer"

    prompts: list[str] = field(default_factory=list)
    prompts_file: str | None = None  # .csv, a text file with one prompt per line, or "-" for standard input
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    num_frames: int | None = None
    height: int | None = None  # pixels
    width: int | None = None  # pixels
    fps: int | None = None
    num_videos: int | None = None  # per prompt
    negative_prompt: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)  # condition name -> file
    save_latents: bool = False
    from_latents: str | None = None  # folder of an earlier run with --save-latents
    format: str | None = None


@dataclass(kw_only=True)
class TrainRequest(Request):
    """``vgen train``; ``stage`` is required."""

    verb: ClassVar[str] = "train"

    stage: str = ""
    resume: str | None = None  # "auto" or a checkpoint folder
