"""From a plan to running networks: find the weights, start the device, build and load."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from videogen_cli.data.cache import cache_key
from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.files import sha256_file
from videogen_cli.output import Output
from videogen_cli.registry import load_attr
from videogen_cli.runners.plan import Plan
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.finite import require_finite
from videogen_cli.weights.store import locate, open_component


@dataclass
class Session:
    """Networks on a device. ``weights`` says which file (and its sha256's start) each component came from."""

    cells: dict[str, Any]
    weights: dict[str, str]
    output: Output

    def compiling(self, label: str) -> AbstractContextManager[Any]:
        """Tell people that graphs are compiled inside."""
        from videogen_cli.runtime.context import compiling

        return compiling(label, self.output)


def open_session(
    plan: Plan, output: Output, *, fresh: Iterable[str] = (), only: Iterable[str] | None = None, train: bool = False
) -> Session:
    """Start the plan's device and build its components.

    Args:
        plan: what to run.
        output: where progress goes.
        fresh: components that start from random values.
        only: the components needed; None = all.
        train: weights will change; otherwise they may share the memory of their files.

    Raises:
        WeightsError: a component has no weights, or a file is missing or does not fit.
        DeviceError: the device cannot be used.
    """
    fresh = set(fresh)
    known = [c.name for c in plan.spec.components]
    names = [name for name in known if only is None or name in set(only)]
    files = find_weights(plan, names, fresh)
    from videogen_cli.runtime import context

    context.start(plan.config.device, output)
    from videogen_cli.runtime import module
    from videogen_cli.runtime.precision import compute_dtype

    device = plan.config.device
    dtype = "fp32" if train else compute_dtype(device.target, device.dtype)  # training keeps float32 masters
    cells, used = {}, {}
    for name in names:
        cell = module.build(load_attr(plan.spec.component(name).build), getattr(plan.config, name))
        if path := files.get(name):
            tensors = require_finite(open_component(path, name, known), path)
            module.load(cell, tensors, where=str(path), writable=train, dtype=dtype)
            used[name] = f"{plan.config.weights[name]}@{_digest(path)}"
        else:
            module.initialise(cell, plan.config.seed)
        cells[name] = cell
    return Session(cells, used, output)


def find_weights(plan: Plan, names: Iterable[str], fresh: set[str]) -> dict[str, Path]:
    """Return the weights file of each component that is not ``fresh``; needs no device.

    Raises:
        WeightsError: weights are named for an unknown component, or a component that needs some has none.
    """
    known = [c.name for c in plan.spec.components]
    for name in plan.config.weights:
        if name not in known:
            raise WeightsError(
                f"{plan.spec.name} has no component '{name}'", where="weights", hint=did_you_mean(name, known)
            )
    files: dict[str, Path] = {}
    for name in names:
        if name in fresh:
            continue
        if uri := plan.config.weights.get(name):
            files[name] = locate(uri)
        else:
            preset = plan.spec.default_preset
            hint = f"Give weights.{name}=FILE.safetensors (made by 'vgen convert'), or use --preset {preset}."
            raise WeightsError(f"no weights for the component '{name}'", where=plan.spec.name, hint=hint)
    return files


def _digest(path: Path) -> str:
    """Return the start of the sha256 of a weights file, or of all files of a sharded set."""
    digests = [sha256_file(file) for file in open_checkpoint(path).files]
    return (digests[0] if len(digests) == 1 else cache_key(files=digests))[:12]


def config_yaml(config: Any) -> str:
    """Return a config as YAML that ``--config`` reads back."""
    return yaml.safe_dump(asdict(config), sort_keys=False)


def default_output_dir(model: str, kind: str = "outputs") -> Path:
    """Return ``<kind>/<model>/<time>``, a folder that does not exist yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(kind) / model / stamp
    number = 1
    while folder.exists():
        number += 1
        folder = Path(kind) / model / f"{stamp}-{number}"
    return folder
