"""From a plan to running networks: find the weights, start the device, build and load."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.files import sha256_file
from videogen_cli.output import Output
from videogen_cli.registry import load_attr
from videogen_cli.runners.plan import Plan
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.store import locate


@dataclass
class Session:
    """Networks on a device. ``weights`` says which file (and its sha256's start) each component came from."""

    cells: dict[str, Any]
    weights: dict[str, str]
    output: Output

    def compiling(self, label: str) -> AbstractContextManager[Any]:
        """Tell people that the first call compiles."""
        from videogen_cli.runtime.context import compiling

        return compiling(label, self.output)

    def quiet(self) -> AbstractContextManager[Any]:
        """Do nothing, as ``compiling`` does around later calls."""
        return nullcontext()


def open_session(
    plan: Plan, output: Output, *, fresh: Iterable[str] = (), only: Iterable[str] | None = None
) -> Session:
    """Start the plan's device and build its components.

    Args:
        plan: what to run.
        output: where progress goes.
        fresh: components that may start from random values when no weights are given for them.
        only: the components needed; None = all.

    Raises:
        WeightsError: a component has no weights, or a file is missing or does not fit.
        DeviceError: the device cannot be used.
    """
    fresh = set(fresh)
    names = [c.name for c in plan.spec.components if only is None or c.name in set(only)]
    files = find_weights(plan, names, fresh)
    from videogen_cli.runtime import context

    context.start(plan.config.device, cache_key=f"{plan.spec.name}-{plan.resolved.hash()}")
    from videogen_cli.runtime import module

    cells, used = {}, {}
    for name in names:
        cell = module.build(load_attr(plan.spec.component(name).build), getattr(plan.config, name))
        if path := files.get(name):
            module.load(cell, open_checkpoint(path).tensors, where=str(path))
            used[name] = f"{plan.config.weights[name]}@{sha256_file(path)[:12]}"
        else:
            module.initialise(cell, plan.config.seed)
        cells[name] = cell
    return Session(cells, used, output)


def find_weights(plan: Plan, names: Iterable[str], fresh: set[str]) -> dict[str, Path]:
    """Return the weights file of each component; needs no device.

    Raises:
        WeightsError: weights are named for a component that does not exist, or a component that must have some has none.
    """
    known = [c.name for c in plan.spec.components]
    for name in plan.config.weights:
        if name not in known:
            raise WeightsError(
                f"{plan.spec.name} has no component '{name}'", where="weights", hint=did_you_mean(name, known)
            )
    files: dict[str, Path] = {}
    for name in names:
        if uri := plan.config.weights.get(name):
            files[name] = locate(uri)
        elif name not in fresh:
            preset = plan.spec.default_preset
            hint = f"Give weights.{name}=FILE.safetensors (made by 'vgen convert'), or use --preset {preset}."
            raise WeightsError(f"no weights for the component '{name}'", where=plan.spec.name, hint=hint)
    return files


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
