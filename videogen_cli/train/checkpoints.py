"""Checkpoints of a run: whole or not there at all, verified before use, the last few kept.

``step-N/`` holds ``<component>.safetensors`` (trained weights), ``ema-<component>.safetensors``,
``optimizer.safetensors`` (both moments), ``state.json``, and ``manifest.json`` with every file's size and sha256. The
folder is written under a temporary name and renamed when all of it is on disk.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import NonFiniteError, UsageError, WeightsError
from videogen_cli.files import atomic_dir, sha256_file, write_json
from videogen_cli.train.objective import Trainable

Parts = Mapping[str, Mapping[str, np.ndarray]]  # component -> parameter name -> array
MANIFEST, STATE, OPTIMIZER = "manifest.json", "state.json", "optimizer.safetensors"
MOMENTS = ("first_moment", "second_moment")
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read back: the vectors of :meth:`Engine.state` by name, and ``state.json``."""

    path: Path
    vectors: dict[str, Parts]
    state: dict[str, Any]


def save(
    folder: Path,
    vectors: Mapping[str, Parts],
    state: Mapping[str, Any],
    *,
    keep: int,
    trainable: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``folder/step-N`` for ``N = state["step"]``, then remove all but the last ``keep`` checkpoints.

    ``trainable`` may say for a component what its files hold beside its weights (see :class:`Trainable`).

    Raises:
        DiskError: the disk is full or failing; earlier checkpoints are untouched.
        NonFiniteError: a weight, moment or average is not finite; nothing is written.
    """
    for name, parts in vectors.items():
        _require_finite(name, parts, state["step"])
    target = folder / f"step-{state['step']}"
    with atomic_dir(target) as temporary:
        for vector, prefix in (("weights", ""), ("average", "ema-")):
            for component, tensors in vectors.get(vector, {}).items():
                item = (trainable or {}).get(component)
                about = item if isinstance(item, Trainable) else Trainable(item)
                path = temporary / f"{prefix}{component}.safetensors"
                _write(path, {**tensors, **about.beside}, state, about.metadata)
        moments = {
            f"{moment}.{component}.{name}": array
            for moment in MOMENTS
            for component, tensors in vectors[moment].items()
            for name, array in tensors.items()
        }
        _write(temporary / OPTIMIZER, moments, state)
        write_json(temporary / STATE, state)
        write_json(temporary / MANIFEST, {path.name: _fingerprint(path) for path in sorted(temporary.iterdir())})
    _prune(folder, keep)
    return target


def _require_finite(vector: str, parts: Parts, step: int) -> None:
    for component, tensors in parts.items():
        for name, array in tensors.items():
            if not np.isfinite(array).all():
                raise NonFiniteError(
                    f"{component}.{name} ({vector}) is not finite at step {step}; this state is not saved",
                    hint="Resume from the last checkpoint with a lower train.learning_rate or with train.clip_norm.",
                )


def _write(
    path: Path, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any], about: Mapping[str, str] | None = None
) -> None:
    from videogen_cli.weights.writer import save_safetensors

    metadata = {**(about or {}), "step": str(state["step"]), "config_hash": state["config_hash"]}
    save_safetensors(path, tensors, metadata, shard_bytes=2**62)


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _prune(folder: Path, keep: int) -> None:
    for path in steps(folder)[: -max(keep, 1)]:
        # Renamed first, so that a kill in between leaves no half of a checkpoint under a checkpoint's name.
        doomed = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what a killed process left half-written. Nobody else may be writing there."""
    for path in folder.glob(".step-*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def steps(folder: Path) -> list[Path]:
    """List a run's checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def problem(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, naming the file, or None if every byte is as it was written."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            if _fingerprint(path / name) != expected:
                return f"{name} is not what was written"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None if STATE in manifest and OPTIMIZER in manifest else f"{MANIFEST} is incomplete"


def latest(folder: Path, warn: Callable[[str], Any]) -> Path | None:
    """Return the newest checkpoint that verifies, telling ``warn`` about newer ones that do not."""
    for path in reversed(steps(folder)):
        if wrong := problem(path):
            warn(f"{path}: damaged checkpoint skipped: {wrong}")
        else:
            return path
    return None


def find(resume: str | Path | None, folder: Path, warn: Callable[[str], Any]) -> Path | None:
    """Return the checkpoint to go on from: none, the newest under ``folder`` (``auto``), or the one named.

    ``resume`` may be a checkpoint, a folder of checkpoints, or a run's folder.

    Raises:
        UsageError: the named folder holds no checkpoint.
        WeightsError: the named checkpoint is damaged, or all are.
    """
    if resume is None:
        return None
    if str(resume) == "auto":
        return _newest(folder, warn)
    path = Path(resume)
    if _NAME.fullmatch(path.name) and path.is_dir():
        if wrong := problem(path):
            raise WeightsError(f"damaged checkpoint: {wrong}", where=str(path), hint="Resume from an earlier one.")
        return path
    inner = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    found = _newest(inner, warn)
    if found is None:
        raise UsageError("there is no checkpoint to resume from", where=str(path))
    return found


def _newest(folder: Path, warn: Callable[[str], Any]) -> Path | None:
    found = latest(folder, warn)
    if found is None and steps(folder):
        raise WeightsError("every checkpoint is damaged", where=str(folder), hint="Start again in another folder.")
    return found


def read(path: Path) -> Saved:
    """Read a checkpoint that verified."""
    from safetensors.numpy import load_file

    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    components = state["components"]
    vectors: dict[str, Any] = {"weights": {c: load_file(path / f"{c}.safetensors") for c in components}}
    if (path / f"ema-{components[0]}.safetensors").exists():
        vectors["average"] = {c: load_file(path / f"ema-{c}.safetensors") for c in components}
    moments = load_file(path / OPTIMIZER)
    for moment in MOMENTS:
        prefixes = {c: f"{moment}.{c}." for c in components}
        vectors[moment] = {
            c: {name.removeprefix(prefix): array for name, array in moments.items() if name.startswith(prefix)}
            for c, prefix in prefixes.items()
        }
    return Saved(path, vectors, state)
