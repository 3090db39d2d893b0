#!/usr/bin/env bash
# Trains the weights that ship as `t2v-turbo --preset tiny`, from Moving Shapes alone, and puts them into the package.
#   scripts/train_tiny.sh [FOLDER]     about two hours on four cores; stopped, it goes on where it was
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/tiny}
assets=videogen_cli/assets/t2v-turbo/tiny

train() { # stage, overrides...
  vgen train t2v-turbo --stage "$1" --preset tiny --output-dir "$runs/$1" --resume auto "${@:2}"
}
ship() { # stage, file in its newest checkpoint, component
  local newest
  newest=$(ls -d "$runs/$1"/checkpoints/step-* | sort -V | tail -n 1)
  vgen convert --type raw --source "$newest/$2.safetensors" --target "$assets/$3.safetensors" --dtype fp16
}

train vae
ship vae vae vae
# The latents' mean and standard deviation per channel, measured by the last validation, belong into
# configs/t2v-turbo/tiny.yaml (diffusion.latent_mean, latent_std) before the base stage is trained.
python - "$runs/vae/metrics.jsonl" configs/t2v-turbo/tiny.yaml <<'PYTHON'
import json, re, sys
from pathlib import Path

lines = map(json.loads, Path(sys.argv[1]).read_text().splitlines())
last = [line for line in lines if line["kind"] == "validation"][-1]
preset = Path(sys.argv[2])
text = preset.read_text()
for kind in ("mean", "std"):
    numbers = [f"{last[f'latent_{kind}_{channel}']:.3f}" for channel in range(4)]
    text = re.sub(rf"latent_{kind}: \[.*\]", f"latent_{kind}: [{', '.join(numbers)}]", text)
preset.write_text(text)
PYTHON
train base
ship base ema-unet unet
ship base ema-text text
