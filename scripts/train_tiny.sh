#!/usr/bin/env bash
# Trains the weights that ship as `t2v-turbo --preset tiny`, from Moving Shapes alone, and puts them into the package.
#   scripts/train_tiny.sh [FOLDER]     about an hour and a half on four cores; stopped, it goes on where it was
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-runs/tiny}
assets=videogen_cli/assets/t2v-turbo/tiny

train() { # run, stage, overrides...
  vgen train t2v-turbo --stage "$2" --preset tiny --output-dir "$runs/$1" --resume auto train.preview_every=0 "${@:3}"
}
newest() { # run
  find "$runs/$1/checkpoints" -maxdepth 1 -name 'step-*' | sort -V | tail -n 1
}
ship() { # file, component
  vgen convert --type raw --source "$1" --target "$assets/$2.safetensors" --dtype fp16
}

train vae vae
ship "$(newest vae)/vae.safetensors" vae
# The latents' mean and standard deviation per channel, measured by the last validation, belong into the preset.
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

# The shipped weights' first two base runs were stopped where they end here, before their schedules (of 3000 and 2800
# steps) had run out. Colours and shapes first. A text tower that learns along at this rate keeps the words for colours and loses those
# for directions, so it is left behind after this.
train base-1 base "train.freeze=[]" train.max_steps=1172 diffusion.latent_scale=0.5 diffusion.noise_bias=1
unet=$(newest base-1)
train base-2 base "train.freeze=[]" train.max_steps=954 train.from_scratch=false diffusion.noise_bias=2.5 \
  train.ema_decay=0.99 train.warmup_steps=50 weights.unet="$unet/unet.safetensors" weights.text="$unet/text.safetensors"
# Directions under a tower that starts anew and stays: first at high noise, where only the prompt tells them.
train text base "train.freeze=[]" train.max_steps=1 train.learning_rate=1e-12 train.end_learning_rate=0
text=$(newest text)/text.safetensors
train base-3 base train.max_steps=291 train.from_scratch=false train.schedule=constant diffusion.noise_bias=6 \
  train.ema_decay=0.98 train.warmup_steps=30 weights.unet="$(newest base-2)/unet.safetensors" weights.text="$text"
train base-4 base train.max_steps=1500 train.from_scratch=false train.ema_decay=0.99 train.warmup_steps=20 \
  weights.unet="$(newest base-3)/unet.safetensors" weights.text="$text"
ship "$(newest base-4)/ema-unet.safetensors" unet
ship "$text" text
