"""What makes a run the same run: a resumed one may differ in how it is watched, not in what it computes."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from videogen_cli.errors import UsageError

# Keys that leave every number of a run as it is (a longer run with a decaying schedule is the user's wish).
HARMLESS = (
    *(f"train.{name}" for name in ("max_steps", "max_non_finite", "tensorboard", "keep_checkpoints")),
    *(f"train.{name}_every" for name in ("checkpoint", "validate", "preview", "log")),
    *(f"data.{name}" for name in ("workers", "decode_timeout", "max_bad_fraction")),
    *(f"sample.{name}" for name in ("num_inference_steps", "guidance_scale", "num_videos", "batch_size")),
    *(f"sample.{name}" for name in ("negative_prompt", "sampler", "format", "decode_batch")),
    *(f"device.{name}" for name in ("threads", "device_id", "compile_cache", "kernels", "memory_limit_gb", "env*")),
)

# Keys that no compiled graph depends on: other numbers flow through the same graph.
OUTSIDE_GRAPHS = (
    *(f"train.{name}*" for name in ("learning_rate", "end_learning_rate", "schedule", "cycle.", "warmup_", "beta")),
    *(f"train.{name}*" for name in ("epsilon", "weight_decay", "clip_norm", "ema_", "loss_scale", "accumulation")),
    *("seed", "weights*", "data.path", "data.drop_caption"),
)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted key -> value of nested mappings."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def essence(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat keys that decide a run's numbers, as JSON would give them back."""
    kept = {k: v for k, v in flatten(values).items() if not any(fnmatch.fnmatch(k, p) for p in HARMLESS)}
    return json.loads(json.dumps(kept, sort_keys=True, default=str))


def of_graphs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat keys that decide what graphs a run compiles."""
    return {k: v for k, v in essence(values).items() if not any(fnmatch.fnmatch(k, p) for p in OUTSIDE_GRAPHS)}


def digest(values: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that identify what :func:`essence` returned."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def require_same(saved: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuse to go on with a run whose numbers would change.

    Raises:
        UsageError: keys differ; each is named with both values.
    """
    differing = [key for key in sorted({*saved, *now}) if saved.get(key) != now.get(key)]
    if differing:
        shown = "; ".join(f"{key}: {saved.get(key)!r} then, {now.get(key)!r} now" for key in differing[:8])
        more = f"; and {len(differing) - 8} more" if len(differing) > 8 else ""
        hint = "Give the same values as the run was started with, or start a new one in another folder."
        raise UsageError(f"this run was started with another config: {shown}{more}", where=where, hint=hint)
