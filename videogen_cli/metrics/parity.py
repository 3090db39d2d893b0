"""Golden cases: a network's (or function's) recorded inputs and outputs, and the rules they are compared by.

A case is a folder with ``case.json`` (what it is, its config in the original's names, tolerances), ``io.safetensors``
(``in.*`` and ``out.*``) and weights in the published container. Nothing here needs MindSpore.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DataError, VgenError, did_you_mean

CASE, IO = "case.json", "io.safetensors"
_REQUIRED: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "model": (str,),
    "component": (str,),
    "checkpoint_type": (str, type(None)),
    "weights": (str, list, dict, type(None)),
    "config": (dict,),
    "inputs": (dict,),
    "outputs": (dict,),
    "tolerance": (dict,),
}
_DEVICE = DeviceConfig(mode="pynative", compile_cache=False)


class UnsupportedCase(VgenError):
    """A case that is in order, but about something vgen does not have."""


@dataclass(frozen=True)
class Case:
    """One golden case, its tensors read; names are without ``in.`` and ``out.``."""

    folder: Path
    record: Mapping[str, Any]  # case.json
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    device: DeviceConfig = field(default_factory=lambda: _DEVICE)  # where networks run

    @property
    def name(self) -> str:
        """Return the case's name."""
        return self.record["name"]

    @property
    def model(self) -> str:
        """Return the system it belongs to."""
        return self.record["model"]

    @property
    def component(self) -> str:
        """Return the part of the system it is about."""
        return self.record["component"]

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the original's hyper-parameters."""
        return self.record["config"]

    def path(self, relative: str) -> Path:
        """Return a file of the case, or of another case under the same root (the folder above the model's).

        Raises:
            DataError: the path leaves the root, or nothing is there.
        """
        folder = Path(os.path.abspath(self.folder))
        path = Path(os.path.normpath(folder / relative))
        if os.path.isabs(relative) or not path.is_relative_to(folder.parent.parent):
            raise DataError(f"'{relative}' leads out of the folder of golden cases", where=str(folder / CASE))
        if not path.exists():
            raise DataError(f"there is no '{relative}'", where=str(folder / CASE))
        return path

    def weights(self, role: str | None = None) -> list[Path]:
        """Return the weights of one role; a case whose weights have no roles gives all, as does one of a single role.

        Raises:
            DataError: there are no such weights.
        """
        listed = self.record["weights"]
        if isinstance(listed, dict):
            if len(listed) == 1:
                role = next(iter(listed))
            if role not in listed:
                hint = did_you_mean(role or "", listed)
                raise DataError(f"has no weights for the role '{role}'", where=str(self.folder / CASE), hint=hint)
            listed = listed[role]
        names = [listed] if isinstance(listed, str) else listed
        if not names or not all(isinstance(name, str) for name in names):
            raise DataError("names no weights", where=str(self.folder / CASE))
        return [self.path(name) for name in names]

    def tolerance(self, output: str) -> tuple[float, float]:
        """Return (rtol, atol) of an output."""
        rule = {**self.record["tolerance"], **self.record.get("tolerance_overrides", {}).get(output, {})}
        return float(rule.get("rtol", 0)), float(rule.get("atol", 0))

    def gradient_rule(self, output: str) -> Mapping[str, Any] | None:
        """Return the rule by direction and length that applies to an output, if one does."""
        rule = self.record.get("gradient_tolerance")
        return rule if rule and fnmatch.fnmatchcase(f"out.{output}", rule["applies_to"]) else None


