"""Networks with the weights of golden cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from videogen_cli.runtime.module import build, load
from videogen_cli.weights.readers import open_checkpoint

ATOL = 5e-5  # of outputs around 1; half of what the golden cases allow, far below any mistake in a network


def golden_network(factory: Any, params: Any, file: Path, prefix: str = "", **more: np.ndarray) -> Any:
    """Build a network and load the tensors of ``file`` that start with ``prefix``, and ``more``, under our names."""
    tensors: dict[str, Any] = {
        our_name(k[len(prefix) :]): v for k, v in open_checkpoint(file).tensors.items() if k.startswith(prefix)
    }
    cell = build(factory, params)
    load(cell, {**tensors, **more}, where=str(file))
    return cell


def our_name(name: str) -> str:
    """Respell a published UNet name; DEMO's file has fewer lists than VideoCrafter's."""
    name = name.replace("temopral", "temporal").replace("input_blocks.0.1.", "init_attn.0.")
    return re.sub(r"^(input_blocks\.\d+)\.op\.", r"\1.0.op.", name)


def run(call: Callable[..., Any], *arrays: np.ndarray | None) -> Any:
    """Call a network on arrays (None is passed on) and return its output as an array."""
    return call(*[None if a is None else ms.Tensor(_narrow(a)) for a in arrays]).asnumpy()


def _narrow(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32)
