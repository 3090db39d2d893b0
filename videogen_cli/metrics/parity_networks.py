"""Networks of golden cases, built and loaded through the plugin's declaration: as ``vgen convert`` reads weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.registry import CheckpointSpec, ComponentSpec, load_attr, spec
from videogen_cli.runners.convert import find_types
from videogen_cli.weights.finite import require_finite


def checkpoint_kind(case: Case, kind: str) -> CheckpointSpec:
    """Return the declaration of a checkpoint type of the case's model."""
    return find_types(kind, case.model)[0][1]


def build(case: Case, params: Mapping[str, Any]) -> dict[str, Any]:
    """Start the device and construct components, weightless, from their params by name."""
    from videogen_cli.runtime import context

    context.start(case.device)
    from videogen_cli.runtime import module

    parts: dict[str, ComponentSpec] = {name: spec(case.model).component(name) for name in params}
    return {name: module.build(load_attr(part.build), params[name]) for name, part in parts.items()}


def read_weights(
    case: Case, cells: Mapping[str, Any], kind: str, *, role: str | None = None, given: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return component -> parameter -> lazy tensor, accounting for every key as ``convert --type kind`` does.

    Args:
        case: its ``weights`` of the role may be several files, which are taken together.
        cells: the components wanted.
        kind: checkpoint type.
        role: which of the case's weights.
        given: parameters (``<component>.<parameter>``) that the case gives as inputs instead.

    Raises:
        DataError: the case has no such weights.
        WeightsError: a file cannot be read, or its keys do not fit the networks.
    """
    given = given or {}
    key_map = load_attr(checkpoint_kind(case, kind).key_map)
    tensors = _open(case, key_map, role)
    targets = {name: shape for name, shape in key_map.targets(cells).items() if name not in given}
    account = key_map.account(tensors, targets)
    where = ", ".join(map(str, case.weights(role)))
    account.require_ok(where)
    named = {**require_finite(account.tensors, where), **given}
    split: dict[str, dict[str, Any]] = {name: {} for name in cells}
    for name, tensor in named.items():
        component, _, parameter = name.partition(".")
        split[component][parameter] = tensor
    return split


def _open(case: Case, key_map: Any, role: str | None) -> dict[str, Any]:
    """Return the tensors of a case's weights by their own keys, those of several files together."""
    paths = _weight_files(case.weights(role))
    return {name: tensor for path in paths for name, tensor in key_map.open(path).tensors.items()}


def _weight_files(paths: list[Path]) -> list[Path]:
    """Leave out JSON files listed beside weights: the config, and the index where its shards are listed."""
    files = [path for path in paths if path.suffix != ".json"]
    return files or [path for path in paths if path.name.endswith(".index.json")]


def networks(
    case: Case,
    names: tuple[str, ...],
    kind: str,
    *,
    role: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the components ``names`` in the sizes of the case's config (and weights) and load their weights.

    Raises:
        DataError: the config lacks a size, or the case its weights.
        WeightsError: the weights do not fit.
    """
    declared = checkpoint_kind(case, kind)
    params, key_map = load_attr(declared.params)(case.config), load_attr(declared.key_map)
    cells = build(case, key_map.prepare({name: params[name] for name in names}, _open(case, key_map, role)))
    from videogen_cli.runtime import module

    for name, tensors in read_weights(case, cells, kind, role=role, given=given).items():
        module.load(cells[name], tensors, where=f"{case.name}: {name}")
    return cells


def tensor(array: np.ndarray | None, real: type[np.floating] = np.float32) -> Any:
    """Return a host array as the networks take it: integers as int32, everything else as ``real``; None stays."""
    if array is None:
        return None
    from mindspore import Tensor

    kind = np.int32 if np.issubdtype(array.dtype, np.integer) else real
    return Tensor(np.ascontiguousarray(array, kind))


def call(function: Any, *arrays: np.ndarray | None) -> Any:
    """Call a network on host arrays (int64 ids become int32, None stays) and bring its outputs back."""
    result = function(*map(tensor, arrays))
    return tuple(part.asnumpy() for part in result) if isinstance(result, tuple) else result.asnumpy()