def read_record(folder: Path) -> dict[str, Any]:
    """Read and check ``case.json``.

    Raises:
        DataError: it is missing, no JSON, or lacks something.
    """
    path = folder / CASE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", where=str(path)) from error
    if not isinstance(record, dict):
        raise DataError("must hold a JSON object", where=str(path))
    for key, kinds in _REQUIRED.items():
        if key not in record:
            raise DataError(f"lacks '{key}'", where=str(path))
        if not isinstance(record[key], kinds):
            raise DataError(f"'{key}' has the wrong type", where=str(path))
    overrides = record.get("tolerance_overrides", {})
    rules = [record["tolerance"], *(overrides.values() if isinstance(overrides, dict) else [None])]
    if not all(isinstance(rule, dict) and all(map(_is_number, rule.values())) for rule in rules):
        raise DataError("tolerances must be objects of numbers", where=str(path))
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_case(folder: Path, device: DeviceConfig = _DEVICE) -> Case:
    """Read a case, its weights excepted.

    Raises:
        DataError: a file is missing or broken, or the tensors are not those that ``case.json`` lists.
    """
    record = read_record(folder)
    path = folder / IO
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
    inputs = Inputs(path, {name[3:]: value for name, value in tensors.items() if name.startswith("in.")})
    outputs = {name[4:]: value for name, value in tensors.items() if name.startswith("out.")}
    for kind, listed, present in (("in", record["inputs"], inputs), ("out", record["outputs"], outputs)):
        if odd := set(listed) ^ set(present):
            raise DataError(f"'{kind}.{min(odd)}' is in only one of {CASE} and {IO}", where=str(folder))
    if not outputs:
        raise DataError("has no outputs to compare", where=str(path))
    return Case(folder, record, inputs, outputs, device)


class Inputs(dict[str, np.ndarray]):
    """The ``in.*`` tensors of a case; asking for one that is not there says so."""

    def __init__(self, path: Path, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__(tensors)
        self.path = path

    def __missing__(self, name: str) -> np.ndarray:
        raise DataError(f"lacks 'in.{name}'", where=str(self.path), hint=did_you_mean(name, self) or None)


@dataclass(frozen=True)
class Comparison:
    """How one output compares.

    ``max_rel`` is over elements that should not be zero; ``used`` is the share of the tolerance the worst element (or
    gradient) takes, infinite when nothing is allowed. ``reason`` says why there are no figures.
    """

    passed: bool
    max_abs: float | None = None
    max_rel: float | None = None
    used: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into the JSON line."""
        figures = {"max_abs": self.max_abs, "max_rel": self.max_rel, "used": self.used, "passed": self.passed}
        return {**figures, "reason": self.reason} if self.reason else figures


def compare(case: Case, results: Mapping[str, Any]) -> dict[str, Comparison]:
    """Compare every output of a case with ``results``; an output that was not produced has failed."""
    return {name: _compare(case, name, results.get(name), golden) for name, golden in case.outputs.items()}


def _compare(case: Case, name: str, result: Any, golden: np.ndarray) -> Comparison:
    if result is None:
        return Comparison(False, reason="not produced")
    ours, theirs = np.asarray(result), golden
    if ours.size == theirs.size == 1:
        ours, theirs = ours.reshape(()), theirs.reshape(())
    if ours.shape != theirs.shape:
        return Comparison(False, reason=f"shape {list(ours.shape)}, expected {list(theirs.shape)}")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if not np.isfinite(ours).all():
        return Comparison(False, reason="not finite")
    error = np.abs(ours - theirs)
    max_abs = float(error.max(initial=0))
    max_rel = float(np.max(error[theirs != 0] / np.abs(theirs[theirs != 0]), initial=0))
    if rule := case.gradient_rule(name):
        used = _gradient_used(ours.ravel(), theirs.ravel(), rule)
    else:
        rtol, atol = case.tolerance(name)
        used = _used(error, atol + rtol * np.abs(theirs))
    return Comparison(used <= 1, max_abs, max_rel, used)


def _used(error: np.ndarray, allowed: np.ndarray) -> float:
    """Return the largest ratio of error to what is allowed: 0 where there is no error, infinite where none may be."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(error == 0, 0.0, error / allowed), initial=0))


def _gradient_used(ours: np.ndarray, theirs: np.ndarray, rule: Mapping[str, Any]) -> float:
    """Compare by cosine and length; a scalar by length only."""
    length, expected = np.linalg.norm(ours), np.linalg.norm(theirs)
    used = _used(np.abs(length - expected), np.asarray(rule["norm_rtol"] * expected))
    if ours.size > 1 and expected > 0:
        cosine = np.dot(ours, theirs) / max(length * expected, np.finfo(np.float64).tiny)
        used = max(used, _used(np.asarray(max(0.0, 1 - cosine)), np.asarray(1 - rule["min_cosine"])))
    return used
