"""Golden cases of pipelines as a user would meet them: published files, converted, and a config that names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from videogen_cli.models.t2v_turbo.params import component_params
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS
from videogen_cli.nets.params.vae2d import downsample_factor
from videogen_cli.output import Output
from videogen_cli.runners import convert

CASES = {"vc2": "t2v-turbo/vc2-pipeline-4step", "ms": "t2v-turbo/ms-pipeline"}


class World:
    """One teacher's case.

    Args:
        name: ``vc2`` or ``ms``, which is the preset too.
        folder: where converted files and the config go.
        find: finds golden cases.
        read: reads their tensors.
    """

    def __init__(self, name: str, folder: Path, find: Callable[[str], Path], read: Callable[[str], Any]) -> None:
        self.name, self.folder, self.case = name, folder, find(CASES[name])
        self.record = json.loads((self.case / "case.json").read_text())
        _, self.inputs, self.outputs = read(CASES[name])
        self.params = LORA_KEYS.prepare(component_params(self.record["config"]), {})
        self.config_file = folder / "world.yaml"
        self.config_file.write_text(yaml.safe_dump(self._config()))

    def _config(self) -> dict[str, Any]:
        np.save(self.folder / "base.npy", self.inputs["time_cond_proj_weight"])
        _, _, f, h, w = self.inputs["latents"].shape
        factor = downsample_factor(self.params["vae"])
        sample = {
            "num_frames": f,
            "height": h * factor,
            "width": w * factor,
            "fps": int(self.inputs.get("fps", 8)),
            "num_inference_steps": int(self.inputs["num_inference_steps"]),
            "guidance_scale": float(self.inputs["guidance_scale"]),
        }
        files = {"lora": self.case / self.record["weights"]["lora"], "time_cond_proj": self.folder / "base.npy"}
        return {
            **{name: asdict(params) for name, params in self.params.items()},
            "diffusion": {"origin_steps": int(self.inputs["lcm_origin_steps"])},
            "sample": sample,
            "tokenizer": "asset:t2v-turbo/tiny/tokenizer.json",  # the case's vocabulary is too small for the real one
            "device": {"mode": "pynative", "compile_cache": False},
            "weights": {**self._converted(), **{name: str(path.resolve()) for name, path in files.items()}},
        }

    def _converted(self) -> dict[str, str]:
        """Convert the teacher, as published: a folder, or here a file for each component."""
        base, targets = self.record["weights"]["base"], {}
        for name in ("unet", "vae", "text"):
            target = self.folder / f"{name}.safetensors"
            source = base if isinstance(base, str) else base[("unet", "vae", "text").index(name)]
            request = convert.ConvertRequest(
                self.name, self.case / source, target, components=[name], params=self.case / "case.json"
            )
            convert.run(request, Output(quiet=True))
            targets[name] = str(target)
        return targets
