"""Weights must be numbers: a NaN or an infinity in one is refused where it is read, not discovered in a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.dtypes import DTYPES, to_float32
from videogen_cli.weights.names import plain
from videogen_cli.weights.tensor import CHUNK_BYTES, LazyTensor, contiguous_chunks

_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}  # all ones in the exponent mean NaN or infinity


def is_finite(values: np.ndarray, dtype: str) -> bool:
    """Return whether stored numbers hold no NaN and no infinity; types that have none are always finite."""
    if dtype in _EXPONENTS:
        mask = np.uint16(_EXPONENTS[dtype])
        return not any(((part & mask) == mask).any() for part in contiguous_chunks(values.view(np.uint16)))
    if dtype not in ("float32", "float64"):
        return True
    with np.errstate(all="ignore"):
        # One addition per number is the cheapest test; a finite sum has finite terms, another may only be too large.
        return all(np.isfinite(part.sum()) or np.isfinite(part).all() for part in contiguous_chunks(values))


def require_finite(tensors: Mapping[str, LazyTensor], where: Path | str) -> dict[str, LazyTensor]:
    """Return ``tensors`` such that reading one with a NaN or an infinity raises WeightsError naming file and key.

    Raises:
        WeightsError: a tensor is of a type that weights are not stored in (an integer, say).
    """
    for name, tensor in tensors.items():
        if not DTYPES[tensor.dtype].floating:
            hint = "Weights are real numbers; quantised files cannot be read."
            raise WeightsError(f"'{plain(name)}' is {tensor.dtype}", where=str(where), hint=hint)
    return {name: _Checked(**vars(tensor), name=name, where=str(where)) for name, tensor in tensors.items()}


@dataclass(frozen=True, eq=False)
class _Checked(LazyTensor):
    """A tensor whose numbers are looked at as they are read, piece by piece where they are written so."""

    name: str = ""
    where: str = ""

    def numpy(self) -> np.ndarray:
        """See :meth:`LazyTensor.numpy`."""
        return self._passed(super().numpy())

    def float32(self) -> np.ndarray:
        """See :meth:`LazyTensor.float32`."""
        return to_float32(self.numpy(), self.dtype)

    def chunks(self, max_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray]:
        """See :meth:`LazyTensor.chunks`."""
        yield from map(self._passed, super().chunks(max_bytes))

    def _passed(self, values: np.ndarray) -> np.ndarray:
        if not is_finite(values, self.dtype):
            raise WeightsError(f"'{plain(self.name)}' holds NaN or infinity", where=self.where, hint="It is damaged.")
        return values
