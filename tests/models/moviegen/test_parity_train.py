"""The optimizer under upstream's micro-batch rules, against a plain double precision one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DataError
from videogen_cli.models.moviegen.parity_train import optimizer_config, train_optimizer

NAMES = {"a.weight": (3, 2), "a.input_layernorm.weight": (2,), "b.Bias": (4,)}
CONFIG = {"optimizer": "adamw_re", "lr": 0.02, "warmup_steps": 3, "steps": 7, "weight_decay": 0.3, "eps": 1e-12,
          "betas": [0.8, 0.95], "clip_norm": 0.5, "gradient_accumulation_steps": 2, "ema_decay": 0.7}  # fmt: skip


@dataclass
class FakeCase:
    """What the optimizer's function reads of a case."""

    inputs: dict[str, np.ndarray]
    config: dict[str, Any]
    device: DeviceConfig


def reference(inputs, config):
    """Return what upstream's rules say, in double precision; the last value of every parameter, and its average."""
    w = {name: inputs[f"init.{name}"].astype(float) for name in NAMES}
    m, v = ({name: np.zeros(shape) for name, shape in NAMES.items()} for _ in range(2))
    average, total, updates = dict(w), dict(m), 0
    (b1, b2), every = config["betas"], config["gradient_accumulation_steps"]
    for call in range(config["steps"]):
        rate = config["lr"] * min(1.0, call / config["warmup_steps"])
        total = {name: total[name] + inputs[f"grad{call}.{name}"] / every for name in NAMES}
        if (call + 1) % every == 0:
            updates += 1
            length = np.sqrt(sum((g * g).sum() for g in total.values()))
            for name in NAMES:
                g = total[name] * min(1.0, config["clip_norm"] / length)
                m[name], v[name] = b1 * m[name] + (1 - b1) * g, b2 * v[name] + (1 - b2) * g * g
                step = m[name] / (1 - b1**updates) / (config["eps"] + np.sqrt(v[name] / (1 - b2**updates)))
                decay = config["weight_decay"] if name == "a.weight" else 0.0
                w[name] = w[name] - rate * (step + decay * w[name])
            total = {name: np.zeros(shape) for name, shape in NAMES.items()}
        average = {name: 0.7 * average[name] + 0.3 * w[name] for name in NAMES}
    return w, average


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_accumulated_steps(accumulation):
    rng = np.random.default_rng(accumulation)
    config = {**CONFIG, "gradient_accumulation_steps": accumulation}
    kinds = ("init", *(f"grad{call}" for call in range(config["steps"])))
    inputs = {f"{k}.{n}": rng.standard_normal(shape).astype(np.float32) for k in kinds for n, shape in NAMES.items()}
    found = train_optimizer(FakeCase(inputs, config, DeviceConfig(mode="pynative", compile_cache=False)))  # type: ignore
    weights, average = reference(inputs, config)
    for name in NAMES:
        np.testing.assert_allclose(found[f"param6.{name}"], weights[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[f"ema.{name}"], average[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("key", "value"), [("optimizer", "momentum"), ("schedule", "cosine_decay")])
def test_others_are_refused(key, value):
    with pytest.raises(DataError, match=f"{key}: '{value}' is not supported"):
        optimizer_config({**CONFIG, key: value})
