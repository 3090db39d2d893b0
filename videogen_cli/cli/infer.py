"""``vgen infer``: options in, a request out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videogen_cli.cli import common
from videogen_cli.output import Output
from videogen_cli.runners.requests import InferRequest

EPILOG = """
Examples:

  vgen infer t2v-turbo --prompt "a red circle moving right"

  vgen infer t2v-turbo --prompts-file prompts.csv --output-dir videos

  cat prompts.txt | vgen infer t2v-turbo --prompts-file - --json | jq -r .file

  vgen infer t2v-turbo --prompt "a blue square" --num-videos 4 --format gif

  vgen infer t2v-turbo --preset vc2 --prompt "a cat" --dry-run

  vgen infer t2v-turbo --preset vc2 --prompt "a cat" weights.lora=unet_lora.pt --dry-run
"""


def infer(
    model: common.Model,
    overrides: common.Overrides = None,
    prompt: Annotated[list[str] | None, typer.Option(help="What to show (may be repeated).")] = None,
    prompts_file: Annotated[
        str | None, typer.Option(help="CSV with a 'prompt' column, text file with a prompt a line, or - for stdin.")
    ] = None,
    preset: common.Preset = None,
    config_file: common.ConfigFile = None,
    num_inference_steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="How strongly the prompt steers (CFG scale).")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames per video.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames per second.")] = None,
    num_videos: Annotated[int | None, typer.Option(help="Videos per prompt, each with its own seed.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to show (where the sampler uses CFG).")] = None,
    input_: Annotated[
        list[str] | None, typer.Option("--input", help="A condition, NAME=PATH (may be repeated).")
    ] = None,
    save_latents: Annotated[bool, typer.Option("--save-latents", help="Keep latents beside the videos.")] = False,
    from_latents: Annotated[Path | None, typer.Option(help="Decode the latents saved in this folder.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="mp4, gif, png or npy.")] = None,
    seed: common.Seed = None,
    output_dir: common.OutputDir = None,
    nproc: common.NumProcesses = 1,
    offline: common.Offline = False,
    dry_run: common.DryRun = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Make videos from prompts.

    Writes one file per video, results.jsonl and config.yaml to --output-dir (default outputs/MODEL/TIME).
    """
    request = InferRequest(
        model,
        overrides=overrides or [],
        options={
            "seed": seed,
            "sample.num_inference_steps": num_inference_steps,
            "sample.guidance_scale": guidance_scale,
            "sample.num_frames": num_frames,
            "sample.height": height,
            "sample.width": width,
            "sample.fps": fps,
            "sample.num_videos": num_videos,
            "sample.negative_prompt": negative_prompt,
            "sample.format": format_,
        },
        preset=preset,
        config_file=config_file,
        output_dir=output_dir,
        dry_run=dry_run,
        nproc=nproc,
        offline=offline,
        prompts=prompt or [],
        prompts_file=prompts_file,
        inputs=input_ or [],
        save_latents=save_latents,
        from_latents=from_latents,
    )
    from videogen_cli.runners.plan import run_request

    run_request(request, "infer", Output(json=json, debug=debug))
