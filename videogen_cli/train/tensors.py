"""float32 arrays to a safetensors file, through the operating system's own errors.

The safetensors package reports a full disk as a SafetensorError without an errno; this writer lets OSError through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write float32 arrays in name order, after an 8-byte aligned JSON header (the safetensors format)."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in sorted(tensors.items()):
        begin, end = end, end + array.size * 4
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in sorted(tensors.items()):
            file.write(np.ascontiguousarray(array, "<f4").data)
