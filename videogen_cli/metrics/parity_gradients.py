"""Losses of golden cases with the gradients of the networks' parameters, by our names and by the original's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import checkpoint_kind, tensor
from videogen_cli.registry import load_attr
from videogen_cli.weights.tensor import from_array

Arrays = dict[str, np.ndarray]


def gradients(
    loss: Any,
    cells: Mapping[str, Any],
    *arrays: np.ndarray | None,
    only: str = "",
    real: type[np.floating] = np.float32,
) -> tuple[tuple[np.ndarray, ...], Arrays]:
    """Return what ``loss(*arrays)`` returns, and the gradient of its first value.

    Args:
        loss: a cell or function that returns the scalar loss, or a tuple that begins with it.
        cells: networks by component name; the gradient is taken of all their parameters whose name has ``only`` in it.
        arrays: host arrays, given as by :func:`videogen_cli.metrics.parity_networks.call`.
        real: type of the arrays that hold no integers; the cells' must be the same (see :func:`in_double`).

    Returns:
        The outputs, and ``<component>.<parameter>`` -> gradient.
    """
    from mindspore import value_and_grad

    every = {f"{name}.{key}": value for name, cell in cells.items() for key, value in cell.parameters_and_names()}
    named = {name: value for name, value in every.items() if only in name}

    differentiate: Any = value_and_grad
    compute = differentiate(_twice(loss), None, list(named.values()), has_aux=True)
    (_, *outputs), found = compute(*(tensor(array, real) for array in arrays))
    grads = {name: part.asnumpy() for name, part in zip(named, found, strict=True)}
    return tuple(part.asnumpy() for part in outputs), grads


def in_double(*cells: Any) -> None:
    """Turn cells into double precision for good.

    For gradients that sum or divide away most digits: there the rounding of the recorded ones takes most of the
    tolerance, and nothing is left for ours. Values are compared in the precision that networks run in.
    """
    import mindspore as ms

    for cell in cells:
        for value in cell.get_parameters():
            value.set_dtype(ms.float64)


def norm(grads: Mapping[str, np.ndarray]) -> float:
    """Return the L2 norm over all gradients."""
    return float(np.sqrt(sum(float((part.astype(np.float64) ** 2).sum()) for part in grads.values())))


def by_original_name(case: Case, kind: str, grads: Mapping[str, np.ndarray]) -> Arrays:
    """Return gradients under the original's names and in its layout, as its checkpoint type ``kind`` has them."""
    key_map = load_attr(checkpoint_kind(case, kind).key_map)
    account = key_map.export({name: from_array(part) for name, part in grads.items()})
    return {name: lazy.numpy() for name, lazy in account.tensors.items()}


def of_inputs(loss: Any, positions: tuple[int, ...], *arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], list[Any]]:
    """Return what ``loss(*arrays)`` returns, and the gradients of its first value by the arrays at ``positions``."""
    from mindspore import value_and_grad

    differentiate: Any = value_and_grad
    (_, *outputs), found = differentiate(_twice(loss), positions, None, has_aux=True)(*map(tensor, arrays))
    found = found if isinstance(found, tuple) else (found,)
    return tuple(part.asnumpy() for part in outputs), [part.asnumpy() for part in found]


def _twice(loss: Any) -> Any:
    """Return a function whose first value is differentiated, and repeated among all there is to look at."""

    def forward(*tensors: Any) -> Any:
        found = loss(*tensors)
        found = found if isinstance(found, tuple) else (found,)
        return found[0], *found

    return forward
