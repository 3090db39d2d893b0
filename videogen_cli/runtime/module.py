"""Building networks, and moving weights in and out of them by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import mindspore as ms
import numpy as np

from videogen_cli.errors import WeightsError, nearest

_SHOWN = 5
_DTYPES = {"fp32": ms.float32, "fp16": ms.float16, "bf16": ms.bfloat16}


def build(factory: Callable[[Any], Any], params: Any) -> Any:
    """Construct ``factory(params)`` without allocating its parameters; load or initialise it next."""
    cell = factory(params)
    cell.set_train(False)
    return cell


def load(
    cell: Any,
    tensors: Mapping[str, Any],
    *,
    where: str,
    strict: bool = True,
    writable: bool = True,
    dtype: str = "fp32",
) -> None:
    """Put weights into a network's parameters, one at a time, so that memory holds one copy and one tensor more.

    Args:
        cell: the network.
        tensors: arrays or lazy tensors (with ``shape`` and ``float32()``) by parameter name.
        where: the file they come from, for messages.
        strict: every parameter must be given and every tensor used; else what matches is loaded.
        writable: parameters own their memory, as training needs. False shares the memory of tensors that are of
            the wanted type already (a mapped file is then not copied at all), for networks that only run.
        dtype: fp32, fp16 or bf16; what the parameters become.

    Raises:
        WeightsError: names are missing or unexpected, or shapes differ. Nothing is loaded then.
    """
    parameters = dict(cell.parameters_and_names())
    if strict:
        _check_names(parameters, tensors, where)
    common = [name for name in parameters if name in tensors]
    _check_shapes(parameters, tensors, common, where)
    for name in common:
        parameter, kind = parameters[name], _DTYPES[dtype]
        if parameter.dtype != kind:
            parameter.set_dtype(kind)
        values = _values(tensors[name], "float16" if dtype == "fp16" else "float32", writable)
        tensor = ms.Tensor.from_numpy(values)
        parameter.set_data(tensor if tensor.dtype == kind else tensor.astype(kind))


def initialise(cell: Any, seed: int, only: Callable[[str], bool] = lambda _: True) -> None:
    """Draw every parameter (whose name ``only`` accepts) from its ``Init``; values depend on (seed, its name) only."""
    for name, value in cell.parameters_and_names():
        if not only(name):
            continue
        key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "little")
        rng = np.random.Generator(np.random.Philox(key=key))
        value.set_data(ms.Tensor.from_numpy(value.vgen_init.draw(tuple(value.shape), rng)))


def state(cell: Any) -> dict[str, np.ndarray]:
    """Return copies of all parameters as float32 arrays by name, in registration order."""
    return {name: value.astype(ms.float32).asnumpy().copy() for name, value in cell.parameters_and_names()}


def count(cell: Any) -> int:
    """Return the number of scalars in a network's parameters."""
    return sum(int(np.prod(value.shape)) for _, value in cell.parameters_and_names())


def _values(tensor: Any, dtype: str, writable: bool) -> np.ndarray:
    """Return a contiguous array of ``dtype``; it views the tensor's memory only if that is allowed and possible."""
    shared = str(tensor.dtype) == dtype
    if shared or not hasattr(tensor, "float32"):
        values = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor, dtype)
    else:
        values = tensor.float32().astype(dtype, copy=False)
    values = np.ascontiguousarray(values).reshape(tuple(tensor.shape))
    if writable and shared:
        values = values.copy()
    if hasattr(tensor, "release") and (writable or not shared):
        tensor.release()
    return values


def _check_names(parameters: Mapping[str, Any], tensors: Mapping[str, Any], where: str) -> None:
    missing = [name for name in parameters if name not in tensors]
    unexpected = [name for name in tensors if name not in parameters]
    if not missing and not unexpected:
        return
    lines = []
    if missing:
        lines.append(f"{len(missing)} of {len(parameters)} parameters are missing: {_listed(missing, unexpected)}")
    if unexpected:
        lines.append(f"{len(unexpected)} tensors are unexpected: {_listed(unexpected, missing)}")
    hint = "Check the file with 'vgen convert --check'; it must be made for this component and these params."
    raise WeightsError("; ".join(lines), where=where, hint=hint)


def _listed(names: list[str], others: list[str]) -> str:
    """Show the first few names, each with the most similar of the ``others``."""
    shown = []
    for name in names[:_SHOWN]:
        near = nearest(name, others, 1)
        shown.append(f"{name} (near {near[0]})" if near else name)
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")


def _check_shapes(parameters: Mapping[str, Any], tensors: Mapping[str, Any], names: list[str], where: str) -> None:
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, this network needs {tuple(parameters[name].shape)}"
        for name in names
        if tuple(tensors[name].shape) != tuple(parameters[name].shape)
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        hint = "The network's params differ from those the weights were made with."
        raise WeightsError("; ".join(wrong[:_SHOWN]) + more, where=where, hint=hint)
