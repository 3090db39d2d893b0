"""Arrays that are expensive to make, kept on disk under a name that is a hash of everything they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from videogen_cli.files import atomic_path, cache_root


def cache_key(**parts: Any) -> str:
    """Return 20 hexadecimal digits of the sha256 of JSON-like parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


def cached_array(kind: str, key: str, make: Callable[[], np.ndarray], folder: Path | None = None) -> np.ndarray:
    """Return the array stored for ``key``, making and storing it first when it is not there or not whole.

    The array is memory-mapped and read-only. Of several processes that want the same one, one makes it.
    """
    folder = folder or cache_root() / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.npy"
    with FileLock(f"{path}.lock"):
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            array = make()
        with atomic_path(path) as temporary:
            np.save(temporary, array, allow_pickle=False)
        return np.load(path, mmap_mode="r", allow_pickle=False)
